"""How many members of a slice are wrong, and how many of the rest of its scope: what every verdict is made of."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from failviz import _statistics
from failviz.evaluation import Evaluation
from failviz.slices import Slice, scope_mask
from failviz.verdicts import Verdict

GAP_WORTH_FINDING = 0.10
"""A slice is too small to decide when it would not show this much above the rest of its scope."""

NEEDS_AT_MOST = 10_000
"""Above this many more members, "needs about N more" would be no advice."""

OWN_LAYER = "found in the model's own layer, where it may be no more than a pair of classes the model mixes up"
UNWEIGHTED = "the weights of the examples are not used, each counts once"


@dataclass(frozen=True)
class Counts:
    """Counts of a slice and of its scope, per stratum (s,), over the examples `judged`, bool (n,)."""

    slice: Slice
    judged: np.ndarray
    n_in: np.ndarray
    errors_in: np.ndarray
    n: np.ndarray
    errors: np.ndarray
    cautions: tuple[str, ...]
    fold_p: tuple[float, ...] | None = None
    """p-values of parts of the data, each judged by another search."""

    def p_value(self) -> float:
        if self.fold_p is not None:
            # Twice the mean of p-values is one, however they depend on each other (Rueschendorf 1982; Vovk & Wang
            # 2020, arXiv 1212.4966): the search that judges one part has seen the errors of the others.
            return min(1.0, 2 * float(np.mean(self.fold_p)))
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
        if not gap > 0 or self.fold_p is not None:
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


def counted(
    one: Slice,
    evaluation: Evaluation,
    judged: np.ndarray | None = None,
    cautions: Iterable[str] = (),
    *,
    is_member: np.ndarray | None = None,
    fold_p: tuple[float, ...] | None = None,
) -> Counts:
    """Counts over the rows `judged` (n,), default all; members are the slice's own unless given."""
    evaluation.require("labels", "predictions", by="judging a slice")
    assert evaluation.labels is not None
    if judged is None:
        judged = np.ones(evaluation.n_examples, dtype=bool)
    scope = scope_mask(one.scope, evaluation) & judged
    # Within one label the error rate is one number; across labels each is a stratum of its own.
    stratum = evaluation.labels if one.scope == "all" else np.zeros(evaluation.n_examples, dtype=np.int64)
    width = int(stratum.max()) + 1

    def count(mask: np.ndarray) -> np.ndarray:
        return np.bincount(stratum[mask], minlength=width)

    member = scope & (one.is_member if is_member is None else is_member)
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
    return Counts(
        slice=one,
        judged=judged,
        n_in=n_in,
        errors_in=count(member & evaluation.errors),
        n=n,
        errors=count(scope & evaluation.errors),
        cautions=tuple(notes),
        fold_p=fold_p,
    )
