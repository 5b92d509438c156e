"""What data the finder never saw says about a slice: an exact test, an interval, a plain verdict.

A slice was chosen because it looked bad on the data that chose it, so its error rate there is
too high by construction (winner's curse). `verify` judges it on other data, against the group
in which it is defined, and controls the false-discovery rate over all slices judged together
(Benjamini & Hochberg 1995).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from failviz import _checks, _statistics
from failviz.evaluation import Evaluation
from failviz.slices import Slice, scope_mask
from failviz.verdicts import Verdict, Verdicts

SEEN_LIMIT = 0.01
"""Largest share of rows that the finder may have seen before `verify` refuses."""

OWN_LAYER = "found in the model's own hidden layer, where it may be no more than a pair of classes the model mixes up"


def verify(slices: Any, evaluation: Evaluation, q: float = 0.1) -> Verdicts:
    """Judge slices on data their finder has not seen.

    Of the slices marked confirmed, a share of at most `q` is expected to be chance (exact test
    within the scope, stratified by label for slices over all classes; Benjamini-Hochberg across
    the slices judged together).

    Parameters
    ----------
    slices : fitted finder, Slice, or sequence of either
        A finder's slices are taken on `evaluation`.
    evaluation : Evaluation
        With labels and predictions; other examples than the finder was fitted on.
    q : float
        False-discovery rate, in (0, 1).

    Returns
    -------
    Verdicts
        In the order of the slices. Slices drawn by hand, or whose membership reads the outcome,
        are shown and never confirmed.

    Raises
    ------
    ValueError
        When a slice belongs to another Evaluation, when more than 1% of the rows were seen by
        the finder's fit, or when labels or predictions are missing.
    """
    _checks.fraction(q, "q")
    found = slices_of(slices, evaluation)
    _refuse_seen(found, evaluation)
    measured = [_measure(one, evaluation) for one in found]
    testable = np.array([not (one.is_drawn or one.uses_outcome) for one in found], dtype=bool)
    p = np.array([m.p_value() if test else math.nan for m, test in zip(measured, testable, strict=True)])
    adjusted = _statistics.benjamini_hochberg(p)
    confirmed = np.nan_to_num(adjusted, nan=1.0) <= q
    # An unconfirmed slice would be judged beside those already confirmed: the level BH would hold it to.
    alpha = q * (int(confirmed.sum()) + 1) / max(1, int(testable.sum()))
    return Verdicts(
        m.verdict(
            p=float(p[i]),
            q=float(adjusted[i]),
            confirmed=bool(confirmed[i]),
            needs=m.needs(min(alpha, q)) if testable[i] and not confirmed[i] else None,
        )
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
    """Share of the rows of `evaluation` that the fit behind a slice has seen, in [0, 1]."""
    cache = {} if _cache is None else _cache
    seen = np.zeros(evaluation.n_examples, dtype=bool)
    for space, hashes in one.seen.items():
        key = (space, id(hashes))
        if key not in cache:
            if space not in cache:
                cache[space] = evaluation.row_hashes(space)
            cache[key] = np.isin(cache[space], hashes)
        seen |= cache[key]
    return float(seen.mean())


def _refuse_seen(slices: Sequence[Slice], evaluation: Evaluation) -> None:
    cache: dict[Any, Any] = {}
    for one in slices:
        share = share_seen(one, evaluation, cache)
        if share > SEEN_LIMIT and not one.is_drawn:
            raise ValueError(
                f"{share:.0%} of these examples were used to find {one.name!r}, so they cannot test it: "
                "verify on other examples, for instance the second part of evaluation.split(0.5)."
            )


@dataclass(frozen=True)
class _Counts:
    """Counts of a slice and of its scope, per stratum."""

    slice: Slice
    n_in: np.ndarray
    errors_in: np.ndarray
    n: np.ndarray
    errors: np.ndarray

    def p_value(self) -> float:
        return _statistics.stratified_hypergeometric(self.errors_in, self.n_in, self.errors, self.n)

    @property
    def rest_rate(self) -> float:
        """Error rate outside the slice, weighted to the slice's mix of strata."""
        rest_n, rest_errors = self.n - self.n_in, self.errors - self.errors_in
        if rest_n.sum() == 0:
            return math.nan
        mix = self.n_in if self.n_in.sum() else self.n
        known = rest_n > 0
        if not mix[known].any():
            return float(rest_errors.sum() / rest_n.sum())
        return float(np.average(rest_errors[known] / rest_n[known], weights=mix[known]))

    def needs(self, alpha: float) -> int | None:
        n, rest = int(self.n_in.sum()), int((self.n - self.n_in).sum())
        if n == 0 or math.isnan(self.rest_rate):
            return None
        enough = _statistics.examples_needed(self.errors_in.sum() / n, self.rest_rate, rest / n, alpha)
        return max(1, math.ceil(enough - n)) if math.isfinite(enough) else None

    def verdict(self, **judgement: Any) -> Verdict:
        n, wrong = int(self.n_in.sum()), int(self.errors_in.sum())
        rate, rest = wrong / n if n else math.nan, self.rest_rate
        low, high = _statistics.wilson(wrong, n)
        return Verdict(
            slice=self.slice,
            n=n,
            n_errors=wrong,
            error_rate=rate,
            class_error_rate=rest,
            rest_n=int((self.n - self.n_in).sum()),
            lift=rate / rest if rest > 0 else (math.inf if rate > 0 else math.nan),
            low=low,
            high=high,
            caution=OWN_LAYER if "hidden" in self.slice.seen else "",
            **judgement,
        )


def _measure(one: Slice, evaluation: Evaluation) -> _Counts:
    evaluation.require("labels", "predictions", by="judging a slice")
    assert evaluation.labels is not None
    scope = scope_mask(one.scope, evaluation)
    # Within one label the error rate is one number; across labels each is a stratum of its own.
    stratum = evaluation.labels if one.scope == "all" else np.zeros(evaluation.n_examples, dtype=np.int64)
    width = int(stratum.max()) + 1

    def count(mask: np.ndarray) -> np.ndarray:
        return np.bincount(stratum[mask], minlength=width)

    member = scope & one.is_member
    return _Counts(
        slice=one,
        n_in=count(member),
        errors_in=count(member & evaluation.errors),
        n=count(scope),
        errors=count(scope & evaluation.errors),
    )
