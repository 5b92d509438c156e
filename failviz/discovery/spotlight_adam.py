"""The published Spotlight optimiser, with its gradient written out.

d'Eon et al. 2021, arXiv 2107.00758: Adam on the centre and on the precision, a quadratic barrier that
closes in on the minimum weight, and a learning rate halved on plateaus. For comparison with
`spotlight_level.py`; it works on the embeddings as they are, and depends on their scale.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from failviz.discovery.spotlight_entropy import EntropyPenalty, charged
from failviz.discovery.spotlight_level import flags_of_product

STEPS = 5000
_FIRST_TAU, _FIRST_PRECISION = 1e-4, 1e-3  # of a sphere, and along each axis of an ellipsoid
_LEARNING_RATE = 1e-2
_BETAS, _EPSILON = (0.9, 0.999), 1e-8
_PATIENCE, _FACTOR, _THRESHOLD = 10, 0.5, 1e-4


def barrier_widths(n: float, size: float, steps: int) -> np.ndarray:
    """float (steps,): how far above `size` the barrier starts to act, from n - S down to 0.05 S."""
    return np.geomspace(max(n - size, 0.05 * size), 0.05 * size, steps)


def ascend_as_published(
    rows: np.ndarray,
    losses: np.ndarray,
    size: float,
    *,
    widths: Iterable[float],
    barrier_scale: float = 1.0,
    full: bool = False,
    weights: np.ndarray | None = None,
    penalties: Sequence[EntropyPenalty] = (),
) -> tuple[np.ndarray, float | np.ndarray]:
    """Maximise sum k l / sum k - barrier over mu and P; k_i = max(0, 1 - (x_i - mu)' P (x_i - mu)).

    P is tau I unless `full`. The gradient for a sphere takes two matrix-vector products with X; the published code
    multiplies by a d x d precision matrix instead, with the same result.

    Parameters
    ----------
    rows : float32 or float64 (n, d)
    losses : (n,)
    size : float
        S: below W = S + b the objective loses barrier_scale (W - (S + b))^2 / b^2.
    widths : iterable of float
        b at each step, see `barrier_widths`.
    barrier_scale : float
    full : bool
        P is any symmetric matrix, V diag(d) V^-1 with V made orthogonal again after each step (to the nearest one;
        the published code adds random noise first, against trouble in a derivative that is not taken here).
    weights : (n,) or None
        k_i counts so many times in every sum.
    penalties : of these rows

    Returns
    -------
    centre float64 (d,), and tau, or P float64 (d, d)
    """
    losses = losses.astype(rows.dtype)
    # Adam does not notice where the origin is; around their middle, distances round off less.
    middle = rows.mean(axis=0, dtype=np.float64).astype(rows.dtype)
    shape: _Sphere | _Ellipsoid = (_Ellipsoid if full else _Sphere)(rows - middle, -middle.astype(np.float64))
    counts = None if weights is None else weights.astype(rows.dtype)
    theta = last = shape.start
    first, second = np.zeros_like(theta), np.zeros_like(theta)
    plateau = _Plateau(_LEARNING_RATE)
    for step, width in enumerate(widths, start=1):
        kernel = shape.kernel(theta)
        mass = kernel if counts is None else kernel * counts
        weight = float(mass.sum(dtype=np.float64))
        if weight <= 0:  # the published code goes on with NaN
            if step == 1:
                nearest = np.linalg.norm(rows, axis=1).min()
                raise ValueError(
                    f"no row is within reach of the published start (centre 0, tau {shape.first}; the nearest is "
                    f"{nearest:.3g} away): divide the embeddings by a number, or use solver='level'."
                )
            theta = last
            break
        last = theta
        counted = charged(losses, mass[None], penalties).reshape(-1)
        objective = float(mass @ counted) / weight
        # pull_i = d objective / d k_i, on the rows inside
        pull = (counted - rows.dtype.type(objective)) / rows.dtype.type(weight)
        short = size + width - weight
        if short > 0:
            pull = pull + rows.dtype.type(2.0 * barrier_scale * short / width**2)
            objective -= barrier_scale * short**2 / width**2
        pull = np.where(kernel > 0, pull if counts is None else pull * counts, rows.dtype.type(0.0))
        gradient = shape.gradient(theta, pull)
        first = _BETAS[0] * first - (1 - _BETAS[0]) * gradient  # Adam minimises minus the objective
        second = _BETAS[1] * second + (1 - _BETAS[1]) * gradient**2
        denominator = np.sqrt(second / (1 - _BETAS[1] ** step)) + _EPSILON
        theta = shape.settled(theta - plateau.rate * (first / (1 - _BETAS[0] ** step)) / denominator)
        plateau.step(-objective)
    return shape.centre(theta) + middle.astype(np.float64), shape.precision(theta)


class _Sphere:
    """theta = (mu, log tau), on rows around their middle."""

    first = _FIRST_TAU

    def __init__(self, rows: np.ndarray, centre: np.ndarray):
        self._rows, self._lengths = rows, np.einsum("ij,ij->i", rows, rows)
        self.start = np.append(centre, math.log(self.first))

    def kernel(self, theta: np.ndarray) -> np.ndarray:
        kind, centre, tau = self._rows.dtype.type, theta[:-1], math.exp(theta[-1])
        length = kind(centre @ centre)
        with flags_of_product(length, self._lengths):
            along = self._rows @ centre.astype(kind)
        self._distances = self._lengths - 2.0 * along + length
        return np.maximum(0.0, 1.0 - kind(tau) * self._distances)

    def gradient(self, theta: np.ndarray, pull: np.ndarray) -> np.ndarray:
        """By theta, after `kernel(theta)`, from the derivative by the kernel."""
        centre, tau = theta[:-1], math.exp(theta[-1])
        gradient = np.empty_like(theta)
        gradient[:-1] = 2.0 * tau * (pull @ self._rows - float(pull.sum(dtype=np.float64)) * centre)
        gradient[-1] = -tau * float(pull @ self._distances)
        return gradient

    def settled(self, theta: np.ndarray) -> np.ndarray:
        return theta

    def centre(self, theta: np.ndarray) -> np.ndarray:
        return theta[:-1]

    def precision(self, theta: np.ndarray) -> float:
        return math.exp(theta[-1])


class _Ellipsoid:
    """theta = (mu, V, log d): P = V diag(d) V', V orthogonal; the same verbs as `_Sphere`.

    With M = - sum pull (V'(x - mu)) (V'(x - mu))' = V' (d objective / d P) V, the derivative of V diag(d) V^-1 leads to
    V (M D - D M) for V and diag(M) d for log d.
    """

    first = _FIRST_PRECISION

    def __init__(self, rows: np.ndarray, centre: np.ndarray):
        self._rows, self._d = rows, len(centre)
        self.start = np.concatenate([centre, np.eye(self._d).ravel(), np.full(self._d, math.log(self.first))])

    def _parts(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        d = self._d
        return theta[:d], theta[d:-d].reshape(d, d), np.exp(theta[-d:])

    def kernel(self, theta: np.ndarray) -> np.ndarray:
        kind = self._rows.dtype
        centre, axes, precisions = self._parts(theta)
        self._turned = self._rows @ axes.astype(kind) - (centre @ axes).astype(kind)
        return np.maximum(0.0, 1.0 - self._turned**2 @ precisions.astype(kind))

    def gradient(self, theta: np.ndarray, pull: np.ndarray) -> np.ndarray:
        _, axes, precisions = self._parts(theta)
        inside = pull != 0
        turned, pull = self._turned[inside], pull[inside]
        moment = -((turned * pull[:, None]).T @ turned).astype(np.float64)
        by_centre = 2.0 * axes @ (precisions * (pull @ turned))
        by_axes = axes @ (moment * precisions - precisions[:, None] * moment)
        return np.concatenate([by_centre, by_axes.ravel(), np.diag(moment) * precisions])

    def settled(self, theta: np.ndarray) -> np.ndarray:
        centre, axes, _ = self._parts(theta)
        left, _, right = np.linalg.svd(axes)
        return np.concatenate([centre, (left @ right).ravel(), theta[-self._d :]])

    def centre(self, theta: np.ndarray) -> np.ndarray:
        return self._parts(theta)[0]

    def precision(self, theta: np.ndarray) -> np.ndarray:
        _, axes, precisions = self._parts(theta)
        scaled = axes * np.sqrt(precisions)
        return scaled @ scaled.T


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
