"""The losses of a slice and of the rest of its scope: what a verdict is made of where right and wrong are not known.

Recommenders and regressions have losses and no labels. The question stays the same: is it worse inside than in the rest
of the scope? It is answered by permutation (Fisher 1935; Phipson & Smyth 2010, arXiv 1603.05766, for the p-value):
losses are dealt out anew within the scope, and the mean of the members is compared with what that makes of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from failviz._slice_counts import OWN_LAYER, UNWEIGHTED
from failviz.evaluation import Evaluation
from failviz.slices import Slice, scope_mask
from failviz.verdicts import Verdict

N_PERMUTATIONS = 9_999
_CHUNK_VALUES = 4 << 20


@dataclass(frozen=True, eq=False)
class Losses:
    """A slice within the judged rows of its scope.

    Attributes
    ----------
    slice : Slice
    rows : int64 (m,)
        The scope, as rows of the Evaluation.
    losses : float64 (m,)
    is_member : bool (m,)
    cautions : tuple of str
    """

    slice: Slice
    rows: np.ndarray
    losses: np.ndarray
    is_member: np.ndarray
    cautions: tuple[str, ...]

    @property
    def n_in(self) -> np.ndarray:
        """int64 (1,): members; there is but one stratum."""
        return np.array([self.is_member.sum()])

    def needs(self, alpha: float) -> None:
        """How many more members a test would need is not known without an error rate to expect."""

    def verdict(self, **judgement: Any) -> Verdict:
        inside, rest = self.losses[self.is_member], self.losses[~self.is_member]
        mean = float(inside.mean()) if len(inside) else math.nan
        elsewhere = float(rest.mean()) if len(rest) else math.nan
        either_side = 1.96 * float(inside.std(ddof=1)) / math.sqrt(len(inside)) if len(inside) > 1 else math.nan
        return Verdict(
            slice=self.slice,
            n=len(inside),
            n_errors=0,
            error_rate=math.nan,
            class_error_rate=math.nan,
            rest_n=len(rest),
            lift=mean / elsewhere if elsewhere > 0 else math.nan,
            low=mean - either_side,
            high=mean + either_side,
            caution="; ".join(self.cautions),
            mean_loss=mean,
            rest_mean_loss=elsewhere,
            **judgement,
        )


def losses_of(
    one: Slice, evaluation: Evaluation, judged: np.ndarray | None = None, cautions: Iterable[str] = ()
) -> Losses:
    """Losses over the rows `judged` (n,), default all."""
    evaluation.require("losses", by="judging a slice without labels and predictions")
    assert evaluation.losses is not None
    inside = scope_mask(one.scope, evaluation) & (True if judged is None else judged)
    rows = np.flatnonzero(inside)
    notes = list(cautions)
    if set(one.seen) & set(evaluation.model_spaces):
        notes.append(OWN_LAYER)
    if (evaluation.weights != evaluation.weights[0]).any():
        notes.append(UNWEIGHTED)
    return Losses(one, rows, evaluation.losses[rows], one.is_member[rows], tuple(notes))


def permuted_p(samples: Sequence[Losses], random_state: int) -> np.ndarray:
    """One-sided p of each slice, float64 (k,): the chance of as high a mean loss of as many of its scope.

    Slices of the same rows share permutations. 1 for slices without members or without a rest.
    """
    p = np.ones(len(samples))
    by_rows: dict[bytes, list[int]] = {}
    for j, one in enumerate(samples):
        if 0 < one.is_member.sum() < len(one.rows):
            by_rows.setdefault(one.rows.tobytes(), []).append(j)
    for numbers in by_rows.values():
        losses = samples[numbers[0]].losses - samples[numbers[0]].losses.mean()  # sums of small numbers are exact
        member = np.stack([samples[j].is_member for j in numbers], axis=1).astype(np.float64)
        observed, rng = losses @ member, np.random.default_rng(random_state)
        least = observed - 1e-9 * (np.abs(losses) @ member)
        n_as_high = np.zeros(len(numbers), dtype=np.int64)
        step = max(1, _CHUNK_VALUES // len(losses))
        for start in range(0, N_PERMUTATIONS, step):
            dealt = rng.permuted(np.tile(losses, (min(step, N_PERMUTATIONS - start), 1)), axis=1)
            n_as_high += (dealt @ member >= least).sum(axis=0)
        p[numbers] = (1 + n_as_high) / (1 + N_PERMUTATIONS)
    return p
