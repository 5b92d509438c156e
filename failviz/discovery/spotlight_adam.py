"""The published Spotlight optimiser, with its gradient written out.

d'Eon et al. 2021, arXiv 2107.00758: Adam on the centre and on log tau, a quadratic barrier that
closes in on the minimum weight, and a learning rate halved on plateaus. For comparison with
`spotlight_level.py`; it works on the embeddings as they are, and depends on their scale.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

STEPS = 5000
_FIRST_TAU = 1e-4
_LEARNING_RATE = 1e-2
_BETAS, _EPSILON = (0.9, 0.999), 1e-8
_PATIENCE, _FACTOR, _THRESHOLD = 10, 0.5, 1e-4


def barrier_widths(n: int, size: float, steps: int) -> np.ndarray:
    """float (steps,): how far above `size` the barrier starts to act, from n - S down to 0.05 S."""
    return np.geomspace(max(n - size, 0.05 * size), 0.05 * size, steps)


def ascend_as_published(
    rows: np.ndarray, losses: np.ndarray, size: float, *, widths: Iterable[float], barrier_scale: float = 1.0
) -> tuple[np.ndarray, float]:
    """Maximise sum k l / sum k - barrier over mu and tau; k_i = max(0, 1 - tau |x_i - mu|^2).

    The gradient takes two matrix-vector products with X; the published code multiplies by a
    d x d precision matrix instead, with the same result.

    Parameters
    ----------
    rows : float32 or float64 (n, d)
    losses : (n,)
    size : float
        S: below W = S + b the objective loses barrier_scale (W - (S + b))^2 / b^2.
    widths : iterable of float
        b at each step, see `barrier_widths`.
    barrier_scale : float

    Returns
    -------
    centre float64 (d,), tau
    """
    losses = losses.astype(rows.dtype)
    # Adam does not notice where the origin is; around their middle, distances round off less.
    middle = rows.mean(axis=0, dtype=np.float64).astype(rows.dtype)
    rows, middle = rows - middle, middle.astype(np.float64)
    lengths = np.einsum("ij,ij->i", rows, rows)
    theta = np.append(-middle, math.log(_FIRST_TAU))  # centre, then log tau
    last = theta
    first, second = np.zeros_like(theta), np.zeros_like(theta)
    plateau = _Plateau(_LEARNING_RATE)
    for step, width in enumerate(widths, start=1):
        centre, tau = theta[:-1], math.exp(theta[-1])
        distances = lengths - 2.0 * (rows @ centre.astype(rows.dtype)) + rows.dtype.type(centre @ centre)
        kernel = np.maximum(0.0, 1.0 - rows.dtype.type(tau) * distances)
        weight = float(kernel.sum(dtype=np.float64))
        if weight <= 0:  # the published code goes on with NaN
            if step == 1:
                raise ValueError(
                    f"no row is within reach of the published start (centre 0, tau {_FIRST_TAU}; the nearest is "
                    f"{math.sqrt(distances.min()):.3g} away): divide the embeddings by a number, or use solver='level'."
                )
            return last[:-1] + middle, math.exp(last[-1])
        last = theta
        objective = float(kernel @ losses) / weight
        # pull_i = d objective / d k_i, on the rows inside
        pull = (losses - rows.dtype.type(objective)) / rows.dtype.type(weight)
        short = size + width - weight
        if short > 0:
            pull = pull + rows.dtype.type(2.0 * barrier_scale * short / width**2)
            objective -= barrier_scale * short**2 / width**2
        pull = np.where(kernel > 0, pull, rows.dtype.type(0.0))
        gradient = np.empty_like(theta)
        gradient[:-1] = 2.0 * tau * (pull @ rows - float(pull.sum(dtype=np.float64)) * centre)
        gradient[-1] = -tau * float(pull @ distances)
        first = _BETAS[0] * first - (1 - _BETAS[0]) * gradient  # Adam minimises minus the objective
        second = _BETAS[1] * second + (1 - _BETAS[1]) * gradient**2
        denominator = np.sqrt(second / (1 - _BETAS[1] ** step)) + _EPSILON
        theta = theta - plateau.rate * (first / (1 - _BETAS[0] ** step)) / denominator
        plateau.step(-objective)
    return theta[:-1] + middle, math.exp(theta[-1])


class _Plateau:
    """torch's ReduceLROnPlateau as the published code uses it: forgets its best after each reduction."""

    def __init__(self, rate: float):
        self.rate, self._best, self._bad = rate, math.inf, 0

    def step(self, value: float) -> None:
        if value < self._best * (1.0 - _THRESHOLD):
            self._best, self._bad = value, 0
        else:
            self._bad += 1
        if self._bad > _PATIENCE:
            if self.rate * (1 - _FACTOR) > 1e-8:
                self.rate *= _FACTOR
            self._best, self._bad = math.inf, 0
