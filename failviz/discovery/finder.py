"""FailureFinder: what several methods propose, judged where they did not look, until nothing is left."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from failviz import _checks
from failviz._fingerprints import content_hashes
from failviz._parallel import parallel_map
from failviz.discovery.base import SliceFinder, canonical_order, dealt, status_of
from failviz.discovery.borders import Bordered, drawn
from failviz.discovery.candidates import MAX_CATEGORIES, Candidate, placed, propose, svm_divisions, view_of
from failviz.discovery.choosing import Choice, listed, select
from failviz.discovery.cross_fit import SHARES, Judged, Placed, judge
from failviz.discovery.predicates import Column, why_unusable
from failviz.evaluation import Evaluation
from failviz.slices import Scope, Slice, scope_mask

METHOD = "failure finder"
N_PARTS = 3
ENOUGH = 8
"""Errors, and correct examples, from which all methods search a class: every two thirds then hold some five."""


class FailureFinder(SliceFinder):
    """Find where the model fails, by several methods at once, and stop where there is nothing more.

    Within each class, and over all of them, failure directions (one to four of an SVM, up to three where a search shows
    it fewer than 600 errors; one to four discriminants), trees and metadata rules propose where failures might lie;
    over all, spotlights and an error mixture do too. From what they propose hidden groups are grown: clouds of examples
    that are wrong more often, whether or not each of them is (`hidden_groups.py`). Every candidate is looked for again
    without each third of the data and judged on that third. They are then taken one by one: the worth of a candidate is
    how sure and how bad it is, among examples that those taken before do not explain, and less in a class of which much
    is shown. Where a direction is taken that aims at a hidden group which every search draws alike, the slice has the
    members of the group, ranked by the direction. Where the next would not pass a test at the false-discovery rate `q`,
    the list ends. It may be empty. **Larger score = more likely to fail.**

    Parameters
    ----------
    q : float, default 0.1
        The list ends where a share of about `q` of it would be chance, in (0, 1]; with 1 it does not, and whatever has
        errors in excess is ranked, up to `max_slices`. It is no verdict: the same data have chosen the list. Ask
        `verify`. (Of 100 worlds without any failure 8 still had a list, and `verify` confirmed nothing in any.)
    max_slices : int, default 20
    columns : list of str or None
        Metadata columns to make rules of; None = all that are usable. Leave out what is made of the predictions or
        the outcome: a rule over it explains every error and says nothing.
    space : str or None
        Embedding space; None = the first.
    random_state : int, RandomState or None
        Of the thirds and of the methods.
    progress : bool, default True
        Show a bar when the fit takes long.

    Attributes
    ----------
    candidates_ : list of Candidate
        Behind each slice, in order: what ranks it. Columns of `decision_function` and `slices` follow it.
    borders_ : list of Candidate or None
        Per slice the hidden group whose members it has; None = the candidate's own, or a cut.
    p_values_ : float64 (k,)
        Cross-fitted and doubled (searches overlap), given the slices before it in its list (within classes, or over all
        of them). Too small, as the smallest of many: they end the list, and prove nothing.
    n_candidates_ : int
        How many were judged.
    status_ : list of str
        Per class "searched", "one_direction" (fewer than 8 errors, or correct examples: only one direction is
        proposed), "too_few_errors", "too_few_correct" (none) or "empty".
    classes_ : int64 (n_classes,)

    Notes
    -----
    Our own method; its parts are those of Jain et al. 2022, Singla et al. 2021, Sagadeeva & Boehm 2021, d'Eon et al.
    2021 and Eyuboglu et al. 2022. Slices over all classes are chosen apart from those within a class, and take
    every fourth place, or the last where their failures are mostly shown by then: the one kind needs no labels to
    be applied, and where labels are wrong it finds the whole group, of which the other finds the wrongly labelled.
    The same members are listed once: two candidates of one scope are one where their members have a Jaccard index
    above 0.8, or the tenths that rank highest one above 0.5. Nothing is listed of which fewer than 8 members are found
    again.

    A direction for which no hidden group draws the border is cut to the size at which cross-fitted errors change most,
    where searches that had not seen the examples had to be cut for that size. (In many dimensions a direction scores
    what it was fitted on otherwise than new examples: more of the fit than of these may lie beyond the cut, or fewer.)
    What is found again only without some of the thirds is counted, and tested, in these alone. Metadata are used where
    there are any, and losses where none is negative. A search looks at 20,000 examples of a class, or of all, at most,
    that of an SVM at 5,000, and then at more of the errors than their share where these are rare. `weights` of the
    Evaluation are not used.

    Examples
    --------
    >>> import numpy as np
    >>> from failviz.evaluation import Evaluation
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(600, 8))
    >>> hard = np.arange(600) < 90
    >>> x[hard] += 2
    >>> wrong = rng.random(600) < np.where(hard, 0.6, 0.05)
    >>> ev = Evaluation(x, labels=np.zeros(600, int), predictions=wrong.astype(int), class_names=["boot", "sandal"])
    >>> one = FailureFinder(random_state=0).fit(ev).slices(ev)[0]
    >>> one.name, bool(hard[one.is_member].mean() > 0.9)
    ('boot: hardest', True)
    """

    requires = ("labels", "predictions")

    def __init__(
        self,
        q: float = 0.1,
        max_slices: int = 20,
        *,
        columns: Sequence[str] | None = None,
        space: str | None = None,
        random_state: Any = None,
        progress: bool = True,
    ):
        self.q = q
        self.max_slices = max_slices
        self.columns = columns
        self.space = space
        self.random_state = random_state
        self.progress = progress

    @property
    def requires_to_apply(self) -> tuple[str, ...]:  # type: ignore[override]  # what was found decides
        found = vars(self).get("candidates_", [])
        needs_labels = any(one.scope != "all" for one in found)
        needs_metadata = any(one.method == "metadata rule" for one in found)
        return ("labels",) * needs_labels + ("metadata",) * needs_metadata

    def fit(self, evaluation: Evaluation) -> FailureFinder:
        """Search an Evaluation with labels and predictions (or probs), not the model's training data."""
        if isinstance(self.q, bool) or not (isinstance(self.q, int | float | np.number) and 0 < self.q <= 1):
            raise ValueError(f"q must lie above 0 and be at most 1, not {self.q!r}.")
        _checks.whole_number(self.max_slices, "max_slices", least=1)
        hashes = self._start_fit(evaluation)
        order = canonical_order(evaluation.space(self.space_), hashes, *_outcomes(evaluation))
        evaluation = _searched(evaluation, self.space_, _usable(evaluation, self.columns), order)
        labels, errors = evaluation.labels, evaluation.errors
        assert labels is not None
        rng = check_random_state(self.random_state)
        folds = _parts(2 * labels + errors, hashes[order], rng)
        self.classes_ = np.arange(evaluation.n_classes)
        self.status_ = [_status(errors[labels == c]) for c in self.classes_]
        searched = [c for c in self.classes_ if self.status_[c] in ("searched", "one_direction")]
        scopes: list[Scope] = ["all", *(("label", int(c)) for c in searched)]
        seeds = rng.randint(2**31 - 1, size=len(scopes))
        rows = {scope: np.flatnonzero(scope_mask(scope, evaluation)) for scope in scopes}
        divisions = {scope: _divisions(errors[rows[scope]]) for scope in scopes}
        pieces = [
            (evaluation, rows[scope][folds[rows[scope]] != part], scope, self.space_, int(seed), divisions[scope])
            for part in (None, *range(N_PARTS))
            for scope, seed in zip(scopes, seeds, strict=True)
        ]
        found = parallel_map(propose, pieces, desc=METHOD, progress=self.progress)
        candidates: list[Candidate] = []
        judged: list[Judged] = []
        for number, scope in enumerate(scopes):
            whole, *again = found[number :: len(scopes)]
            candidates += whole
            judged += self._judge(evaluation, rows[scope], scope, whole, again, folds)
        self._store(candidates, judged, evaluation)
        return self

    def decision_function(self, evaluation: Evaluation) -> np.ndarray:
        """float64 (n, k), one column per slice: larger = deeper in it, -inf for examples of other classes."""
        return self._applied(evaluation)[0]

    def slices(self, evaluation: Evaluation) -> list[Slice]:
        """One Slice per candidate taken, in order.

        `stats` are facts of the fit. Rates are cross-fitted, so not in-sample, and yet too high: those of the best of
        many candidates. A direction is that of its own method, named by `stats["found_by"]`: of a hidden group in the
        coordinates of the embeddings, of a failure direction among whitened unit rows.
        """
        scores, weights = self._applied(evaluation)
        names = self._names(evaluation)
        return [
            self._slice(
                evaluation,
                scores=scores[:, j],
                weights=weights[:, j],
                scope=one.scope,
                name=names[j],
                method=f"{METHOD} ({one.method})",
                rule=one.rule,
                direction=one.direction,
                stats=self._stats[j],
            )
            for j, one in enumerate(self.candidates_)
        ]

    def _judge(
        self,
        evaluation: Evaluation,
        rows: np.ndarray,
        scope: Scope,
        whole: list[Candidate],
        again: list[list[Candidate]],
        folds: np.ndarray,
    ) -> list[Judged]:
        view = view_of(evaluation, rows, self.space_)

        def places(those: list[Candidate]) -> list[Placed]:
            found = zip(those, placed(those, view, self.space_), strict=True)
            return [
                Placed(one.method, s, weights >= 0.5 if one.has_border else None, one.is_group)
                for one, (s, weights) in found
            ]

        assert evaluation.labels is not None
        again_placed = [places(others) for others in again]
        return judge(scope, rows, places(whole), again_placed, folds[rows], evaluation.errors, evaluation.labels)

    def _store(self, candidates: list[Candidate], judged: list[Judged], evaluation: Evaluation) -> None:
        labels = evaluation.labels
        assert labels is not None
        self.n_candidates_ = len(judged)
        tested = [one for one in judged if evaluation.errors[one.rows].sum() > 1]  # one alone is never found again
        n_tests = max(1, sum(1 if one.cut is None else len(SHARES) for one in tested))  # sizes to choose from

        def taken(*, spans_classes: bool) -> list[Choice]:
            numbers = [j for j, one in enumerate(judged) if (one.scope == "all") == spans_classes]
            those = [judged[j] for j in numbers]
            choices = select(those, evaluation.errors, labels, q=self.q, most=self.max_slices, n_tests=n_tests)
            return [one.among(numbers) for one in choices]

        both = taken(spans_classes=False), taken(spans_classes=True)
        chosen = listed(*both, judged, evaluation.errors)[: self.max_slices]
        self.candidates_ = [candidates[one.number] for one in chosen]
        self.borders_ = [None if one.border is None else candidates[one.border] for one in chosen]
        self.p_values_ = np.array([one.p for one in chosen], dtype=np.float64)
        where = [judged[one.number] for one in chosen]
        scopes = {place.scope: place.rows for place, one in zip(where, chosen, strict=True) if one.border is not None}
        views = {scope: view_of(evaluation, rows, self.space_) for scope, rows in scopes.items()}
        self._bordered = [
            Bordered(one, cut=place.cut) if group is None else Bordered.of(one, group, views[place.scope], self.space_)
            for one, group, place in zip(self.candidates_, self.borders_, where, strict=True)
        ]
        self._stats = [_facts(*those) for those in zip(self.candidates_, self.borders_, chosen, strict=True)]

    def _applied(self, evaluation: Evaluation) -> tuple[np.ndarray, np.ndarray]:
        """Scores and weights, float64 (n, k)."""
        self._embeddings(evaluation)
        scores = np.full((evaluation.n_examples, len(self.candidates_)), -np.inf)
        weights = np.zeros(scores.shape)
        for scope in dict.fromkeys(one.scope for one in self.candidates_):
            rows = np.flatnonzero(scope_mask(scope, evaluation))
            if len(rows) == 0:
                continue
            numbers = [j for j, one in enumerate(self.candidates_) if one.scope == scope]
            found = drawn([self._bordered[j] for j in numbers], view_of(evaluation, rows, self.space_), self.space_)
            for j, place in zip(numbers, found, strict=True):
                scores[rows, j], weights[rows, j] = place
        return scores, weights

    def _names(self, evaluation: Evaluation) -> list[str]:
        names: list[str] = []
        for one in self.candidates_:
            group = "all classes" if one.scope == "all" else evaluation.class_name(int(one.scope[1]))
            name = f"{group}: {one.name or 'hardest'}"
            numbered = (f"{name}, {number}" for number in count(2))
            names.append(name if name not in names else next(other for other in numbered if other not in names))
        return names


def _fewest(errors: np.ndarray) -> int:
    return int(min(errors.sum(), (~errors).sum()))


def _divisions(is_error: np.ndarray) -> int:
    """Into how many groups all searches of a scope divide its errors at most; 1 = only one direction is proposed."""
    return 1 if _fewest(is_error) < ENOUGH else svm_divisions(is_error, 1 - 1 / N_PARTS)


def _status(errors: np.ndarray) -> str:
    return status_of(errors, 1, "one_direction" if _fewest(errors) < ENOUGH else "searched")


def _outcomes(evaluation: Evaluation) -> list[np.ndarray]:
    """What the searches read beside embeddings, to tell rows of the same embedding apart."""
    import pandas as pd

    columns = [evaluation.labels, evaluation.predictions, evaluation.losses]
    if evaluation.probs is not None:
        columns.append(content_hashes(evaluation.probs))
    if evaluation.metadata is not None and len(evaluation.metadata.columns):
        columns.append(pd.util.hash_pandas_object(evaluation.metadata.astype(str), index=False).to_numpy())
    return [column for column in columns if column is not None]


def _parts(strata: np.ndarray, contents: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """int64 (n,): parts of nearly equal size, alike in their strata, copies together."""
    shuffled = np.concatenate([rng.permutation(np.flatnonzero(strata == s)) for s in np.unique(strata)])
    return dealt(shuffled, contents, N_PARTS)


def _searched(evaluation: Evaluation, space: str, columns: list[str], order: np.ndarray) -> Evaluation:
    """What a search reads, in this order, and nothing that workers would carry along for nothing, such as pictures."""

    def ordered(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else values[order]

    metadata = None if evaluation.metadata is None or not columns else evaluation.metadata[columns].iloc[order]
    return Evaluation(
        {space: evaluation.space(space)[order]},
        labels=ordered(evaluation.labels),
        predictions=ordered(evaluation.predictions),
        probs=ordered(evaluation.probs),
        losses=ordered(evaluation.losses),
        metadata=metadata,
        class_names=evaluation.class_names,
        feature_names=evaluation.feature_names(space),
    )


def _usable(evaluation: Evaluation, columns: Sequence[str] | None) -> list[str]:
    """The metadata columns that rules may use; None = all."""
    metadata: Any = {} if evaluation.metadata is None else evaluation.metadata
    known = list(metadata)
    if columns is None:
        return known
    names = list(_checks.unique_names(columns, "columns"))
    for name in names:
        if name not in known:
            raise ValueError(
                f"columns names {name!r}, and the metadata columns are {', '.join(map(repr, known)) or 'none'}."
            )
        why = why_unusable(Column.of(metadata[name], name), MAX_CATEGORIES)
        if why is not None:
            raise ValueError(f"columns names what no rule can be made of: {name!r} {why}.")
    return names


def _facts(one: Candidate, border: Candidate | None, choice: Choice) -> dict[str, Any]:
    return {
        "found_by": one.method,
        **({} if border is None else {"border_of": border.method}),
        "cross_fitted_n": choice.n,
        "cross_fitted_errors": choice.n_errors,
        "cross_fitted_error_rate": choice.n_errors / choice.n,
        "cross_fitted_errors_expected": choice.expected,
        "cross_fitted_p": choice.p,
    }
