"""Spotlight: regions of the embedding space where the loss is high, whatever the class.

d'Eon, d'Eon, Wright & Leyton-Brown 2021, *The Spotlight: A General Method for Discovering Systematic
Errors in Deep Learning Models*, arXiv 2107.00758.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from failviz._parallel import parallel_map
from failviz.discovery.base import SliceFinder, canonical_order
from failviz.discovery.spotlight_entropy import EntropyPenalty
from failviz.discovery.spotlight_search import Group, Spot, closeness, search
from failviz.discovery.spotlight_settings import Settings, check_settings
from failviz.evaluation import Evaluation
from failviz.slices import Scope, Slice, scope_mask

METHOD, METHOD_FLIPPED = "spotlight", "low-loss spotlight"
FEWEST = 4
"""Rows below which nothing is searched."""


class Spotlight(SliceFinder):
    """Find compact regions of the embedding space with the highest mean loss, needing no labels of groups.

    Each spotlight is a centre mu and a precision tau; an example at squared distance d from mu has
    weight k = max(0, 1 - tau d), and the weighted mean loss is as high as possible at total weight S.
    Further spotlights see losses reduced by what the earlier ones cover: l <- l (1 - k / max k).
    **Larger score = deeper in the spotlight, more likely to fail** (with `flip`, less likely).

    Parameters
    ----------
    n_slices : int, default 5
        In all: with `group_by` the best of as many from each class.
    min_weight : float, default 0.02
        S: below 1 a share of the examples (with `group_by`, of the class), else their number. An example counts as
        often as `weights` of the Evaluation say.
    solver : "level" or "adam"
        "level" finds tau exactly and climbs with mu. "adam" repeats the published optimiser, on the
        embeddings as they are; its result depends on their scale, and
        its total weight may end above S. It has no `size`, `confine`, `loss_clip` or `n_starts`.
    kernel : "spherical" or "full"
        "full": ellipsoids, k = max(0, 1 - (x - mu)' P (x - mu)). "level" takes the shape from the shrunken
        covariance of what the spotlight covers, in turn with the centre, and keeps it where it does better than the
        sphere on the half kept back (about three times as slow at 20,000 x 512); "adam" climbs with every entry of P,
        at n d^2 operations in each of 5,000 steps.
    size : "exact" or "at_least"
        Total weight exactly S, or at least S, where more of it has a higher mean loss.
    group_by : None, "label" or "prediction"
        Search all examples at once, or within each class of labels or predictions as if it were all there is. Slices
        are then defined within their class, and that column is needed to apply them.
    label_entropy, prediction_entropy : float, default 0
        The objective loses so many times the entropy (in nats) of the labels, or of the predictions, in the spotlight:
        above 0, spotlights within few classes. Fit then needs that column; scores do not read it.
    flip : bool, default False
        Look for the regions where the model does *best*: the lowest mean loss. A larger score then means deeper in such
        a region, against the rule of all other slices; their names and `method` say "low-loss". As `verify` asks
        whether errors are more frequent inside, it does not confirm them, and `score` falls below 1.
    confine : float or None, default 1.0
        Keeps each centre within this many rms radii (of the whole data) of the examples that it covers: at
        first the cluster it starts from, at the end the mean of its slice. None = free. A
        centre far out of the data fits the losses better and unseen losses worse.
    loss_clip : float or None, default 0.999
        Losses above this quantile count as the quantile, so that one huge loss does not win; None = never.
    n_starts : int, default 16
        Centres from which the search starts: clusters of the examples with high loss.
    barrier_scale : float, default 1.0
        Only of solver="adam": how strongly a total weight below S is held off. The paper's runs on ImageNet and SQuAD
        take 10.
    space : str or None
        Embedding space; None = the first.
    random_state : int, RandomState or None
        Of the starts and of the internal halves. An int is used as it is in every class.
    progress : bool, default True
        Show a bar when the fit takes long.

    Attributes
    ----------
    centers_ : float64 (k, d)
        mu, in the coordinates of the embeddings; k = n_slices, with `group_by` it may be fewer.
    precisions_ : float64 (k,), or (k, d, d) with kernel="full"
        tau, or P (tau I where the sphere did better), per squared unit of the embeddings.
    peaks_ : float64 (k,)
        max k over the examples of the fit.
    objectives_ : float64 (k,)
        Weighted mean (clipped, reduced) loss on the data of the fit less the penalties. With `flip` what is as high as
        possible is minus the mean loss, and losses are raised toward the highest where they were reduced.
    held_out_ : float64 (k,)
        The same on the half of the data kept back while the start and the way of climbing were chosen; a
        little optimistic, as the best of several. NaN where no start reached into that half, and with solver="adam",
        which keeps nothing back.
    methods_ : list of str
        The way of climbing that was chosen: "level ascent", "mean shift" or "adam"; ", ellipsoid" where the shape was
        kept.
    scopes_ : list
        "all", or with `group_by` ("label", c) or ("prediction", c), of each spotlight.
    status_ : list of str
        With `group_by`, per class "fitted", "outranked" (searched, and none of its spotlights is among the best),
        "too_few_examples" (fewer than 4 rows, or than `min_weight` asks for) or "empty"; else empty.

    Notes
    -----
    Departures from the paper, with solver="level": no barrier, several starts, a choice on a held-out half,
    confinement, clipping. In many dimensions all distances are alike and k stays far below 1 even at the
    heart of a slice, so `Slice.weights` are k / max k (the normalisation of the paper between
    spotlights), and members are the examples with at least half the peak weight. Scores are 1 - tau d, not normalised.
    An ellipsoid of d (d + 1) / 2 free numbers, as solver="adam" has it, reaches a higher mean loss on the rows of the
    fit than ours, which takes its shape from a covariance, and a lower one on others.

    The entropies, and weights, are named in the published code and do nothing there; flipped, that code lowers the
    losses of what it has found, and finds it again.

    Spotlights of several classes are ranked by what they add: total weight times the excess of the held-out objective
    over that of the whole class.

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

    def __init__(
        self,
        n_slices: int = 5,
        *,
        min_weight: float = 0.02,
        solver: str = "level",
        kernel: str = "spherical",
        size: str = "exact",
        group_by: str | None = None,
        label_entropy: float = 0.0,
        prediction_entropy: float = 0.0,
        flip: bool = False,
        confine: float | None = 1.0,
        loss_clip: float | None = 0.999,
        n_starts: int = 16,
        barrier_scale: float = 1.0,
        space: str | None = None,
        random_state: Any = None,
        progress: bool = True,
    ):
        self.n_slices = n_slices
        self.min_weight = min_weight
        self.solver = solver
        self.kernel = kernel
        self.size = size
        self.group_by = group_by
        self.label_entropy = label_entropy
        self.prediction_entropy = prediction_entropy
        self.flip = flip
        self.confine = confine
        self.loss_clip = loss_clip
        self.n_starts = n_starts
        self.barrier_scale = barrier_scale
        self.space = space
        self.random_state = random_state
        self.progress = progress

    @property
    def requires(self) -> tuple[str, ...]:  # type: ignore[override]  # here settings decide the columns
        return ("losses", *self._classes_read())

    @property
    def requires_to_apply(self) -> tuple[str, ...]:  # type: ignore[override]  # of the fit, if there was one
        group_by = vars(self).get("_group_by", self.group_by)
        return () if group_by is None else (f"{group_by}s",)

    def fit(self, evaluation: Evaluation) -> Spotlight:
        """Learn spotlights from the losses of an Evaluation (not the model's training data)."""
        check_settings(self.get_params(deep=False))
        hashes = self._start_fit(evaluation)
        self._group_by, self._flipped = self.group_by, self.flip
        embeddings, losses, weights = evaluation.space(self.space_), evaluation.losses, evaluation.weights
        assert losses is not None
        if losses.min() < 0:
            raise ValueError("Spotlight needs losses of 0 or more: add a constant to them.")
        read = [getattr(evaluation, column) for column in self._classes_read()]
        order = canonical_order(embeddings, hashes, losses, weights, *read)
        order = order[weights[order] > 0]
        self.status_: list[str] = []
        found = self._in_all(evaluation, order) if self.group_by is None else self._in_classes(evaluation, order)

        d = embeddings.shape[1]
        self.scopes_: list[Scope] = [scope for scope, _ in found]
        spots = [spot for _, spot in found]
        self.centers_ = np.array([spot.centre for spot in spots]).reshape(-1, d)
        shape = (-1, d, d) if self.kernel == "full" else (-1,)
        self.precisions_ = np.array([spot.precision for spot in spots], dtype=np.float64).reshape(shape)
        self.peaks_ = np.array([spot.peak for spot in spots])
        self.objectives_ = np.array([spot.objective for spot in spots])
        self.held_out_ = np.array([spot.held_out for spot in spots])
        self.methods_ = [spot.method for spot in spots]
        self._spots = spots
        return self

    def decision_function(self, evaluation: Evaluation) -> np.ndarray:
        """float64 (n, k): 1 - tau d, the kernel before it is cut off at 0; larger = more likely to fail (with `flip`,
        less likely), -inf for examples of other classes."""
        embeddings = self._embeddings(evaluation)
        decision = np.full((len(embeddings), len(self._spots)), -np.inf)
        for j, (spot, scope) in enumerate(zip(self._spots, self.scopes_, strict=True)):
            rows = slice(None) if scope == "all" else np.flatnonzero(scope_mask(scope, evaluation))
            decision[rows, j] = closeness(embeddings[rows], spot.centre, spot.precision, spot.floor)
        return decision

    def slices(self, evaluation: Evaluation) -> list[Slice]:
        """One Slice per spotlight in the order of the attributes; centre, precision and peak are those of the fit."""
        decision = self.decision_function(evaluation)
        kind = METHOD_FLIPPED if self._flipped else METHOD
        found: list[Slice] = []
        for j, (spot, scope) in enumerate(zip(self._spots, self.scopes_, strict=True)):
            name = f"{kind} {1 + self.scopes_[:j].count(scope)}"
            if isinstance(scope, tuple):
                group = ("predicted " if scope[0] == "prediction" else "") + evaluation.class_name(scope[1])
                name = f"{group}: {name}"
            found.append(
                self._slice(
                    evaluation,
                    scores=decision[:, j],
                    weights=np.clip(decision[:, j] / spot.peak, 0.0, 1.0),
                    scope=scope,
                    name=name,
                    method=kind,
                    stats={
                        "fit_weight": spot.weight,
                        "fit_mean_loss": spot.mean_loss,
                        "fit_mean_loss_of_all": spot.mean_loss_of_all,
                        "held_out_objective": spot.held_out,
                        "fit_objective": spot.objective,
                    },
                )
            )
        return found

    def _in_all(self, evaluation: Evaluation, order: np.ndarray) -> list[tuple[Scope, Spot]]:
        if len(order) < FEWEST:
            raise ValueError(f"Spotlight needs at least {FEWEST} examples, and this Evaluation has {len(order)}.")
        group = self._group(evaluation, order)
        size = self._size(group)
        if size is None:
            raise ValueError(
                f"min_weight={self.min_weight} asks for more than the {group.total * group.unit:.6g} examples of this "
                "Evaluation."
            )
        rng = check_random_state(self.random_state)
        return [("all", spot) for spot in search(group, size, Settings.of(self), rng, progress=self.progress)]

    def _in_classes(self, evaluation: Evaluation, order: np.ndarray) -> list[tuple[Scope, Spot]]:
        """The spotlights of all classes that add most, most first; ties by class, then in the order found."""
        assert self.group_by is not None
        rng = check_random_state(self.random_state)
        is_seed = isinstance(self.random_state, int | np.integer)
        seed = int(self.random_state) if is_seed else int(rng.randint(2**31 - 1))
        scopes, pieces = [], []
        for c in range(evaluation.n_classes):
            scope = (self.group_by, c)
            rows = order[scope_mask(scope, evaluation)[order]]
            group = self._group(evaluation, rows) if len(rows) >= FEWEST else None
            size = None if group is None else self._size(group)
            self.status_.append("fitted" if size is not None else "too_few_examples" if len(rows) else "empty")
            if size is not None:
                scopes.append(scope)
                pieces.append((group, size, Settings.of(self), seed))
        searched = parallel_map(_search_class, pieces, desc="spotlights", progress=self.progress)
        found = [(scope, spot) for scope, spots in zip(scopes, searched, strict=True) for spot in spots]
        best = sorted(found, key=lambda one: -one[1].gain)[: self.n_slices]
        for scope in set(scopes) - {scope for scope, _ in best}:
            self.status_[scope[1]] = "outranked"
        return list(best)

    def _group(self, evaluation: Evaluation, rows: np.ndarray) -> Group:
        losses, weights = evaluation.losses, evaluation.weights[rows]
        assert losses is not None
        is_plain = bool((weights == 1).all())
        unit = 1.0 if is_plain else float(weights.mean())
        return Group(
            evaluation.space(self.space_)[rows],
            losses[rows],
            weights=None if is_plain else weights / unit,
            unit=unit,
            penalties=tuple(
                EntropyPenalty.of(coefficient, getattr(evaluation, column)[rows])
                for column, coefficient in (("labels", self.label_entropy), ("predictions", self.prediction_entropy))
                if coefficient > 0
            ),
        )

    def _size(self, group: Group) -> float | None:
        """S in weights of the group, at least 1; None where it is more than there is."""
        size = self.min_weight * group.total if self.min_weight < 1 else self.min_weight / group.unit
        return max(1.0, size) if size <= group.total else None

    def _classes_read(self) -> tuple[str, ...]:
        """Columns of classes that a fit reads."""
        read = {
            "labels": self.group_by == "label" or self.label_entropy != 0,
            "predictions": self.group_by == "prediction" or self.prediction_entropy != 0,
        }
        return tuple(column for column, is_read in read.items() if is_read)


def _search_class(group: Group, size: float, settings: Settings, seed: int) -> list[Spot]:
    return search(group, size, settings, check_random_state(seed))
