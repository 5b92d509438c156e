"""Spotlight: regions of the embedding space where the loss is high, whatever the class.

d'Eon, d'Eon, Wright & Leyton-Brown 2021, *The Spotlight: A General Method for Discovering Systematic
Errors in Deep Learning Models*, arXiv 2107.00758.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from failviz import _checks
from failviz._parallel import one_thread
from failviz._progress import progress as progress_bar
from failviz.discovery.base import SliceFinder, canonical_order
from failviz.discovery.spotlight_adam import STEPS, ascend_as_published, barrier_widths
from failviz.discovery.spotlight_level import (
    FLOOR,
    Cloud,
    Scaling,
    exact_tau,
    level_ascent,
    mean_shift,
    squared_distances,
)
from failviz.evaluation import Evaluation
from failviz.slices import Slice

METHOD = "spotlight"
FEWEST = 4
_CLIMBS = {"mean shift": mean_shift, "level ascent": level_ascent}
_OF_LEVEL = {"confine": 1.0, "loss_clip": 0.999, "n_starts": 16}


class Spotlight(SliceFinder):
    """Find compact regions of the embedding space with the highest mean loss, needing no labels of groups.

    Each spotlight is a centre mu and a precision tau; an example at squared distance d from mu has
    weight k = max(0, 1 - tau d), and the weighted mean loss is as high as possible at total weight S.
    Further spotlights see losses reduced by what the earlier ones cover: l <- l (1 - k / max k).
    **Larger score = more likely to fail.**

    Parameters
    ----------
    n_slices : int, default 5
    min_weight : float, default 0.02
        S: below 1 a share of the examples, else their number.
    solver : "level" or "adam"
        "level" finds tau exactly (total weight = S) and climbs with mu. "adam" repeats the
        published optimiser, on the embeddings as they are; its result depends on their scale, and
        its total weight may end above S. It has none of the three settings below.
    confine : float or None, default 1.0
        Keeps each centre within this many rms radii (of the whole data) of the examples that it covers: at
        first the cluster it starts from, at the end the mean of its slice. None = free. A
        centre far out of the data fits the losses better and unseen losses worse.
    loss_clip : float or None, default 0.999
        Losses above this quantile count as the quantile, so that one huge loss does not win; None = never.
    n_starts : int, default 16
        Centres from which the search starts: clusters of the examples with high loss.
    space : str or None
        Embedding space; None = the first.
    random_state : int, RandomState or None
        Of the starts and of the internal halves.
    progress : bool, default True
        Show a bar when the fit takes long.

    Attributes
    ----------
    centers_ : float64 (n_slices, d)
        mu, in the coordinates of the embeddings.
    precisions_ : float64 (n_slices,)
        tau, per squared unit of the embeddings.
    peaks_ : float64 (n_slices,)
        max k over the examples of the fit.
    objectives_ : float64 (n_slices,)
        Weighted mean (clipped, reduced) loss on the data of the fit.
    held_out_ : float64 (n_slices,)
        The same on the half of the data kept back while the start and the way of climbing were chosen; a
        little optimistic, as the best of several. NaN with solver="adam", which keeps nothing back.
    methods_ : list of str
        The way of climbing that was chosen: "level ascent", "mean shift" or "adam".

    Notes
    -----
    Departures from the paper, with solver="level": no barrier, several starts, a choice on a held-out half,
    confinement, clipping. In many dimensions all distances are alike and k stays far below 1 even at the
    heart of a slice, so `Slice.weights` are k / max k (the normalisation of the paper between
    spotlights), and members are the examples with at least half the peak weight. Scores are 1 - tau d, not normalised.
    `weights` of the Evaluation are not used.

    Examples
    --------
    >>> import numpy as np
    >>> from failviz.evaluation import Evaluation
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(400, 4))
    >>> x[:40] += 6
    >>> evaluation = Evaluation(x, losses=(np.arange(400) < 40) * 1.0)
    >>> finder = Spotlight(n_slices=1, min_weight=0.05, random_state=0).fit(evaluation)
    >>> bool((finder.centers_[0] > 3).all())
    True
    """

    requires = ("losses",)

    def __init__(
        self,
        n_slices: int = 5,
        *,
        min_weight: float = 0.02,
        solver: str = "level",
        confine: float | None = 1.0,
        loss_clip: float | None = 0.999,
        n_starts: int = 16,
        space: str | None = None,
        random_state: Any = None,
        progress: bool = True,
    ):
        self.n_slices = n_slices
        self.min_weight = min_weight
        self.solver = solver
        self.confine = confine
        self.loss_clip = loss_clip
        self.n_starts = n_starts
        self.space = space
        self.random_state = random_state
        self.progress = progress

    def fit(self, evaluation: Evaluation) -> Spotlight:
        """Learn `n_slices` spotlights from the losses of an Evaluation (not the model's training data)."""
        self._check_settings()
        hashes = self._start_fit(evaluation)
        size = self._size(evaluation.n_examples)
        embeddings, all_losses = evaluation.space(self.space_), evaluation.losses
        assert all_losses is not None
        if all_losses.min() < 0:
            raise ValueError("Spotlight needs losses of 0 or more: add a constant to them.")
        order = canonical_order(embeddings, hashes, all_losses)
        rows, losses = embeddings[order], all_losses[order]
        fit = _AdamFit(rows, losses, size) if self.solver == "adam" else _LevelFit(rows, losses, size, self)

        self.centers_ = np.empty((self.n_slices, rows.shape[1]))
        self.precisions_, self.peaks_, self.objectives_, self.held_out_ = np.empty((4, self.n_slices))
        self.methods_: list[str] = []
        self._stats: list[dict[str, Any]] = []
        for j in progress_bar(range(self.n_slices), desc="spotlights", enabled=self.progress):
            with one_thread():
                centre, tau, held_out, method = fit.next()
            kernel = np.maximum(0.0, _closeness(rows, centre, tau, fit.floor))
            total, peak = float(kernel.sum()), float(kernel.max())
            self.centers_[j], self.precisions_[j], self.held_out_[j] = centre, tau, held_out
            self.peaks_[j] = peak if peak > 0 else 1.0
            self.objectives_[j] = kernel @ fit.losses / total if total > 0 else 0.0
            self.methods_.append(method)
            self._stats.append(
                {
                    "fit_weight": total,
                    "fit_mean_loss": float(kernel @ losses / total) if total > 0 else 0.0,
                    "fit_mean_loss_of_all": float(losses.mean()),
                    "held_out_objective": float(held_out),
                    "fit_objective": float(self.objectives_[j]),
                }
            )
            fit.losses = fit.losses * (1.0 - kernel / self.peaks_[j])
        self._floor = fit.floor
        return self

    def decision_function(self, evaluation: Evaluation) -> np.ndarray:
        """float64 (n, n_slices): 1 - tau d, the kernel before it is cut off at 0; larger = more likely to fail."""
        embeddings = self._embeddings(evaluation)
        pairs = zip(self.centers_, self.precisions_, strict=True)
        return np.column_stack([_closeness(embeddings, centre, tau, self._floor) for centre, tau in pairs])

    def slices(self, evaluation: Evaluation) -> list[Slice]:
        """One Slice per spotlight in the order found; centre, precision and peak are those of the fit."""
        decision = self.decision_function(evaluation)
        return [
            self._slice(
                evaluation,
                scores=decision[:, j],
                weights=np.clip(decision[:, j] / self.peaks_[j], 0.0, 1.0),
                scope="all",
                name=f"spotlight {j + 1}",
                method=METHOD,
                stats=self._stats[j],
            )
            for j in range(len(self.centers_))
        ]

    def _size(self, n: int) -> float:
        if n < FEWEST:
            raise ValueError(f"Spotlight needs at least {FEWEST} examples, and this Evaluation has {n}.")
        size = self.min_weight * n if self.min_weight < 1 else float(self.min_weight)
        if size > n:
            raise ValueError(f"min_weight={self.min_weight} asks for more than the {n} examples of this Evaluation.")
        return max(1.0, size)

    def _check_settings(self) -> None:
        for name in ("n_slices", "n_starts"):
            _checks.whole_number(getattr(self, name), name, least=1)
        for name in ("min_weight", "confine"):
            value = getattr(self, name)
            if isinstance(value, str | bool) or not (value is None or np.isscalar(value)):
                raise ValueError(f"{name} must be a number, not {value!r}.")
        if self.min_weight is None or not (np.isfinite(self.min_weight) and self.min_weight > 0):
            raise ValueError(f"min_weight must be above 0, not {self.min_weight!r}.")
        if self.confine is not None and not self.confine > 0:
            raise ValueError(f"confine must be above 0, or None, not {self.confine!r}.")
        if self.loss_clip is not None and not 0 < self.loss_clip < 1:
            raise ValueError(f"loss_clip must lie between 0 and 1, or be None, not {self.loss_clip!r}.")
        if self.solver not in ("level", "adam"):
            raise ValueError(f'solver must be "level" or "adam", not {self.solver!r}.')
        if self.solver == "adam":
            for name, default in _OF_LEVEL.items():
                if getattr(self, name) != default:
                    raise ValueError(f"the published optimiser has no {name}: leave it out, or use solver='level'.")


class _AdamFit:
    """Spotlights one after another by the published optimiser."""

    def __init__(self, rows: np.ndarray, losses: np.ndarray, size: float):
        self._rows, self.losses, self._size, self.floor = rows.astype(np.float32), losses, size, 0.0

    def next(self) -> tuple[np.ndarray, float, float, str]:
        widths = barrier_widths(len(self._rows), self._size, STEPS)
        centre, tau = ascend_as_published(self._rows, self.losses, self._size, widths=widths)
        return centre, tau, np.nan, "adam"


class _LevelFit:
    """Spotlights one after another by level ascent and mean shift, chosen on a held-out half."""

    def __init__(self, rows: np.ndarray, losses: np.ndarray, size: float, settings: Spotlight):
        self._scaling = Scaling.fit(rows)
        self._scaled = self._scaling(rows)
        self._rows, self._size, self._confine, self._n_starts = rows, size, settings.confine, settings.n_starts
        self.floor = FLOOR * self._scaling.radius**2
        clip = settings.loss_clip
        self.losses = losses if clip is None else np.minimum(losses, np.quantile(losses, clip, method="lower"))
        self._rng = check_random_state(settings.random_state)
        self._halves = _stratified_halves(losses, self._rng)

    def next(self) -> tuple[np.ndarray, float, float, str]:
        searched, kept = (Cloud(self._scaled[half], self.losses[half]) for half in self._halves)
        part = max(1.0, self._size * len(searched) / len(self._scaled))
        starts = _starts(searched, self._n_starts, self._rng)
        best_score, best = -np.inf, (0.0, starts[:1], "mean shift")
        for name, climb in _CLIMBS.items():
            centres = climb(searched, starts, part, anchors=starts, confine=self._confine, shrink=True)
            kernel = kept.kernel(kept.distances(centres), exact_tau(searched.distances(centres), part))
            held_out = kept.mean_loss(kernel)
            # One standard error less, as the best of many is looked for; and a slice that the other half hardly
            # enters has no held-out loss to speak of.
            score = np.where(kernel.sum(axis=1) >= 0.25 * part, held_out - kept.mean_loss_error(kernel), -np.inf)
            j = int(score.argmax())
            if score[j] > best_score:
                best_score, best = score[j], (float(held_out[j]), centres[j : j + 1], name)
        held_out_loss, centre, name = best
        everything = Cloud(self._scaled, self.losses)
        covered = everything.mean_row(centre, self._size)
        climb = _CLIMBS[name]
        centre = climb(everything, centre, self._size, anchors=covered, confine=self._confine, shrink=False)
        mu = self._scaling.undo(centre[0])
        distances = np.maximum(squared_distances(self._rows, mu), self.floor)
        return mu, float(exact_tau(distances[None], self._size)[0]), held_out_loss, name


def _closeness(rows: np.ndarray, centre: np.ndarray, tau: float, floor: float) -> np.ndarray:
    return 1.0 - tau * np.maximum(squared_distances(rows, centre), floor)


def _stratified_halves(losses: np.ndarray, rng: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Two halves (row numbers, ascending) alike in loss: of each two neighbours in rank, one goes to either."""
    ranked = np.argsort(losses, kind="stable")
    n_pairs = len(ranked) // 2
    pairs = ranked[: 2 * n_pairs].reshape(-1, 2)
    first = rng.randint(2, size=n_pairs)
    picked = pairs[np.arange(n_pairs), first]
    other = np.concatenate([pairs[np.arange(n_pairs), 1 - first], ranked[2 * n_pairs :]])
    return np.sort(picked), np.sort(other)


def _starts(cloud: Cloud, n_starts: int, rng: np.random.RandomState) -> np.ndarray:
    """Centres (s, d) of k-means clusters of the fifth of the rows with the highest loss, weighted by loss."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    n_top = min(len(cloud), max(len(cloud) // 5, 2 * n_starts))
    top = np.sort(np.argsort(-cloud.losses, kind="stable")[:n_top])
    rows, weights = cloud.rows[top], cloud.losses[top].astype(np.float64)
    if not weights.any():
        weights = np.ones(len(top))
    distinct = len(np.unique(rows[weights > 0], axis=0))
    if distinct <= n_starts:
        return np.unique(rows[weights > 0], axis=0).astype(np.float64)
    means = KMeans(n_starts, n_init=1, max_iter=10, random_state=rng.randint(2**31 - 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer centres than asked for are starts as good
        return means.fit(rows, sample_weight=weights).cluster_centers_.astype(np.float64)
