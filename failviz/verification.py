"""What data the finder never saw says about a slice: an exact test, an interval, a plain verdict.

A slice was chosen because it looked bad on the data that chose it, so its error rate there is
too high by construction (winner's curse). `verify` judges it on other data, against the group
in which it is defined, and adjusts for the number of slices judged together (Benjamini &
Hochberg 1995; Benjamini & Yekutieli 2001).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from failviz import _checks, _statistics
from failviz._fingerprints import SEEN_LIMIT, recognised
from failviz.evaluation import Evaluation
from failviz.slices import Slice, scope_mask
from failviz.verdicts import Verdict, Verdicts

__all__ = [
    "GAP_WORTH_FINDING",
    "SEEN_LIMIT",
    "UNTOLD",
    "Verdict",
    "Verdicts",
    "measure",
    "share_seen",
    "slices_of",
    "verify",
]

FEWEST = 5
"""Members below which nothing is confirmed, however clear the test."""

GAP_WORTH_FINDING = 0.10
"""A slice is too small to decide when it would not show this much above the rest of its scope."""

NEEDS_AT_MOST = 10_000
"""Above this many more members, "needs about N more" would be no advice."""

OWN_LAYER = "found in the model's own layer, where it may be no more than a pair of classes the model mixes up"
UNTOLD = "rows of this space repeat so often that whether the search saw these examples cannot be told"
UNWEIGHTED = "the weights of the examples are not used, each counts once"


def verify(slices: Any, evaluation: Evaluation, q: float = 0.1, *, method: str = "bh") -> Verdicts:
    """Judge slices on data their finder has not seen.

    Each is tested against the rest of its scope (one-sided exact test, stratified by label for
    slices over all classes), and adjusted for all slices of this call. Of the slices confirmed, a
    share of at most `q` is expected to be chance, under these conditions: the examples are
    independent of the search and of each other, and (for `method="bh"`) the tests are independent
    or rise and fall together. Slices that exclude each other within a class do not quite; `"by"`
    holds whatever the dependence, and confirms fewer. Each call is a family of its own: judging
    many lists one by one, and keeping what is confirmed, is not covered.

    Parameters
    ----------
    slices : fitted finder, Slice, or sequence of either
        A finder's slices are taken on `evaluation`.
    evaluation : Evaluation
        With labels and predictions; other examples than the finder was fitted on. Its weights are
        not used: each row counts once, as a test counts independent examples.
    q : float
        False-discovery rate, in (0, 1).
    method : "bh" or "by"
        Benjamini-Hochberg or Benjamini-Yekutieli.

    Returns
    -------
    Verdicts
        In the order of the slices. Slices drawn by hand, or whose membership reads the outcome,
        are shown and never confirmed.

    Raises
    ------
    ValueError
        When a slice belongs to another Evaluation, when more than 1% of the rows were seen by
        the finder's fit, or when labels or predictions are missing. Where rows repeat by nature
        (discrete tables, natural duplicates), that is 1% beyond twice what chance would make of it.

    Notes
    -----
    One wrong example can pass the test where the rest of a class is right, but is no subpopulation: fewer than 5
    members are never confirmed.

    Rows seen by the fit, up to 1%, are left out of members and scope alike; the caution says how
    many. They are known by the content of their embeddings, up to rounding to float16. This cannot
    see the same example through another encoder, augmented or cropped, nor one that fails to be
    unique among the rows of the fit.
    """
    _checks.fraction(q, "q")
    if method not in ("bh", "by"):
        raise ValueError(f'method must be "bh" (Benjamini-Hochberg) or "by" (Benjamini-Yekutieli), not {method!r}.')
    found = slices_of(slices, evaluation)
    cache: dict[Any, Any] = {}
    measured = [_unseen(one, evaluation, cache) for one in found]
    testable = np.array([not (one.is_drawn or one.uses_outcome) for one in found], dtype=bool)
    p = np.array([m.p_value() if test else math.nan for m, test in zip(measured, testable, strict=True)])
    adjust = _statistics.benjamini_hochberg if method == "bh" else _statistics.benjamini_yekutieli
    adjusted = adjust(p)
    sizes = np.array([int(m.n_in.sum()) for m in measured], dtype=np.int64)
    is_clear = np.nan_to_num(adjusted, nan=1.0) <= q
    confirmed = is_clear & (sizes >= FEWEST)
    # An unconfirmed slice would be judged beside those already confirmed: the level it would be held to.
    n_tests = max(1, int(testable.sum()))
    price = 1.0 if method == "bh" else _statistics.harmonic(n_tests)
    alpha = min(q, q * (int(confirmed.sum()) + 1) / n_tests) / price

    def needs(i: int) -> int | None:
        if not testable[i] or confirmed[i]:
            return None
        return FEWEST - int(sizes[i]) if is_clear[i] else measured[i].needs(alpha)

    return Verdicts(
        m.verdict(p=float(p[i]), q=float(adjusted[i]), confirmed=bool(confirmed[i]), needs=needs(i))
        for i, m in enumerate(measured)
    )


def measure(slices: Any, evaluation: Evaluation) -> Verdicts:
    """Rates of slices on the data that chose them: a description, marked in-sample, never a test."""
    nothing = {"p": math.nan, "q": math.nan, "confirmed": False, "needs": None}
    return Verdicts(
        _measure(one, evaluation).verdict(**nothing, in_sample=True) for one in slices_of(slices, evaluation)
    )


def slices_of(things: Any, evaluation: Evaluation) -> list[Slice]:
    """Slices of `evaluation` from a fitted finder, a Slice, Verdicts, or any sequence of these.

    Raises
    ------
    ValueError
        When a Slice belongs to another Evaluation.
    """
    if isinstance(things, Slice):
        if things.evaluation_hash != evaluation.hash:
            raise ValueError(
                f"slice {things.name!r} belongs to another Evaluation: take its finder's slices on this one, "
                "finder.slices(evaluation)."
            )
        return [things]
    if isinstance(things, Verdict):
        return slices_of(things.slice, evaluation)
    if hasattr(things, "slices") and hasattr(things, "fit"):
        return list(things.slices(evaluation))
    if isinstance(things, str) or not isinstance(things, Iterable):
        raise TypeError(f"expected a fitted finder or slices, not {type(things).__name__}.")
    return [one for thing in things for one in slices_of(thing, evaluation)]


def share_seen(one: Slice, evaluation: Evaluation, _cache: dict[Any, Any] | None = None) -> float:
    """Share of the rows of `evaluation` that the fit behind a slice has seen, beyond chance, in [0, 1]."""
    return max(0.0, _seen(one, evaluation, {} if _cache is None else _cache)[1])


def _seen(one: Slice, evaluation: Evaluation, cache: dict[Any, Any]) -> tuple[np.ndarray, float, bool]:
    """Rows seen by the fit behind a slice (n,), their share beyond chance, and whether every space can tell."""
    is_seen, share, can_tell = np.zeros(evaluation.n_examples, dtype=bool), 0.0, True
    for space, rows in one.seen.items():
        key = (space, id(rows))
        if space not in cache:
            cache[space] = evaluation.row_fingerprints(space)
        if key not in cache:
            cache[key] = recognised(cache[space], rows)
        is_seen = is_seen | cache[key].is_seen
        share = max(share, float(cache[key].is_seen.mean()) - 2 * cache[key].chance)
        can_tell = can_tell and cache[key].can_tell
    return is_seen, share, can_tell


def _unseen(one: Slice, evaluation: Evaluation, cache: dict[Any, Any]) -> _Counts:
    """Counts over the rows that the finder has not seen; refused when it has seen too many."""
    if one.is_drawn:
        return _measure(one, evaluation)
    is_seen, share, can_tell = _seen(one, evaluation, cache)
    if share > SEEN_LIMIT:
        raise ValueError(
            f"{is_seen.mean():.0%} of these examples are identical to examples used to find {one.name!r}, so they "
            "cannot test it: verify on other examples, for instance the second part of evaluation.split(0.5)."
        )
    known = int(is_seen.sum())
    cautions = [] if can_tell else [UNTOLD]
    if known:
        are = "example is" if known == 1 else "examples are"
        cautions.append(f"{known:,} {are} left out, as identical to what the slice was found on")
    return _measure(one, evaluation, ~is_seen, cautions)


@dataclass(frozen=True)
class _Counts:
    """Counts of a slice and of its scope, per stratum."""

    slice: Slice
    n_in: np.ndarray
    errors_in: np.ndarray
    n: np.ndarray
    errors: np.ndarray
    cautions: tuple[str, ...]

    def p_value(self) -> float:
        return _statistics.stratified_hypergeometric(self.errors_in, self.n_in, self.errors, self.n)

    @cached_property
    def has_rest(self) -> np.ndarray:
        """Boolean (s,): strata with examples outside the slice. The others tell the test nothing."""
        return self.n > self.n_in

    @property
    def rest_rates(self) -> np.ndarray:
        """Error rate outside the slice, per stratum that has a rest."""
        return ((self.errors - self.errors_in) / np.maximum(1, self.n - self.n_in))[self.has_rest]

    @property
    def rest_rate(self) -> float:
        """Error rate outside the slice, weighted to the slice's mix of the strata that have a rest."""
        mix = (self.n_in if self.n_in.any() else self.n)[self.has_rest]
        return float(np.average(self.rest_rates, weights=mix)) if mix.any() else math.nan

    @property
    def compared_rate(self) -> float:
        """Error rate of the members that have a rest."""
        n = int(self.n_in[self.has_rest].sum())
        return int(self.errors_in[self.has_rest].sum()) / n if n else math.nan

    @property
    def lift(self) -> float:
        rate, rest = self.compared_rate, self.rest_rate
        if math.isnan(rate) or math.isnan(rest):
            return math.nan
        return rate / rest if rest > 0 else (math.inf if rate > 0 else math.nan)

    def needs(self, alpha: float) -> int | None:
        """Members lacking for 80% power, where the slice is too small to show `GAP_WORTH_FINDING`."""
        gap = self.compared_rate - self.rest_rate
        if not gap > 0:
            return None
        held = self.n_in[self.has_rest] > 0
        rest_rates, n_in = self.rest_rates[held], self.n_in[self.has_rest][held]
        n_rest = self.n[self.has_rest][held] - n_in

        def growth(gap: float) -> float:
            return _statistics.growth_needed(np.minimum(1, rest_rates + gap), rest_rates, n_in, n_rest, alpha)

        if growth(GAP_WORTH_FINDING) <= 1:
            return None
        more = (growth(max(gap, GAP_WORTH_FINDING)) - 1) * int(self.n_in.sum())
        return max(1, math.ceil(more)) if more <= NEEDS_AT_MOST else None

    def verdict(self, **judgement: Any) -> Verdict:
        n, wrong = int(self.n_in.sum()), int(self.errors_in.sum())
        low, high = _statistics.wilson(wrong, n)
        return Verdict(
            slice=self.slice,
            n=n,
            n_errors=wrong,
            error_rate=wrong / n if n else math.nan,
            class_error_rate=self.rest_rate,
            rest_n=int((self.n - self.n_in).sum()),
            lift=self.lift,
            low=low,
            high=high,
            caution="; ".join(self.cautions),
            **judgement,
        )


def _measure(
    one: Slice, evaluation: Evaluation, judged: np.ndarray | None = None, cautions: Iterable[str] = ()
) -> _Counts:
    """Counts over the rows `judged` (n,), default all."""
    evaluation.require("labels", "predictions", by="judging a slice")
    assert evaluation.labels is not None
    scope = scope_mask(one.scope, evaluation)
    if judged is not None:
        scope = scope & judged
    # Within one label the error rate is one number; across labels each is a stratum of its own.
    stratum = evaluation.labels if one.scope == "all" else np.zeros(evaluation.n_examples, dtype=np.int64)
    width = int(stratum.max()) + 1

    def count(mask: np.ndarray) -> np.ndarray:
        return np.bincount(stratum[mask], minlength=width)

    member = scope & one.is_member
    n_in, n = count(member), count(scope)
    alone = int(n_in[n_in == n].sum())
    notes = list(cautions)
    if 0 < alone < n_in.sum():
        are = "member is" if alone == 1 else "members are"
        notes.append(f"{alone:,} {are} compared with nothing, as the slice holds all examples of their class")
    if set(one.seen) & set(evaluation.model_spaces):
        notes.append(OWN_LAYER)
    if (evaluation.weights != evaluation.weights[0]).any():
        notes.append(UNWEIGHTED)
    return _Counts(
        slice=one,
        n_in=n_in,
        errors_in=count(member & evaluation.errors),
        n=n,
        errors=count(scope & evaluation.errors),
        cautions=tuple(notes),
    )
