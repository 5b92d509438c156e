"""What every finder has in common: four verbs on an Evaluation, and the memory of what it was fitted on.

A finder is a scikit-learn estimator over Evaluations. The constructor stores, `fit` learns, learned
names end in an underscore, and a larger score always means *more likely to fail*.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from failviz._checks import row_chunks
from failviz.evaluation import Evaluation
from failviz.slices import Slice, scope_mask


class SliceFinder(BaseEstimator, ABC):
    """Base class of all finders: `fit(evaluation)`, then `slices(any_evaluation)`.

    A subclass names the columns it needs, calls `_start_fit` first in `fit`, takes its embeddings
    from `_embeddings`, and writes `decision_function` and `slices`. Both read embeddings, metadata
    and the scope of the Evaluation they are given, never its errors, losses or true-class
    probabilities; a finder that must read them sets `uses_outcome`.

    Attributes
    ----------
    space_ : str
        The embedding space of the fit.
    seen_rows_ : uint64 array (n, 3)
        `Evaluation.row_fingerprints` of the rows of the fit, whatever their order; `verify` refuses to
        judge a slice on them.
    n_features_in_ : int
        Dimensions of the space.
    feature_names_in_ : list of str or None
        Of the space of the fit, None where its dimensions have no names. Others are refused.
    class_names_ : list of str or None
        Of the fit. Another order of classes is refused: numbers would mean other classes.
    """

    requires: ClassVar[tuple[str, ...]] = ("labels", "predictions")
    """Columns that `fit` needs."""
    requires_to_apply: ClassVar[tuple[str, ...]] = ()
    """Columns that `decision_function` and `slices` need."""
    uses_outcome: ClassVar[bool] = False
    """True when scores on an Evaluation read its own outcome: shown by `verify`, never confirmed."""

    space_: str
    seen_rows_: np.ndarray
    n_features_in_: int
    feature_names_in_: list[str] | None
    class_names_: list[str] | None

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if "fit" in vars(cls):
            cls.fit = _whole_or_not_at_all(vars(cls)["fit"])  # type: ignore[method-assign]

    @abstractmethod
    def fit(self, evaluation: Evaluation) -> SliceFinder:
        """Learn slices from an Evaluation."""

    @abstractmethod
    def decision_function(self, evaluation: Evaluation) -> np.ndarray:
        """float64 (n, k): larger = deeper in slice k, -inf = out of its scope."""

    @abstractmethod
    def slices(self, evaluation: Evaluation) -> list[Slice]:
        """The learned slices as subpopulations of any Evaluation with the same space, most important first."""

    def score(self, evaluation: Evaluation) -> float:
        """Mean lift of the slices on other data: error rate among members over that of the slice's scope.

        A slice without members, or in a scope without errors, counts as 1 (no better than chance);
        so does finding no slice at all. Pass an Evaluation that `fit` has not seen.
        """
        evaluation.require("labels", "predictions", by=f"{type(self).__name__}.score")
        lifts = [_lift(one, evaluation) for one in self.slices(evaluation)]
        return float(np.mean(lifts)) if lifts else 1.0

    def _start_fit(self, evaluation: Evaluation) -> np.ndarray:
        """Check the columns, remember space and rows; returns the row hashes uint64 (n,) in the order given."""
        self._check(evaluation, self.requires)
        name = getattr(self, "space", None)
        embeddings = evaluation.space(name)
        self.space_ = evaluation.spaces[0] if name is None else name
        self.n_features_in_ = embeddings.shape[1]
        self.feature_names_in_ = evaluation.feature_names(self.space_)
        self.class_names_ = evaluation.class_names
        fingerprints = evaluation.row_fingerprints(self.space_)
        self.seen_rows_ = fingerprints[np.lexsort(fingerprints.T[::-1])]
        return fingerprints[:, 0]

    def _refitted(self, evaluation: Evaluation) -> SliceFinder:
        """A copy with the same settings, fitted on other data as this one was on its own."""
        copy = clone(self)
        if "progress" in copy.get_params():
            copy.set_params(progress=False)
        return copy.fit(evaluation)

    def _embeddings(self, evaluation: Evaluation) -> np.ndarray:
        """Embeddings (n, d) of an Evaluation to apply the fit to, after checking that it fits."""
        check_is_fitted(self)
        self._check(evaluation, self.requires_to_apply)
        embeddings = evaluation.space(self.space_)
        if embeddings.shape[1] != self.n_features_in_:
            raise ValueError(
                f"{type(self).__name__} was fitted on {self.n_features_in_} dimensions of {self.space_!r}, "
                f"and this Evaluation has {embeddings.shape[1]}: use the same encoder for both."
            )
        names = evaluation.feature_names(self.space_)
        if names is not None and self.feature_names_in_ is not None and names != self.feature_names_in_:
            pairs = zip(self.feature_names_in_, names, strict=True)
            at, (fitted, given) = next((at, pair) for at, pair in enumerate(pairs) if pair[0] != pair[1])
            raise ValueError(
                f"{type(self).__name__} was fitted on a space {self.space_!r} whose dimension {at} is {fitted!r}, and "
                f"in this Evaluation it is {given!r}: give both the same columns, in the same order."
            )
        if self.class_names_ is not None and evaluation.class_names not in (None, self.class_names_):
            raise ValueError(
                f"{type(self).__name__} was fitted on the classes {_shortened(self.class_names_)}, and this Evaluation "
                f"has {_shortened(evaluation.class_names)}: give both the same class_names, in the same order."
            )
        return embeddings

    def _check(self, evaluation: Evaluation, columns: tuple[str, ...]) -> None:
        if not isinstance(evaluation, Evaluation):
            raise TypeError(
                f"{type(self).__name__} takes an Evaluation, not {type(evaluation).__name__}: make one with "
                "failviz.evaluate(model, data)."
            )
        if evaluation.labels is None and evaluation.losses is not None and "labels" in columns:
            raise ValueError(
                f"{type(self).__name__} needs labels, and this Evaluation has losses only: give it labels, or look for "
                "high losses with Spotlight."
            )
        evaluation.require(*columns, by=type(self).__name__)

    def _slice(self, evaluation: Evaluation, **facts: Any) -> Slice:
        """A Slice of `evaluation` that remembers which rows chose it."""
        return Slice.of(evaluation, seen={self.space_: self.seen_rows_}, uses_outcome=self.uses_outcome, **facts)


def _whole_or_not_at_all(fit: Callable[..., Any]) -> Callable[..., Any]:
    """A fit that forgets what an earlier one learned, and leaves nothing behind when it is stopped half-way.

    Otherwise old slices could stand beside new `seen_rows_`, and be judged on the very rows that chose them.
    """

    @wraps(fit)
    def fitted(self: SliceFinder, *args: Any, **kwargs: Any) -> Any:
        if "_is_fitting" in vars(self):  # a subclass calls the fit above it
            return fit(self, *args, **kwargs)
        kept = {*self.get_params(deep=False), "_metadata_request"}

        def forget() -> None:
            for name in vars(self).keys() - kept:
                delattr(self, name)

        forget()
        self._is_fitting = True
        try:
            fitted = fit(self, *args, **kwargs)
        except BaseException:
            forget()
            raise
        del self._is_fitting
        return fitted

    return fitted


def _shortened(names: list[str] | None) -> str:
    names = names or []
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _lift(one: Slice, evaluation: Evaluation) -> float:
    scope, member, errors = scope_mask(one.scope, evaluation), one.is_member, evaluation.errors
    if not member.any() or not errors[scope].any():
        return 1.0
    return float(errors[member].mean() / errors[scope].mean())


def status_of(errors: np.ndarray, fewest: int, searched: str = "fitted") -> str:
    """What `status_` says of a group with these errors, bool (n,): that it is searched, or why not."""
    if len(errors) == 0:
        return "empty"
    if errors.sum() < fewest:
        return "too_few_errors"
    return "too_few_correct" if (~errors).sum() < fewest else searched


_MOST_COPIES = 5  # of one row, on average, that pass for copies, and in small data of any row


def canonical_order(embeddings: np.ndarray, hashes: np.ndarray, *outcomes: np.ndarray) -> np.ndarray:
    """Row numbers in an order that depends on the content of the rows, not on their place.

    Fits that shuffle or sum start from this order, so that permuting an Evaluation changes nothing. Rows
    stand by their place along one fixed axis: where another machine rounds their last digits otherwise,
    neighbours may change places, and `random_state` still means the same folds but for those. Rows of
    equal content are told apart by their outcomes; rows equal in both are interchangeable.

    Parameters
    ----------
    embeddings : array (n, d)
    hashes : uint64 array (n,)
        Of the content of the rows, for those that share a place.
    *outcomes : arrays (n,)
        Columns that the fit reads beside the embeddings.

    Returns
    -------
    int array (n,)
    """
    axis = np.random.default_rng(0x0BDE).normal(size=embeddings.shape[1])
    places = np.empty(len(embeddings))
    for start, block in row_chunks(embeddings):
        places[start : start + len(block)] = (block * axis).sum(axis=1)
    return np.lexsort((*outcomes, hashes, places))


def dealt(shuffled: np.ndarray, contents: np.ndarray, n_parts: int) -> np.ndarray:
    """Deal rows out to parts of nearly equal size.

    Copies go to one part: in another they would be judged by a search that has seen them. Where so many rows are
    alike that it is their nature (discrete tables), and where one content would fill much of a part (blank pictures),
    each is dealt out by itself.

    Parameters
    ----------
    shuffled : int array (n,)
        Row numbers in the order in which they are dealt, one to each part in turn.
    contents : array (n,)
        Equal for copies.
    n_parts : int

    Returns
    -------
    int64 (n,)
    """
    n = len(shuffled)
    parts = np.empty(n, dtype=np.int64)
    distinct, copy_of, counts = np.unique(contents[shuffled], return_inverse=True, return_counts=True)
    is_alone = (counts == 1) | (counts > max(_MOST_COPIES, n / (4 * n_parts)))
    if len(distinct) * _MOST_COPIES < n or is_alone.all():
        parts[shuffled] = np.arange(n) % n_parts
        return parts
    sizes, home = np.zeros(n_parts, dtype=np.int64), np.full(len(distinct), -1)
    for row, content in zip(shuffled.tolist(), copy_of.tolist(), strict=True):
        if is_alone[content] or home[content] < 0:
            smallest = int(sizes.argmin())
            sizes[smallest] += 1 if is_alone[content] else counts[content]
            if not is_alone[content]:
                home[content] = smallest
        parts[row] = smallest if is_alone[content] else home[content]
    return parts
