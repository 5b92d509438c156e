"""Plane spots: clusters on a two-dimensional map of the data in which the model errs more than elsewhere.

Plumb, Johnson, Cabrera & Talwalkar 2023, *Towards a More Rigorous Science of Blindspot Discovery in Image
Classification Models* (PlaneSpot), arXiv 2207.04104.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.utils import check_random_state

from failviz import _checks
from failviz._parallel import parallel_map
from failviz.discovery.base import SliceFinder, canonical_order, status_of
from failviz.discovery.mixture import principal_axes
from failviz.discovery.mixture_em import log_odds, responsibilities
from failviz.discovery.plane_fit import map_group, plane_logs
from failviz.evaluation import Evaluation
from failviz.slices import Scope, Slice, scope_mask

METHOD = "plane spot"
FEWEST, FEWEST_ERRORS = 20, 2
"""Examples, and errors and correct examples, below which a group is not searched."""
N_AXES = 50
"""Principal axes of the whole data in which groups are mapped."""
_BLOCK_ROWS = 4096


class PlaneSpot(SliceFinder):
    """Find clusters of a two-dimensional map, drawn for each class, in which the model errs more than elsewhere.

    Each class (or the whole data) is mapped to a plane, scaled to [0, 1], and joined with w x the probability that the
    model gives to the label. A Gaussian mixture of these three columns, of as many components as BIC wants, divides
    it into clusters alike in place and in confidence. Slices are those with the most errors x error rate. On any data,
    membership is the posterior P(s|z) from the place z alone. **Larger score = more likely to fail.**

    Parameters
    ----------
    n_slices : int, default 10
        At most so many, of all groups together.
    n_components : int, default 33
        Of each mixture, at most.
    confidence_weight : float, default 0.025
        w. With full covariances the likelihood does not depend on it. It sets how much confidence counts in the start
        (k-means), and how finely it is resolved: 1e-6 is added to all variances, so to 0.04 at 0.025, to 0.001 at 1.
    group_by : "label", "prediction" or "all"
        What is mapped by itself; slices are defined within it, and that column is needed to apply them. "all" is one
        plane for everything, as in the published code: two dimensions hold little of ten classes.
    embedding : "confidence", "principal" or a scikit-learn transformer
        The map to the plane, of up to 50 principal axes of the whole data. "confidence" takes the two directions of
        the group that go best with confidence (partial least squares), "principal" those of largest variance. Of a
        transformer with `fit_transform` and `transform` to two columns, such as `umap.UMAP(random_state=0)`, a copy
        is fitted to each group; it decides whether scores depend on the machine and on what is scored together.
    space : str or None
        Embedding space; None = the first.
    random_state : int, RandomState or None
        Of the mixtures.
    progress : bool, default True
        Show a bar when the fit takes long.

    Attributes
    ----------
    planes_ : dict of {scope: Plane}
        The groups that have one.
    status_ : dict of {scope: str}
        Per group "fitted", "empty", "too_few_examples" (fewer than 20), "too_few_errors" or "too_few_correct" (than 2).
    spots_ : list of (scope, int)
        Group and component of each slice, most errors x error rate first. Columns of `decision_function` and `slices`
        follow it.
    mean_, basis_ : float64 (d,), (d, k)
        Of the principal axes: coordinates are (z - mean) @ basis, of variance 1 along the first.

    Notes
    -----
    Without `probs`, confidence is 1 for correct examples and 0 for errors. `weights` of the Evaluation are not used.
    Departures from the paper and its code:

    - It maps the model's own last layer with scvis, a variational autoencoder that keeps neighbours. In another
      encoder's space two dimensions that know nothing of confidence seldom part what fails from the rest, and ours
      do. They need no training, are the same on every machine, and place new examples.
    - It reads the probability of the label of an example to say where it belongs; then no held-out test means anything.
      Clusters that differ in confidence alone cannot be told apart without it: errors, rates and sizes are counted by
      place alone. Clusters with fewer than 5 members on the map are no slices, nor those no worse than their group.
    - Its errors are 1 - probability of the label; ours are those that were made.
    - The number of components stops growing once eight larger mixtures in a row had no better BIC.

    Examples
    --------
    >>> import numpy as np
    >>> from failviz.evaluation import Evaluation
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(400, 4))
    >>> x[:60] += 4
    >>> wrong = np.arange(400) < 60
    >>> ev = Evaluation(x, labels=np.zeros(400, int), predictions=wrong.astype(int), class_names=["boot", "sandal"])
    >>> PlaneSpot(random_state=0).fit(ev).slices(ev)[0]
    Slice('spot 1: boot taken for sandal', 60 of 400 examples, plane spot)
    """

    requires = ("labels", "predictions")

    def __init__(
        self,
        n_slices: int = 10,
        n_components: int = 33,
        confidence_weight: float = 0.025,
        group_by: str = "label",
        *,
        embedding: Any = "confidence",
        space: str | None = None,
        random_state: Any = None,
        progress: bool = True,
    ):
        self.n_slices = n_slices
        self.n_components = n_components
        self.confidence_weight = confidence_weight
        self.group_by = group_by
        self.embedding = embedding
        self.space = space
        self.random_state = random_state
        self.progress = progress

    @property
    def requires_to_apply(self) -> tuple[str, ...]:  # type: ignore[override]  # here a setting decides the column
        group_by = vars(self).get("_group_by", self.group_by)  # of the fit, if there was one
        return () if group_by == "all" else (f"{group_by}s",)

    def fit(self, evaluation: Evaluation) -> PlaneSpot:
        """Map each group and fit its mixture (not to the model's training data)."""
        settings = self._checked_settings()
        hashes = self._start_fit(evaluation)
        self._group_by = self.group_by
        labels, predictions, errors = evaluation.labels, evaluation.predictions, evaluation.errors
        assert labels is not None and predictions is not None
        probs = evaluation.probs
        confidence = (~errors if probs is None else probs[np.arange(len(errors)), labels]).astype(np.float64)
        embeddings = evaluation.space(self.space_)
        order = canonical_order(embeddings, hashes, labels, predictions, confidence)
        self.mean_, axes, variances = principal_axes(embeddings, order, N_AXES)
        self.basis_ = axes / np.sqrt(variances[0])

        scopes: list[Scope] = ["all"]
        if self.group_by != "all":
            scopes = [(self.group_by, c) for c in range(evaluation.n_classes)]
        rows = {scope: order[scope_mask(scope, evaluation)[order]] for scope in scopes}
        self.status_ = {scope: _status(errors[members]) for scope, members in rows.items()}
        fitted = [scope for scope, status in self.status_.items() if status == "fitted"]
        pieces = [
            (self._coordinates(embeddings, rows[s]), confidence[rows[s]], errors[rows[s]], settings) for s in fitted
        ]
        planes = parallel_map(map_group, pieces, desc="plane spots", progress=self.progress)
        self.planes_ = dict(zip(fitted, planes, strict=True))

        spots = [(scope, int(s)) for scope, plane in self.planes_.items() for s in plane.spots]
        spots.sort(key=lambda spot: -self.planes_[spot[0]].importances[spot[1]])  # ties: by class, then component
        self.spots_ = spots[: self.n_slices]
        wrong = {scope: members[errors[members]] for scope, members in rows.items()}
        self._confusions = [self._confusion(spot, evaluation, wrong[spot[0]]) for spot in self.spots_]
        return self

    def decision_function(self, evaluation: Evaluation) -> np.ndarray:
        """float64 (n, k), one column per spot of `spots_`: log odds of P(s|z), positive = rather in than out, -inf for
        examples of other groups."""
        embeddings = self._embeddings(evaluation)
        decision = np.full((len(embeddings), len(self.spots_)), -np.inf)
        for scope in dict(self.spots_):
            columns = np.array([column for column, spot in enumerate(self.spots_) if spot[0] == scope])
            rows = np.flatnonzero(scope_mask(scope, evaluation))
            if len(rows):
                components = np.array([self.spots_[column][1] for column in columns])
                decision[np.ix_(rows, columns)] = log_odds(self._logs(scope, embeddings, rows), components)
        return decision

    def slices(self, evaluation: Evaluation) -> list[Slice]:
        """One Slice per spot of `spots_`, most errors x error rate first; weights are P(s|z), as in the `stats` of the
        fit, which are in-sample."""
        decision = self.decision_function(evaluation)
        found = []
        for column, (scope, s) in enumerate(self.spots_):
            plane = self.planes_[scope]
            label, prediction = map(evaluation.class_name, self._confusions[column])
            found.append(
                self._slice(
                    evaluation,
                    scores=decision[:, column],
                    weights=expit(decision[:, column]),
                    scope=scope,
                    name=f"spot {column + 1}: {label} taken for {prediction}",
                    method=METHOD,
                    stats={
                        "component": s,
                        "fit_weight": float(plane.sizes[s]),
                        "fit_errors": float(plane.fails[s]),
                        "fit_error_rate": float(plane.rates[s]),
                        "fit_base_error_rate": plane.base_rate,
                        "fit_confidence": float(plane.confidences[s]),
                    },
                )
            )
        return found

    def _coordinates(self, embeddings: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """float64 (len(rows), k): principal coordinates of some rows, a column of zeros beside a lone one."""
        coordinates = np.zeros((len(rows), max(2, self.basis_.shape[1])))
        for start in range(0, len(rows), _BLOCK_ROWS):
            block = embeddings[rows[start : start + _BLOCK_ROWS]] - self.mean_
            coordinates[start : start + len(block), : self.basis_.shape[1]] = block @ self.basis_
        return coordinates

    def _logs(self, scope: Scope, embeddings: np.ndarray, rows: np.ndarray) -> np.ndarray:
        plane = self.planes_[scope]
        return plane_logs(plane.mixture, plane.places(self._coordinates(embeddings, rows)))

    def _confusion(self, spot: tuple[Scope, int], evaluation: Evaluation, wrong: np.ndarray) -> tuple[int, int]:
        """The most frequent label and prediction among the errors of a spot, by P(s|z)."""
        assert evaluation.labels is not None and evaluation.predictions is not None
        posterior = responsibilities(self._logs(spot[0], evaluation.space(self.space_), wrong))[0][:, spot[1]]
        n_classes = evaluation.n_classes
        cells = evaluation.labels[wrong] * n_classes + evaluation.predictions[wrong]
        kinds, kind = np.unique(cells, return_inverse=True)
        label, prediction = divmod(int(kinds[np.bincount(kind, weights=posterior).argmax()]), n_classes)
        return label, prediction

    def _checked_settings(self) -> dict[str, Any]:
        for name in ("n_slices", "n_components"):
            _checks.whole_number(getattr(self, name), name, least=1)
        if self.group_by not in ("label", "prediction", "all"):
            raise ValueError(f'group_by must be "label", "prediction" or "all", not {self.group_by!r}.')
        weight = self.confidence_weight
        is_number = isinstance(weight, int | float | np.number) and not isinstance(weight, bool)
        if not (is_number and np.isfinite(weight) and weight >= 0):
            raise ValueError(f"confidence_weight must be a number of 0 or more, not {weight!r}.")
        if isinstance(self.embedding, str):
            if self.embedding not in ("confidence", "principal"):
                raise ValueError(
                    f'embedding must be "confidence", "principal" or a transformer, not {self.embedding!r}.'
                )
        elif not all(hasattr(self.embedding, verb) for verb in ("fit_transform", "transform")):
            raise TypeError(
                "embedding must be a scikit-learn transformer to two columns that places new rows by `transform` "
                f"(UMAP does, TSNE does not), not {type(self.embedding).__name__}."
            )
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        settings = {"embedding": self.embedding, "n_components": self.n_components}
        return {**settings, "weight": float(weight), "seed": seed}


def _status(errors: np.ndarray) -> str:
    if 0 < len(errors) < FEWEST:
        return "too_few_examples"
    return status_of(errors, FEWEST_ERRORS)
