"""A mixture over embeddings, labels and predictions, fitted by expectation and maximisation.

Eyuboglu et al. 2022 (arXiv 2203.14960, section 4). Each example i has coordinates z_i, a class y_i and a predicted
class, which may be soft: probabilities yhat_ic. With components s,

    log p_i = log sum_s  pi_s N(z_i; mu_s, diag v_s) P(y_i|s)^gamma (sum_c yhat_ic P(c|s))^gamma'

The exponents only multiply expected logarithms, so the usual maximisers stay what they are. A soft prediction is
evidence of a class that nobody saw: in s it was c with probability q_isc = yhat_ic P(c|s) / sum_c' yhat_ic' P(c'|s).
P(c|s) becomes the share of c in sum_i r_is q_isc, one step of the maximisation inside the maximisation, which never
lowers the likelihood; where yhat is one class, q is too, and this is the weighted count. The published code takes the
weighted mean of yhat instead: the same step from a uniform P(c|s), as is our first, which later may lower it. (What
is added to the variances may lower it too, where a component has next to none of its own.)

An iteration reads the rows once, in blocks, with two matrix products: [z, z^2] with the parameters, and the
responsibilities with [z, z^2]. Nothing of shape (n, S, k) is ever formed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from failviz._parallel import ignoring

EPS = float(np.finfo(np.float64).eps)
"""Added to the probability of each class, as in the published code: no example is impossible."""
NOISE = 1e-3
"""Of the published start: components of one cell would stay alike without it."""
LARGEST_ODDS = 745.0
"""Of a component that has everything to itself: exp(-745) is the smallest number above 0."""
_BLOCK_ROWS = 1024


@dataclass(frozen=True, eq=False)
class Examples:
    """What a mixture is fitted to.

    Attributes
    ----------
    rows : float64 (n, k)
        Coordinates, centred: the squares of large numbers would cancel.
    labels, predictions : int64 (n,)
        Classes; predictions may be float (n, C), the probability of each.
    """

    rows: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray

    def blocks(self) -> Iterator[tuple[slice, np.ndarray, tuple[np.ndarray, np.ndarray]]]:
        """Place, [z, z^2], labels and predictions of a few rows at a time; each block is written over the last."""
        n, k = self.rows.shape
        buffer = np.empty((min(n, _BLOCK_ROWS), 2 * k))
        for start in range(0, n, _BLOCK_ROWS):
            part = slice(start, start + _BLOCK_ROWS)
            predictions = self.predictions[part]
            if predictions.ndim == 2:
                predictions = predictions.astype(np.float64)
            yield part, with_squares(self.rows[part], buffer[: n - start]), (self.labels[part], predictions)


@dataclass(frozen=True, eq=False)
class Mixture:
    """Parameters: weights pi (S,), means and variances (S, k), P(y|s) and P(yhat|s) (S, C)."""

    weights: np.ndarray
    means: np.ndarray
    variances: np.ndarray
    label_probs: np.ndarray
    prediction_probs: np.ndarray

    def log_densities(self, squared: np.ndarray) -> np.ndarray:
        """log pi_s + log N(z_i; mu_s, diag v_s), float64 (n, S), of rows [z, z^2]; -inf where pi_s = 0."""
        coefs, constants = self._as_product
        logs: np.ndarray = squared @ coefs
        logs += constants
        return logs

    def log_classes(self, outcomes: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """log P(y_i|s) and log sum_c yhat_ic P(c|s), each float64 (n, S)."""
        return class_logs(outcomes[0], self.label_probs), class_logs(outcomes[1], self.prediction_probs)

    @cached_property
    def _as_product(self) -> tuple[np.ndarray, np.ndarray]:
        coefs = np.hstack([self.means / self.variances, -0.5 / self.variances]).T
        constants = np.log(2 * np.pi * self.variances) + self.means**2 / self.variances
        with np.errstate(divide="ignore"):
            return coefs, np.log(self.weights) - 0.5 * constants.sum(axis=1)


def with_squares(rows: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """[z, z^2], float64 (n, 2k)."""
    n, k = rows.shape
    both = np.empty((n, 2 * k)) if out is None else out[:n]
    both[:, :k] = rows
    np.square(both[:, :k], out=both[:, k:])
    return both


def responsibilities(logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From joint logs (n, S): P(s|i) (n, S) and log p_i = log sum_s exp (n,)."""
    top = logs.max(axis=1, keepdims=True)
    shares = np.exp(logs - top)
    total = shares.sum(axis=1, keepdims=True)
    shares /= total
    return shares, (top + np.log(total))[:, 0]


def log_odds(logs: np.ndarray, components: np.ndarray) -> np.ndarray:
    """From joint logs (n, S): log P(s|i) - log(1 - P(s|i)) of some components (k,) with weight above 0, (n, k).

    Finite, as neither probability is formed; `LARGEST_ODDS` in all rows where no other component has any weight.
    """
    odds = np.full((len(logs), len(components)), LARGEST_ODDS)
    for column, s in enumerate(components):
        others = np.delete(logs, s, axis=1)
        if (others > -np.inf).any():  # in every row, then: densities are never 0
            odds[:, column] = logs[:, s] - responsibilities(others)[1]
    return odds


def class_logs(classes: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """log sum_c yhat_ic P(c|s), float64 (n, S), of classes (n,) or probabilities (n, C), with P(c|s) (S, C)."""
    return np.log(probs + EPS).T[classes] if classes.ndim == 1 else np.log(classes @ (probs + EPS).T)


def weighted(exponents: tuple[float, float], logs: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """gamma log P(y_i|s) + gamma' log P(yhat_i|s), from what `Mixture.log_classes` gave."""
    return exponents[0] * logs[0] + exponents[1] * logs[1]


def class_counts(shares: np.ndarray, classes: np.ndarray, probs: np.ndarray, logs: np.ndarray) -> np.ndarray:
    """sum_i r_is q_isc, float64 (S, C), from responsibilities (n, S) and what `class_logs` gave."""
    if classes.ndim == 2:
        return (probs + EPS) * ((shares * np.exp(-logs)).T @ classes)
    n_components, n_classes = probs.shape
    cells = np.arange(n_components) * n_classes + classes[:, None]
    counts = np.bincount(cells.ravel(), weights=shares.ravel(), minlength=probs.size)
    return counts.reshape(n_components, n_classes)


def iteration(
    examples: Examples,
    before: Mixture,
    exponents: tuple[float, float],
    reg: np.ndarray | float,
    *,
    shares: np.ndarray | None = None,
) -> tuple[Mixture, float]:
    """One expectation and one maximisation.

    Parameters
    ----------
    examples : Examples
    before : Mixture
    exponents : (float, float)
        gamma of the labels and of the predictions.
    reg : float, or float (k,)
        Added to the variances, in squared units of the coordinates.
    shares : (n, S), optional
        Responsibilities to maximise for, in place of those under `before`.

    Returns
    -------
    Mixture
        A component that has no examples stays where it was, with weight 0.
    float
        Mean log p_i under `before`; 0 where `shares` were given.
    """
    n, k = examples.rows.shape
    probs = np.stack([before.label_probs, before.prediction_probs])
    totals, counts, log_likelihood = np.zeros(len(before.weights)), np.zeros(probs.shape), 0.0
    moments = np.zeros((len(totals), 2 * k))
    for part, squared, outcomes in examples.blocks():
        logs = before.log_classes(outcomes)
        if shares is None:
            share, norms = responsibilities(before.log_densities(squared) + weighted(exponents, logs))
            log_likelihood += float(norms.sum()) / n
        else:
            share = shares[part]
        totals += share.sum(axis=0)
        moments += share.T @ squared
        for j, classes in enumerate(outcomes):
            counts[j] += class_counts(share, classes, probs[j], logs[j])

    has_any = (totals > 0)[:, None]
    means, squares = np.hsplit(moments / np.where(has_any, totals[:, None], 1.0), 2)
    counted = counts.sum(axis=2, keepdims=True)
    probs = np.where(counted > 0, counts / np.where(counted > 0, counted, 1.0), probs)
    after = Mixture(
        weights=totals / n,
        means=np.where(has_any, means, before.means),
        variances=np.where(has_any, np.maximum(squares - means**2, 0.0) + reg, before.variances),
        label_probs=probs[0],
        prediction_probs=probs[1],
    )
    return after, log_likelihood


def first_mixture(examples: Examples, shares: np.ndarray, n_classes: int, reg: np.ndarray | float) -> Mixture:
    """The mixture that responsibilities (n, S) make."""
    n_components, k = shares.shape[1], examples.rows.shape[1]
    alike = np.full((n_components, n_classes), 1.0 / n_classes)
    nowhere = Mixture(np.zeros(n_components), np.zeros((n_components, k)), np.ones((n_components, k)), alike, alike)
    return iteration(examples, nowhere, (0.0, 0.0), reg, shares=shares)[0]


def climb(
    examples: Examples,
    mixture: Mixture,
    exponents: tuple[float, float],
    reg: np.ndarray | float,
    *,
    tol: float,
    max_iter: int,
) -> Iterator[tuple[Mixture, list[float]]]:
    """Iterate until the mean log-likelihood changes by less than `tol`, at most `max_iter` times.

    Yields
    ------
    Mixture, list of float
        The new parameters, and the mean log-likelihoods so far, each before its iteration.
    """
    log_likelihoods: list[float] = []
    while len(log_likelihoods) < max_iter and not has_settled(log_likelihoods, tol):
        mixture, log_likelihood = iteration(examples, mixture, exponents, reg)
        log_likelihoods.append(log_likelihood)
        yield mixture, log_likelihoods


def has_settled(log_likelihoods: list[float], tol: float) -> bool:
    """Whether the last change was smaller than `tol`."""
    return len(log_likelihoods) > 1 and abs(log_likelihoods[-1] - log_likelihoods[-2]) < tol


def seats_of(sizes: np.ndarray, claims: np.ndarray, n_seats: int) -> np.ndarray:
    """How many components each cell of the confusion matrix starts with, int64 (m,), `n_seats` in all.

    One each from the first cell on, while they last. The others go one by one to the cell with the largest claim (m,)
    for what it has (Webster's method), and no cell has more of them than examples, `sizes` (m,).
    """
    seats = np.zeros(len(sizes), dtype=np.int64)
    seats[:n_seats] = 1
    for _ in range(n_seats - len(sizes)):
        seats[np.where(seats < sizes, claims / (seats + 0.5), -1.0).argmax()] += 1
    return seats


def shares_by_cell(
    rows: np.ndarray, cells: np.ndarray, n_components: int, rng: np.random.RandomState, *, split: bool
) -> np.ndarray:
    """Responsibilities to start from, float64 (n, S): each component belongs to one cell of the confusion matrix.

    Parameters
    ----------
    rows : float64 (n, k)
    cells : int (n,)
        A number for each pair of label and prediction.
    n_components : int
        S, at most n. Where there are more cells than that the largest have one, and examples of the others start
        with an equal share in all: with errors first, correct examples would have nowhere to go.
    rng : RandomState
    split : bool
        Give cells components in proportion to their examples, and divide these by k-means. Otherwise as
        published: the same number to all cells, each example shared equally among those of its cell, plus noise.
    """
    _, cell, sizes = np.unique(cells, return_inverse=True, return_counts=True)
    largest_first = np.argsort(-sizes, kind="stable")
    sizes = sizes[largest_first]
    seats = seats_of(sizes, sizes if split else np.ones(len(sizes)), n_components)
    ends = np.cumsum(seats)
    shares = np.full((len(rows), n_components), 1.0 / n_components)
    for place, number in enumerate(largest_first[: np.count_nonzero(seats)]):
        members = np.flatnonzero(cell == number)
        shares[members] = 0.0
        own = slice(ends[place] - seats[place], ends[place])
        shares[members, own] = _clusters(rows[members], seats[place], rng) if split else 1.0 / seats[place]
    if not split:
        shares += NOISE * rng.uniform(size=shares.shape)
        shares /= shares.sum(axis=1, keepdims=True)
    return shares


def _clusters(rows: np.ndarray, n_clusters: int, rng: np.random.RandomState) -> np.ndarray:
    """1 where a row belongs to a cluster, else 0, (n, n_clusters)."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    if n_clusters == 1:
        return np.ones((len(rows), 1))
    means = KMeans(n_clusters, n_init=1, max_iter=20, random_state=rng.randint(2**31 - 1))
    with ignoring(ConvergenceWarning):  # where rows repeat, some components start empty
        return np.eye(n_clusters)[means.fit(rows).labels_]
