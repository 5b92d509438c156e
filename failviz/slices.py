"""A slice: a subpopulation of one Evaluation, soft or hard, whichever method found it.

The same object stands for a failure direction, a spotlight, a tree leaf, a mixture component
and a hand-drawn lasso, so that everything downstream (tests, pictures, remedies) is written once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from failviz import _checks, _fingerprints

if TYPE_CHECKING:
    from failviz.evaluation import Evaluation

Scope: TypeAlias = str | tuple[str, int]
"""The group in which a slice is defined: ("label", c), ("prediction", c) or "all"."""

DRAWN = "drawn by hand"


def scope_mask(scope: Scope, evaluation: Evaluation) -> np.ndarray:
    """Boolean (n,): the examples of `evaluation` that lie in `scope`."""
    if scope == "all":
        return np.ones(evaluation.n_examples, dtype=bool)
    if isinstance(scope, str):
        raise ValueError(f'scope must be "all", ("label", c) or ("prediction", c), not {scope!r}.')
    kind, class_number = scope
    column = {"label": evaluation.labels, "prediction": evaluation.predictions}.get(kind)
    if column is None:
        raise ValueError(f"scope {scope!r} needs {kind}s, and this Evaluation has none.")
    return column == class_number


def scope_named(scope: tuple[str, int | str] | str, evaluation: Evaluation) -> Scope:
    """The same scope with the number of the class that it names; JSON's list for a pair will do."""
    if isinstance(scope, str) and scope == "all":
        return scope
    if not isinstance(scope, tuple | list) or len(scope) != 2 or scope[0] not in ("label", "prediction"):
        raise ValueError(f'scope must be "all", ("label", class) or ("prediction", class), not {scope!r}.')
    kind, one = scope
    if not isinstance(one, str):
        return kind, _checks.whole_number(one, "the class of a scope", least=0)
    names = [evaluation.class_name(number) for number in range(evaluation.n_classes)]
    if one not in names:
        raise ValueError(f"there is no class {one!r} in this Evaluation, only {', '.join(map(repr, names))}.")
    return kind, names.index(one)


@dataclass(frozen=True, eq=False, repr=False)
class Slice:
    """A named subpopulation of one Evaluation.

    Build one with `Slice.of(evaluation, ...)` or `Slice.drawn(evaluation, ids)`; combine two of the
    same Evaluation with `&`, `|`, `-` and `~`. A combination from which the outcome could be read off
    (of a predicted class with a label, or with another scope) says so in `uses_outcome`.

    Attributes
    ----------
    ids : str array (n,)
        The examples of the Evaluation, in its order.
    scores : float64 array (n,)
        Larger = more typical of this failure mode; -inf outside the scope.
    weights : float64 array (n,)
        Soft membership in [0, 1]; 0 outside the scope.
    scope : ("label", c), ("prediction", c) or "all"
        The group in which the slice is defined and against which it is tested.
    name, method : str
        What a person calls it; what found it.
    direction : array (d,) or None
        Points toward failure in the finder's own coordinates.
    rule, caption : str or None
        The slice in words: a predicate, a sentence.
    stats : dict
        Facts from the data the finder was fitted on: in-sample unless a key says otherwise.
    evaluation_hash : str
        `Evaluation.hash` of the data it belongs to.
    seen : dict of {space name: uint64 array (m, 3)}
        `Evaluation.row_fingerprints` of the data that chose it; `verify` refuses to judge it there.
    is_drawn, uses_outcome : bool
        Drawn by a person, or membership reads the outcome: shown, never confirmed.
    reads : frozenset of {"label", "prediction"}
        Columns that membership depends on through the scopes of the slices it was combined from.
    """

    ids: np.ndarray
    scores: np.ndarray
    weights: np.ndarray
    scope: Scope
    name: str
    method: str
    evaluation_hash: str
    direction: np.ndarray | None = None
    rule: str | None = None
    caption: str | None = None
    stats: Mapping[str, Any] = field(default_factory=dict)
    seen: Mapping[str, np.ndarray] = field(default_factory=dict)
    is_drawn: bool = False
    uses_outcome: bool = False
    reads: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        evaluation: Evaluation,
        *,
        scores: np.ndarray,
        weights: np.ndarray,
        scope: tuple[str, int | str] | str,
        name: str,
        method: str,
        **facts: Any,
    ) -> Slice:
        """A slice of `evaluation`; scores and weights outside the scope become -inf and 0.

        A scope may name its class: ("label", "sneaker").

        Raises
        ------
        ValueError
            When shapes do not fit, a scope names no class, a weight leaves [0, 1], a score in scope is NaN or inf, or
            -inf beside a weight. A class by number that nothing here belongs to is an empty scope.
        """
        n = evaluation.n_examples
        scope = scope_named(scope, evaluation)
        inside = scope_mask(scope, evaluation)
        checked: dict[str, Any] = {}
        for column, values, outside in (("scores", scores, -np.inf), ("weights", weights, 0.0)):
            values = np.asarray(_checks.unhidden(values, f"slice {column}"), dtype=np.float64)
            if values.shape != (n,):
                raise ValueError(f"slice {column} must have shape ({n},), one per example, not {values.shape}.")
            values = np.where(inside, values, outside)
            for words, is_bad in (("NaN", np.isnan(values)), ("inf", values == np.inf)):
                if is_bad.any():
                    raise ValueError(f"slice {column} row {int(np.flatnonzero(is_bad)[0])} is {words}.")
            values.setflags(write=False)
            checked[column] = values
        if ((checked["weights"] < 0) | (checked["weights"] > 1)).any():
            raise ValueError("slice weights must lie between 0 and 1.")
        astray = np.flatnonzero((checked["weights"] > 0) & (checked["scores"] == -np.inf))
        if len(astray):
            raise ValueError(f"slice row {int(astray[0])} has a weight above 0 and the score -inf: give it a score.")
        for space, rows in facts.get("seen", {}).items():
            if rows.ndim != 2 or rows.shape[1] != 3:
                raise ValueError(f"slice seen[{space!r}] must be row_fingerprints of shape (m, 3), not {rows.shape}.")
        return cls(
            ids=evaluation.ids,
            scope=scope,
            name=name,
            method=method,
            evaluation_hash=evaluation.hash,
            reads=frozenset() if isinstance(scope, str) else frozenset({scope[0]}),
            **checked,
            **facts,
        )

    @classmethod
    def drawn(cls, evaluation: Evaluation, ids: Iterable[str], name: str = "drawn slice", **facts: Any) -> Slice:
        """A slice made of chosen examples, as a lasso makes it: by their ids (unknown ones are refused) or a mask."""
        member = np.zeros(evaluation.n_examples)
        is_mask = isinstance(ids, np.ndarray) and ids.dtype == bool
        member[_checks.rows(ids, evaluation.n_examples) if is_mask else evaluation.rows_of(ids)] = 1.0
        return cls.of(
            evaluation, scores=member, weights=member, scope="all", name=name, method=DRAWN, is_drawn=True, **facts
        )

    def extend(
        self,
        evaluation: Evaluation,
        to: Evaluation,
        *,
        scope: tuple[str, int | str] | str | None = None,
        space: str | None = None,
    ) -> Slice:
        """Carry this slice to other examples, where `verify` may judge it.

        What was drawn by hand while looking at errors proves nothing on the examples looked at. Membership is learnt
        there, from the embeddings alone, and applied to examples that nobody has looked at.

        Parameters
        ----------
        evaluation : Evaluation
            That of this slice, with 5 members and 5 others in its scope at least.
        to : Evaluation
            Other examples, in the same space.
        scope : "all", ("label", class) or ("prediction", class), optional
            The examples among which membership is learnt, told and judged; default the slice's own. Where a drawn
            slice is of one class, say so: the space need not tell its class then.
        space : str, optional
            In which members are told from others; default the first.

        Returns
        -------
        Slice
            Of `to`, under the same name. `direction` (d,) points into the slice. `stats["agreement"]` is Cohen's kappa
            of being a member and of being told for one, by embeddings that the classifier had not seen: 1 at best, near
            0 where this space does not show what was drawn, NaN where members (or the others) are copies of fewer
            than 5.

        Raises
        ------
        ValueError, TypeError
            When the slice belongs to another Evaluation, the space is missing or of another width, or there are too
            few members or others.

        Examples
        --------
        >>> import numpy as np
        >>> from failviz.evaluation import Evaluation
        >>> rows = np.random.default_rng(0).normal(size=(200, 3))
        >>> rows[::10] += 4
        >>> seen, fresh = Evaluation(rows).split(0.5, random_state=0)
        >>> drawn = Slice.drawn(seen, seen.ids[seen.space()[:, 0] > 2], "far out")
        >>> one = drawn.extend(seen, fresh)
        >>> one.is_drawn, bool(one.is_member[fresh.space().sum(axis=1) > 9].all())
        (False, True)
        """
        from failviz._extension import extended
        from failviz.evaluation import Evaluation

        if not isinstance(evaluation, Evaluation) or not isinstance(to, Evaluation):
            raise TypeError("extend takes the Evaluation of the slice, and the one to carry it to.")
        return extended(self, evaluation, to, self.scope if scope is None else scope_named(scope, evaluation), space)

    @property
    def is_member(self) -> np.ndarray:
        """Boolean (n,): weight at least one half."""
        return self.weights >= 0.5

    @property
    def in_scope(self) -> np.ndarray:
        """Boolean (n,): rows with a score."""
        return self.scores > -np.inf

    @property
    def members(self) -> np.ndarray:
        """Ids of the members, in the order of the Evaluation."""
        return self.ids[self.is_member]

    def __len__(self) -> int:
        return int(self.is_member.sum())

    def __bool__(self) -> bool:
        return True  # an empty slice is still a slice

    def renamed(self, name: str) -> Slice:
        """The same slice under another name."""
        return replace(self, name=name)

    def jaccard(self, other: Slice) -> float:
        """Members in common over members in either, in [0, 1]; two empty slices give 1."""
        self._require_same(other)
        both, either = self.is_member & other.is_member, self.is_member | other.is_member
        return float(both.sum() / either.sum()) if either.any() else 1.0

    def __and__(self, other: Slice) -> Slice:
        """Members of both: the smaller weight and the smaller score of the two."""
        return self._combined(other, "and", np.minimum)

    def __or__(self, other: Slice) -> Slice:
        """Members of either: the larger weight and the larger score of the two.

        Over two different scopes the union is defined over all classes; rows in neither scope
        belong to it with weight 0 and score one less than any row that has a score.
        """
        return self._combined(other, "or", np.maximum)

    def __sub__(self, other: Slice) -> Slice:
        """Members of this slice that are not members of the other."""
        self._require_same(other)
        weights = np.minimum(self.weights, _rest(other.weights))
        scores = np.where(
            self.in_scope, np.minimum(self.scores, np.where(other.in_scope, -other.scores, np.inf)), -np.inf
        )
        return self._derived(other, "without", self.scope, scores, weights)

    def __invert__(self) -> Slice:
        """The rest of the scope."""
        weights = np.where(self.in_scope, _rest(self.weights), 0.0)
        scores = np.where(self.in_scope, -self.scores, -np.inf)
        forgotten: dict[str, Any] = {"direction": None, "rule": None, "caption": None, "stats": {}}
        return replace(self, scores=scores, weights=weights, name=f"not {self.name}", **forgotten)

    def _require_same(self, other: Slice) -> None:
        if not isinstance(other, Slice):
            raise TypeError(f"a Slice combines with another Slice, not with {type(other).__name__}.")
        if self.evaluation_hash != other.evaluation_hash:
            raise ValueError(
                f"{self.name!r} and {other.name!r} belong to different Evaluations and cannot be combined."
            )

    def _combined(self, other: Slice, word: str, extreme: np.ufunc) -> Slice:
        self._require_same(other)
        if self.scope == other.scope:
            scope = self.scope
        elif extreme is np.minimum and "all" in (self.scope, other.scope):
            scope = other.scope if self.scope == "all" else self.scope
        else:
            scope = "all"
        return self._derived(
            other, word, scope, extreme(self.scores, other.scores), extreme(self.weights, other.weights)
        )

    def _derived(self, other: Slice, word: str, scope: Scope, scores: np.ndarray, weights: np.ndarray) -> Slice:
        seen = dict(self.seen)
        for space, rows in other.seen.items():
            seen[space] = _fingerprints.together(seen[space], rows) if space in seen else rows
        if scope == "all" and not (scores > -np.inf).all():
            known = scores[scores > -np.inf]
            scores = np.maximum(scores, known.min() - 1 if len(known) else 0.0)
        # Label and prediction together are the outcome, and a test outside one predicted class holds the label fixed.
        reads = self.reads | other.reads
        tells = "prediction" in reads and ("label" in reads or isinstance(scope, str))
        return Slice(
            ids=self.ids,
            scores=scores,
            weights=weights,
            scope=scope,
            name=f"{self.name} {word} {other.name}",
            method=self.method if self.method == other.method else f"{self.method} {word} {other.method}",
            evaluation_hash=self.evaluation_hash,
            seen=seen,
            is_drawn=self.is_drawn or other.is_drawn,
            uses_outcome=self.uses_outcome or other.uses_outcome or tells,
            reads=reads,
        )

    def __repr__(self) -> str:
        return f"Slice({self.name!r}, {len(self):,} of {int(self.in_scope.sum()):,} examples, {self.method})"


def _rest(weights: np.ndarray) -> np.ndarray:
    """What is left of each to 1, and never a member where the weight is that of one."""
    return np.where(weights == 0.5, np.nextafter(0.5, 0.0), 1.0 - weights)
