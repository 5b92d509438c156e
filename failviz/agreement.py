"""What several finders agree on: how far their slices overlap, and one list without duplicates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from failviz import _checks, _fingerprints
from failviz.slices import Slice

if TYPE_CHECKING:
    import pandas as pd


def overlap(slices: Sequence[Slice]) -> pd.DataFrame:
    """How far each two slices of one Evaluation share their members.

    Parameters
    ----------
    slices : sequence of Slice
        Of one Evaluation, from any finders.

    Returns
    -------
    DataFrame (k, k)
        Jaccard indices in [0, 1]: members in common over members in either; two empty slices have 1. Rows and columns
        are named "method: name", in the order given.

    Raises
    ------
    ValueError
        When the slices belong to different Evaluations.

    Examples
    --------
    >>> import numpy as np
    >>> from failviz.evaluation import Evaluation
    >>> ev = Evaluation(np.eye(4))
    >>> overlap([Slice.drawn(ev, ["0", "1"], "a"), Slice.drawn(ev, ["1", "2"], "b")]).round(2).values.tolist()
    [[1.0, 0.33], [0.33, 1.0]]
    """
    import pandas as pd

    slices = _of_one(slices)
    names = [f"{one.method}: {one.name}" for one in slices]
    return pd.DataFrame(_jaccards(slices), index=names, columns=names)


def merge_duplicates(slices: Sequence[Slice], above: float = 0.8) -> list[Slice]:
    """Keep of slices that are nearly the same only the first, and say who else found it.

    Going through the list, a slice joins the first kept slice with which its Jaccard index is above the limit, whatever
    the scopes of the two; so give the most important first: against its scope they are judged. Nothing but membership
    is read, so the list may be judged by `verify`. What was drawn by hand, or reads the outcome, joins only its like
    from other scopes: it would keep what it joins from being judged.

    Parameters
    ----------
    slices : sequence of Slice
        Of one Evaluation, from any finders.
    above : float
        Jaccard index, in (0, 1). What is empty here is like nothing else.

    Returns
    -------
    list of Slice
        Those kept, as they were but for `method`, which names everyone who found it ("failure direction, spotlight"),
        `seen`, which holds what any of them has seen, and `stats["found_as"]`: the name that each gave it.
    """
    slices = _of_one(slices)
    _checks.fraction(above, "above")
    jaccards = _jaccards(slices)
    groups: list[list[int]] = []
    for row in range(len(slices)):
        one = slices[row]
        near = (group for group in groups if len(one) and jaccards[group[0], row] > above)
        group = next((group for group in near if _may_join(one, slices[group[0]])), None)
        if group is None:
            groups.append([row])
        else:
            group.append(row)
    return [_merged([slices[row] for row in group]) for group in groups]


def _may_join(one: Slice, first: Slice) -> bool:
    is_like = (one.is_drawn, one.uses_outcome) == (first.is_drawn, first.uses_outcome)
    return is_like or one.scope == first.scope


def _merged(alike: list[Slice]) -> Slice:
    first = alike[0]
    seen = dict(first.seen)
    for other in alike[1:]:
        for space, rows in other.seen.items():
            seen[space] = _fingerprints.together(seen[space], rows) if space in seen else rows
    found_as: dict[str, Any] = {}
    for one in alike:
        found_as.setdefault(one.method, one.name)
    return replace(
        first,
        method=", ".join(found_as),
        seen=seen,
        stats={**first.stats, "found_as": found_as},
        is_drawn=any(one.is_drawn for one in alike),
        uses_outcome=any(one.uses_outcome for one in alike),
    )


def _jaccards(slices: list[Slice]) -> np.ndarray:
    """float64 (k, k)."""
    members = np.stack([one.is_member for one in slices]).astype(np.float64) if slices else np.zeros((0, 0))
    common = members @ members.T
    sizes = members.sum(axis=1)
    either = sizes[:, None] + sizes - common
    return np.divide(common, either, out=np.ones_like(common), where=either > 0)


def _instead_of(one: Any) -> str:
    if isinstance(one, list | tuple):
        return "join the lists, first.slices(evaluation) + second.slices(evaluation)"
    return "give its slice, or verdicts.confirmed" if hasattr(one, "slice") else "give finder.slices(evaluation)"


def _of_one(slices: Sequence[Slice]) -> list[Slice]:
    slices = list(slices) if isinstance(slices, Iterable) else [slices]
    for one in slices:
        if not isinstance(one, Slice):
            raise TypeError(f"expected slices, not {type(one).__name__}: {_instead_of(one)}.")
        if one.evaluation_hash != slices[0].evaluation_hash:
            raise ValueError(
                f"slices {slices[0].name!r} and {one.name!r} belong to different Evaluations: take both on one."
            )
    return slices
