"""Error mixture: groups of examples alike in their embedding, in their label and in what the model says of them.

Eyuboglu et al. 2022, *Domino: Discovering Systematic Errors with Cross-Modal Embeddings*, arXiv 2203.14960.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.linalg import eigh
from scipy.special import expit
from sklearn.utils import check_random_state

from failviz import _checks
from failviz._fingerprints import content_hashes
from failviz._parallel import one_thread
from failviz._progress import progress as progress_bar
from failviz.discovery.base import SliceFinder, canonical_order
from failviz.discovery.mixture_em import (
    Examples,
    Mixture,
    climb,
    first_mixture,
    has_settled,
    log_odds,
    responsibilities,
    shares_by_cell,
    weighted,
    with_squares,
)
from failviz.evaluation import Evaluation
from failviz.slices import Slice

METHOD = "error mixture"
FEWEST = 10
"""Examples below which a component is no slice: a few errors by themselves always disagree with their labels."""
_FLAT = float(np.finfo(np.float32).eps) ** 2  # of the mean square: variance that is but rounding
_BLOCK_ROWS = 4096


def principal_axes(embeddings: np.ndarray, order: np.ndarray, n_axes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the data (n, d) lie and the directions in which they vary most, rows summed in the given order.

    Returns
    -------
    mean : float64 (d,)
    axes : float64 (d, k)
        Orthonormal columns, most variance first: at most `n_axes`, n or d, and none along which nothing varies.
    variances : float64 (k,)
        Along them; 1 where all rows are alike.
    """
    n, d = embeddings.shape
    mean, scatter = np.zeros(d), np.zeros((d, d))
    for _, block in _blocks(embeddings, order):
        mean += block.sum(axis=0, dtype=np.float64) / n
    for _, block in _blocks(embeddings, order):
        centred = block - mean
        scatter += centred.T @ centred
    variances, axes = eigh(scatter / n, subset_by_index=(d - min(n_axes, n, d), d - 1))
    variances, axes = variances[::-1], axes[:, ::-1]
    varies = variances > _FLAT * (variances[0] + mean @ mean)
    k = max(1, np.count_nonzero(varies))
    return mean, np.ascontiguousarray(axes[:, :k]), np.where(varies, variances, 1.0)[:k]


def _blocks(embeddings: np.ndarray, order: np.ndarray | None = None) -> Iterator[tuple[slice, np.ndarray]]:
    for start in range(0, len(embeddings), _BLOCK_ROWS):
        part = slice(start, start + _BLOCK_ROWS)
        yield part, embeddings[part] if order is None else embeddings[order[part]]


class ErrorMixture(SliceFinder):
    """Find groups of similar examples that the model mistakes in the same way, across all classes.

    A mixture is fitted to embeddings, labels and predictions together, so that each of its components is a
    region of the space with one kind of outcome: *boots taken for sandals*. The slices are the components in
    which predictions differ most from labels. On any data, membership is the posterior P(s|z) from the
    embedding alone. **Larger score = more likely to fail.** `captions.describe` says them in words as the paper does.

    Parameters
    ----------
    n_slices : int, default 5
        At most so many.
    n_components : int, default 25
        Of the mixture, at most n. Take a few per class: with more classes than components errors have none.
    n_pca : int, default 128
        Principal axes of the embeddings; min(n, d) at most, and none without variance.
    label_weight : float, default 10.0
        gamma, how much one label counts beside one embedding: 10 in the paper's benchmark, 1 in the published code.
    init : "confusion-kmeans" or "confusion"
        The start. "confusion-kmeans" gives each cell of the confusion matrix components in proportion to its examples,
        at least one, and divides the examples by k-means. "confusion" is the published start: the same number for
        each cell, told apart by noise alone, so that they may end as twins that share their members.
    prediction_weight : float or None
        gamma', the same for predictions; None = `label_weight`.
    reg : float, default 1e-6
        Added to the variances, in units of the variance of the whole data along the same axis (published: of 1).
    tol, max_iter : float, int, default 1e-3 and 100
        The fit ends when the mean log-likelihood (in nats) changes by less, or after so many iterations.
    space : str or None
        Embedding space; None = the first.
    random_state : int, RandomState or None
        Of the start.
    progress : bool, default True
        Show a bar when the fit takes long.

    Attributes
    ----------
    mean_, basis_ : float64 (d,), (d, k)
        Of the principal axes: coordinates are (z - mean) @ basis.
    weights_, means_, variances_ : float64 (S,), (S, k), (S, k)
        pi in [0, 1], mu and v in these coordinates.
    label_probs_, prediction_probs_ : float64 (S, n_classes)
        P(y|s) and P(yhat|s).
    gaps_ : float64 (S,)
        max_c |P(yhat=c|s) - P(y=c|s)|, in [0, 1].
    order_ : int64 (n_found,)
        The components that are slices, largest gap first. Columns of `decision_function` and `slices` follow it.
    log_likelihoods_ : float64 (n_iter_,)
        Mean log p_i before each iteration, in nats.
    n_iter_, converged_ : int, bool

    Notes
    -----
    Soft predictions (`probs`) are used where there are any, else one class each. `weights` of the Evaluation are not
    used. Departures from the published code:

    - It reads label and prediction of an example to say where it belongs; then no held-out test means anything. From
      the embedding alone, a component of errors has few members at weight one half where most examples around
      it are right: rank by score.
    - Its M step for soft predictions may lower the likelihood; ours does not (see `mixture_em`).
    - It orders components by the largest difference P(yhat=c|s) - P(y=c|s), and so misses a class that is taken for
      many others: ours is the largest absolute one.
    - By gap alone a handful of odd examples comes first: their component has gap 1. Components of fewer than 10
      examples are no slices here, nor those with a smaller share of errors than the data; gaps that agree to two
      decimals are ties, and the heavier component goes first.

    Examples
    --------
    >>> import numpy as np
    >>> from failviz.evaluation import Evaluation
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(400, 4))
    >>> x[:40] += 4
    >>> wrong = np.arange(400) < 40
    >>> ev = Evaluation(x, labels=np.zeros(400, int), predictions=wrong.astype(int), class_names=["boot", "sandal"])
    >>> finder = ErrorMixture(n_components=4, random_state=0).fit(ev)
    >>> finder.slices(ev)[0]
    Slice('boot taken for sandal', 40 of 400 examples, error mixture)
    """

    requires = ("labels", "predictions")

    def __init__(
        self,
        n_slices: int = 5,
        n_components: int = 25,
        n_pca: int = 128,
        label_weight: float = 10.0,
        init: str = "confusion-kmeans",
        *,
        prediction_weight: float | None = None,
        reg: float = 1e-6,
        tol: float = 1e-3,
        max_iter: int = 100,
        space: str | None = None,
        random_state: Any = None,
        progress: bool = True,
    ):
        self.n_slices = n_slices
        self.n_components = n_components
        self.n_pca = n_pca
        self.label_weight = label_weight
        self.init = init
        self.prediction_weight = prediction_weight
        self.reg = reg
        self.tol = tol
        self.max_iter = max_iter
        self.space = space
        self.random_state = random_state
        self.progress = progress

    def fit(self, evaluation: Evaluation) -> ErrorMixture:
        """Learn the mixture from labels and predictions of an Evaluation (not the model's training data)."""
        exponents = self._checked_exponents()
        hashes = self._start_fit(evaluation)
        embeddings, labels, predictions = evaluation.space(self.space_), evaluation.labels, evaluation.predictions
        assert labels is not None and predictions is not None
        soft = predictions if evaluation.probs is None else evaluation.probs
        chances = () if evaluation.probs is None else (content_hashes(evaluation.probs),)
        order = canonical_order(embeddings, hashes, labels, predictions, *chances)
        n_classes, n_components = evaluation.n_classes, min(self.n_components, len(order))
        with one_thread():
            self.mean_, self.basis_, spread = principal_axes(embeddings, order, self.n_pca)
            rows = np.empty((len(order), len(spread)))
            for part, block in _blocks(embeddings, order):
                rows[part] = (block - self.mean_) @ self.basis_
            shares = shares_by_cell(
                rows,
                (labels * n_classes + predictions)[order],
                n_components,
                check_random_state(self.random_state),
                split=self.init == "confusion-kmeans",
            )
            examples, reg = Examples(rows, labels[order], soft[order]), self.reg * spread
            first = first_mixture(examples, shares, n_classes, reg)
            path = climb(examples, first, exponents, reg, tol=self.tol, max_iter=self.max_iter)
            [(mixture, log_likelihoods)] = deque(progress_bar(path, desc=METHOD, enabled=self.progress), maxlen=1)
            self._store(mixture, examples, evaluation.errors[order], exponents)
        self.log_likelihoods_, self.n_iter_ = np.array(log_likelihoods), len(log_likelihoods)
        self.converged_ = has_settled(log_likelihoods, self.tol)
        self._names = _unique([self._name(s, evaluation) for s in self.order_])
        return self

    def decision_function(self, evaluation: Evaluation) -> np.ndarray:
        """float64 (n, n_found): log odds of P(s|z), positive = rather in than out; larger = more likely to fail."""
        embeddings = self._embeddings(evaluation)
        decision = np.empty((len(embeddings), len(self.order_)))
        for part, block in _blocks(embeddings):
            logs = self._mixture.log_densities(with_squares((block - self.mean_) @ self.basis_))
            decision[part] = log_odds(logs, self.order_)
        return decision

    def slices(self, evaluation: Evaluation) -> list[Slice]:
        """One Slice per component of `order_`, largest gap first; weights are P(s|z), as in the `stats` of the fit."""
        decision = self.decision_function(evaluation)
        return [
            self._slice(
                evaluation,
                scores=decision[:, j],
                weights=expit(decision[:, j]),
                scope="all",
                name=self._names[j],
                method=METHOD,
                stats=self._stats[j],
            )
            for j in range(len(self.order_))
        ]

    def _store(self, mixture: Mixture, examples: Examples, errors: np.ndarray, exponents: tuple[float, float]) -> None:
        self._mixture = mixture
        self.weights_, self.means_, self.variances_ = mixture.weights, mixture.means, mixture.variances
        self.label_probs_, self.prediction_probs_ = mixture.label_probs, mixture.prediction_probs
        self.gaps_ = np.abs(self.prediction_probs_ - self.label_probs_).max(axis=1)

        # Of each component as a slice, from embeddings alone, and as the fit sees it, from outcomes too.
        sizes, fails = np.zeros((2, 2, len(self.weights_)))
        for part, squared, outcomes in examples.blocks():
            logs = mixture.log_densities(squared)
            for j, joint in enumerate((logs, logs + weighted(exponents, mixture.log_classes(outcomes)))):
                posterior = responsibilities(joint)[0]
                sizes[j] += posterior.sum(axis=0)
                fails[j] += errors[part] @ posterior
        rates, of_all = fails / np.where(sizes > 0, sizes, 1.0), float(errors.mean())
        is_failure = ((rates > of_all * (1 + 1e-9)) | (of_all == 1)).all(axis=0)  # what holds everything is no group
        is_failure &= (sizes[1] >= FEWEST) & (self.gaps_ > 0) & (of_all > 0)
        ranked = np.lexsort((-self.weights_, -np.round(self.gaps_, 2)))
        self.order_ = ranked[is_failure[ranked]][: self.n_slices]
        self._stats = [
            {
                "component": int(s),
                "fit_weight": float(sizes[0, s]),
                "fit_error_rate": float(rates[0, s]),
                "fit_error_rate_of_all": of_all,
                "fit_mistake_gap": float(self.gaps_[s]),
            }
            for s in self.order_
        ]

    def _name(self, component: int, evaluation: Evaluation) -> str:
        excess = self.prediction_probs_[component] - self.label_probs_[component]
        label, prediction = int(excess.argmin()), int(excess.argmax())
        return f"{evaluation.class_name(label)} taken for {evaluation.class_name(prediction)}"

    def _checked_exponents(self) -> tuple[float, float]:
        for name in ("n_slices", "n_components", "n_pca", "max_iter"):
            _checks.whole_number(getattr(self, name), name, least=1)
        if self.init not in ("confusion-kmeans", "confusion"):
            raise ValueError(f'init must be "confusion-kmeans" or "confusion", not {self.init!r}.')
        second = self.label_weight if self.prediction_weight is None else self.prediction_weight
        numbers = {"label_weight": self.label_weight, "prediction_weight": second, "reg": self.reg, "tol": self.tol}
        for name, value in numbers.items():
            is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
            if not (is_number and np.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be a number of 0 or more, not {value!r}.")
        if self.reg == 0:
            raise ValueError("reg must be above 0: a component of equal rows would have no variance.")
        return float(self.label_weight), float(second)


def _unique(names: list[str]) -> list[str]:
    """The same names, "... 2" and so on where one comes again."""
    unique: list[str] = []
    for name in names:
        candidates = (name if number == 1 else f"{name} {number}" for number in itertools.count(1))
        unique.append(next(candidate for candidate in candidates if candidate not in unique))
    return unique
