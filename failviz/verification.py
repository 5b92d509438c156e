"""What data the finder never saw says about a slice: an exact test, an interval, a plain verdict.

A slice was chosen because it looked bad on the data that chose it, so its error rate there is
too high by construction (winner's curse). `verify` judges it on other data, against the group
in which it is defined, and adjusts for the number of slices judged together (Benjamini &
Hochberg 1995; Benjamini & Yekutieli 2001).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from scipy.stats import binom

from failviz import _checks, _statistics
from failviz._fingerprints import SEEN_LIMIT, recognised
from failviz._slice_counts import GAP_WORTH_FINDING, UNWEIGHTED, Counts, counted
from failviz._slice_losses import Losses, losses_of, permuted_p
from failviz.evaluation import Evaluation
from failviz.permutation import any_failure
from failviz.refitting import cross_fitted, stability
from failviz.slices import Slice
from failviz.verdicts import FEWEST, Verdict, Verdicts

if TYPE_CHECKING:
    from failviz.discovery.base import SliceFinder

__all__ = [
    "GAP_WORTH_FINDING",
    "SEEN_LIMIT",
    "UNRECORDED",
    "UNTOLD",
    "UNWEIGHTED",
    "Verdict",
    "Verdicts",
    "measure",
    "share_seen",
    "slices_of",
    "verify",
]


UNTOLD = "rows of this space repeat so often that whether the search saw these examples cannot be told"
UNRECORDED = "which examples led to it is not recorded: a test only if it was not these"
CROSS_FITTED = "each example is counted where a search that did not see it places it, not where the slice shown does"


def verify(
    slices: Any,
    evaluation: Evaluation,
    q: float = 0.1,
    *,
    method: str = "bh",
    refit_on: Evaluation | None = None,
    cross_fit: int | None = None,
    n_permutations: int = 0,
    random_state: int = 0,
    progress: bool = True,
) -> Verdicts:
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
        not used: each row counts once, as a test counts independent examples. Where it has losses only
        (recommenders, regression), the mean loss of a slice is compared with that of the rest of its scope, by
        9,999 permutations within the scope: no p-value is then below 0.0001. There `cross_fit` and `n_permutations` are
        refused, no rate is shrunken, and `needs` speaks only of members short of 5.
    q : float
        False-discovery rate, in (0, 1).
    method : "bh" or "by"
        Benjamini-Hochberg or Benjamini-Yekutieli.
    refit_on : Evaluation, optional
        What the finders were fitted on: ten copies of each are fitted on 80% of it, and `stability` says how well a
        slice is found again. NaN without it, and for slices that come without their finder.
    cross_fit : int, optional
        For finders fitted on this very Evaluation, where there is no other: they are fitted again without each of so
        many parts, and each part is judged by the slice of the same rank in the fit that did not see it. Takes finders
        only. The p-value is twice the mean of the parts' own, which is safe and weak: fresh data, or half of these
        (`evaluation.split`), say more where they can be had.
    n_permutations : int
        Above 0, `Verdicts.p_any` answers whether there is any systematic failure at all, from so many
        permutations of the errors (999, say). Not with `cross_fit`, whose slices depend on the errors, nor without
        labels and predictions.
    random_state : int
        Of the refits, the parts and the permutations.
    progress : bool
        Show a bar while refitting and permuting, when it takes long.

    Returns
    -------
    Verdicts
        In the order of the slices. Slices drawn by hand, or whose membership reads the outcome,
        are shown and never confirmed.

    Raises
    ------
    ValueError
        When a slice belongs to another Evaluation, when more than 1% of the rows were seen by
        the finder's fit (and `cross_fit` was not asked for), or when losses are missing too. Where rows
        repeat by nature (discrete tables, natural duplicates), that is 1% beyond twice what chance would make of it.

    Notes
    -----
    One wrong example can pass the test where the rest of a class is right, but is no subpopulation: fewer than 5
    members are never confirmed.

    Rows seen by the fit, up to 1%, are left out of members and scope alike; the caution says how
    many. They are known by the content of their embeddings, up to rounding to float16. This cannot
    see the same example through another encoder, augmented or cropped, nor one that fails to be
    unique among the rows of the fit.
    """
    if isinstance(slices, Evaluation) and not isinstance(evaluation, Evaluation):
        raise TypeError("verify takes the slices or their finder first, and then the Evaluation: these are swapped.")
    if not isinstance(evaluation, Evaluation):
        raise TypeError(f"verify judges slices on an Evaluation, not {type(evaluation).__name__}.")
    _checks.fraction(q, "q")
    if method not in ("bh", "by"):
        raise ValueError(f'method must be "bh" (Benjamini-Hochberg) or "by" (Benjamini-Yekutieli), not {method!r}.')
    _checks.whole_number(n_permutations, "n_permutations", least=0)
    if cross_fit is not None and (n_permutations or refit_on is not None):
        raise ValueError("cross_fit goes with neither n_permutations nor refit_on: both need data that no search saw.")
    slices = slices if isinstance(slices, Slice | Verdict) or _is_finder(slices) else _listed(slices)
    if n_permutations:
        evaluation.require("labels", "predictions", by="n_permutations")
    again: dict[str, Any] = {"random_state": random_state, "progress": progress}
    measured = _unseen(slices, evaluation) if cross_fit is None else _crossed(slices, evaluation, cross_fit, again)
    found = [m.slice for m in measured]
    testable = np.array([not (one.is_drawn or one.uses_outcome) for one in found], dtype=bool)
    p = np.full(len(found), math.nan)
    p[testable] = _p_values([m for m, test in zip(measured, testable, strict=True) if test], **again)
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
        more = None if is_clear[i] else measured[i].needs(alpha)
        lacking = FEWEST - int(sizes[i])
        return max(lacking, more or 0) if is_clear[i] or more is not None else None

    stable = [math.nan] * len(found) if refit_on is None else _stabilities(slices, refit_on, evaluation, again)
    tested = [m for m, test in zip(measured, testable, strict=True) if test and isinstance(m, Counts)]
    shrunken = np.full(len(found), math.nan)
    if tested:
        shrunken[testable] = _statistics.shrunken_rates(
            np.array([m.errors_in.sum() for m in tested], dtype=np.int64),
            sizes[testable],
            np.array([m.rest_rate for m in tested]),
        )
    worth_it = [m for m in tested if m.n_in.sum() >= FEWEST]
    return Verdicts(
        (
            m.verdict(
                p=float(p[i]),
                q=float(adjusted[i]),
                confirmed=bool(confirmed[i]),
                needs=needs(i),
                shrunken_rate=float(shrunken[i]),
                stability=float(stable[i]),
            )
            for i, m in enumerate(measured)
        ),
        p_any=any_failure(worth_it, evaluation, n_permutations, random_state) if n_permutations else math.nan,
        q=q if testable.any() else math.nan,
    )


def measure(slices: Any, evaluation: Evaluation) -> Verdicts:
    """Rates of slices on the data that chose them: a description, marked in-sample, never a test."""
    nothing = {"p": math.nan, "q": math.nan, "confirmed": False, "needs": None}
    return Verdicts(
        _measured(one, evaluation).verdict(**nothing, in_sample=True) for one in slices_of(slices, evaluation)
    )


def _measured(
    one: Slice, evaluation: Evaluation, judged: np.ndarray | None = None, cautions: Iterable[str] = ()
) -> Counts | Losses:
    """Errors of a slice and its scope, or their losses where right and wrong are not known."""
    has_outcome = evaluation.labels is not None and evaluation.predictions is not None
    if has_outcome or evaluation.losses is None:
        return counted(one, evaluation, judged, cautions)
    return losses_of(one, evaluation, judged, cautions)


def _p_values(measured: list[Counts | Losses], *, random_state: int, progress: bool) -> list[float]:
    losses = [m for m in measured if isinstance(m, Losses)]
    of_losses = iter(permuted_p(losses, random_state, progress=progress).tolist())
    return [m.p_value() if isinstance(m, Counts) else next(of_losses) for m in measured]


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
    if _is_finder(things):
        return list(things.slices(evaluation))
    return [one for thing in _listed(things) for one in slices_of(thing, evaluation)]


def _listed(things: Any) -> list[Any]:
    if isinstance(things, str) or not isinstance(things, Iterable):
        came = f"the class {things.__name__}" if isinstance(things, type) else type(things).__name__
        raise TypeError(f"expected a fitted finder or slices, not {came}.")
    return list(things)


def _is_finder(thing: Any) -> TypeGuard[SliceFinder]:
    return hasattr(thing, "slices") and hasattr(thing, "fit") and not isinstance(thing, type)


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
        n, chance = evaluation.n_examples, cache[key].chance
        by_chance = max(2 * chance, binom.ppf(0.99, n, min(1.0, chance)) / n)  # in few examples one is a large share
        share = max(share, float(cache[key].is_seen.mean() - by_chance))
        can_tell = can_tell and cache[key].can_tell
    return is_seen, share, can_tell


def _finders_of(things: Any, why: str) -> list[SliceFinder]:
    """The fitted finders among one finder or a sequence of them; slices without their finder are refused."""
    if _is_finder(things):
        return [things]
    if isinstance(things, Slice | Verdict | str) or not isinstance(things, Iterable):
        raise TypeError(f"{why} needs fitted finders, not {type(things).__name__}.")
    return [finder for thing in things for finder in _finders_of(thing, why)]


def _crossed(slices: Any, evaluation: Evaluation, n_folds: int, again: dict[str, Any]) -> list[Counts | Losses]:
    """Counts of each finder's slices, every example placed by a fit that did not see it, and a p-value per part."""
    _checks.whole_number(n_folds, "cross_fit", least=2)
    evaluation.require("labels", "predictions", by="cross-fitting")
    found: list[Counts | Losses] = []
    for finder in _finders_of(slices, "cross_fit"):
        parts_of_each = cross_fitted(finder, evaluation, n_folds, **again)
        for one, parts in zip(finder.slices(evaluation), parts_of_each, strict=True):
            placed, member = np.zeros((2, evaluation.n_examples), dtype=bool)
            fold_p = []
            for part, match in parts:
                if match is not None:
                    placed |= part
                    member |= part & match.is_member
                fold_p.append(1.0 if match is None else counted(match, evaluation, part).p_value())
            missing = int((~placed & one.in_scope).sum())
            cautions = [CROSS_FITTED]
            if missing:
                cautions.append(f"{missing:,} examples are left out, for which the search found no such slice")
            found.append(counted(one, evaluation, placed, cautions, is_member=member, fold_p=tuple(fold_p)))
    return found


def _stabilities(things: Any, refit_on: Evaluation, evaluation: Evaluation, again: dict[str, Any]) -> list[float]:
    """Of each slice, in the order of `slices_of`; NaN for one that comes without its finder."""
    if _is_finder(things):
        return [float(value) for value in stability(things, refit_on, evaluation, **again)]
    if isinstance(things, Slice | Verdict):
        return [math.nan]
    return [value for thing in things for value in _stabilities(thing, refit_on, evaluation, again)]


def _unseen(things: Any, evaluation: Evaluation) -> list[Counts | Losses]:
    """Counts, or losses, over the rows that the finders have not seen; refused when they have seen too many."""
    cache: dict[Any, Any] = {}
    return [_unseen_of(one, evaluation, cache) for one in slices_of(things, evaluation)]


def _unseen_of(one: Slice, evaluation: Evaluation, cache: dict[Any, Any]) -> Counts | Losses:
    if one.is_drawn:
        return _measured(one, evaluation)
    is_seen, share, can_tell = _seen(one, evaluation, cache)
    if share > SEEN_LIMIT:
        raise ValueError(
            f"{is_seen.mean():.0%} of these examples are identical to examples used to find {one.name!r}, or nearly, "
            "so they cannot test it: verify on other examples. Where there are none, split once, `first, second = "
            "evaluation.split(0.5)`, fit again on the first part and verify on the second, or give cross_fit=3."
        )
    known = int(is_seen.sum())
    cautions = [UNRECORDED] if not one.seen else [] if can_tell else [UNTOLD]
    if known:
        are = "example is" if known == 1 else "examples are"
        cautions.append(f"{known:,} {are} left out, as identical (or nearly) to what the slice was found on")
    return _measured(one, evaluation, ~is_seen, cautions)
