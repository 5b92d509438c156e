"""The losses of a slice and of the rest of its scope: what a verdict is made of where right and wrong are not known.

Recommenders and regressions have losses and no labels. The question stays the same: is it worse inside than in the rest
of the scope? It is answered by permutation (Fisher 1935; Phipson & Smyth 2010, arXiv 1603.05766, for the p-value):
losses are dealt out anew within the scope (and within labels, where there are any), and the mean of the members is
compared with what that makes of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t

from failviz._progress import progress as progress_bar
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
    strata : int64 (m,)
        Within which losses are compared: labels, for slices over all classes of which there are labels.
    is_member : bool (m,)
    cautions : tuple of str
    """

    slice: Slice
    rows: np.ndarray
    losses: np.ndarray
    strata: np.ndarray
    is_member: np.ndarray
    cautions: tuple[str, ...]

    @property
    def n_in(self) -> np.ndarray:
        """int64 (1,): members."""
        return np.array([self.is_member.sum()])

    @property
    def rest_mean(self) -> float:
        """Mean loss of the rest, weighted to the slice's own mix of the strata that have a rest."""
        inside = np.bincount(self.strata[self.is_member], minlength=int(self.strata.max(initial=0)) + 1)
        rest = np.bincount(self.strata[~self.is_member], minlength=len(inside))
        total = np.bincount(self.strata[~self.is_member], self.losses[~self.is_member], minlength=len(inside))
        held = rest > 0
        mix = (inside if inside.any() else rest)[held]
        return float(np.average(total[held] / rest[held], weights=mix)) if mix.any() else math.nan

    @property
    def _has_rest(self) -> np.ndarray:
        """bool (n,): members of the strata that have a rest."""
        rest = np.bincount(self.strata[~self.is_member], minlength=int(self.strata.max(initial=0)) + 1)
        return rest[self.strata[self.is_member]] > 0

    def needs(self, alpha: float) -> None:
        """How many more members a test would need is not known without an error rate to expect."""

    def verdict(self, **judgement: Any) -> Verdict:
        inside, elsewhere = self.losses[self.is_member], self.rest_mean
        n = len(inside)
        mean = float(inside.mean()) if n else math.nan
        compared = inside[self._has_rest]
        worse = float(compared.mean()) if len(compared) else math.nan
        either_side = float(t.ppf(0.975, n - 1) * inside.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
        return Verdict(
            slice=self.slice,
            n=n,
            n_errors=0,
            error_rate=math.nan,
            class_error_rate=math.nan,
            rest_n=len(self.rows) - n,
            lift=worse / elsewhere if elsewhere > 0 and worse >= 0 else math.nan,
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
    by_label = one.scope == "all" and evaluation.labels is not None
    strata = evaluation.labels[rows] if by_label else np.zeros(len(rows), dtype=np.int64)  # type: ignore[index]
    notes = list(cautions)
    if set(one.seen) & set(evaluation.model_spaces):
        notes.append(OWN_LAYER)
    if (evaluation.weights != evaluation.weights[0]).any():
        notes.append(UNWEIGHTED)
    return Losses(one, rows, evaluation.losses[rows], strata, one.is_member[rows], tuple(notes))


def permuted_p(samples: Sequence[Losses], random_state: int, *, progress: bool = False) -> np.ndarray:
    """One-sided p of each slice, float64 (k,): the chance of as high a mean loss of as many of its scope.

    Slices of the same rows share permutations: seconds for 100,000 rows, whatever the number of slices. 1 for slices
    without members or without a rest.
    """
    p = np.ones(len(samples))
    by_rows: dict[bytes, list[int]] = {}
    for j, one in enumerate(samples):
        if 0 < one.is_member.sum() < len(one.rows):
            by_rows.setdefault(one.rows.tobytes() + one.strata.tobytes(), []).append(j)
    for numbers in by_rows.values():
        member = np.stack([samples[j].is_member for j in numbers], axis=1).astype(np.float64)
        first, rng = samples[numbers[0]], np.random.default_rng(random_state)
        losses = first.losses - np.median(first.losses)  # a far loss elsewhere takes no digits from the members
        sums = np.zeros((N_PERMUTATIONS, len(numbers)))
        for stratum in np.unique(first.strata):
            inside = first.strata == stratum
            _add_dealt(sums, losses[inside], member[inside], rng, progress)
        observed, rounding = losses @ member, 1e-9 * (np.abs(losses) @ member)
        p[numbers] = (1 + (sums >= observed - rounding).sum(axis=0)) / (1 + N_PERMUTATIONS)
    return p


def _add_dealt(
    sums: np.ndarray, losses: np.ndarray, member: np.ndarray, rng: np.random.Generator, progress: bool
) -> None:
    """Add to each permutation's sums (N_PERMUTATIONS, k) the losses (m,) that fall to the members (m, k)."""
    step = max(1, _CHUNK_VALUES // len(losses))
    for start in progress_bar(range(0, N_PERMUTATIONS, step), desc="permutations", enabled=progress):
        stop = min(start + step, N_PERMUTATIONS)
        sums[start:stop] += rng.permuted(np.tile(losses, (stop - start, 1)), axis=1) @ member
