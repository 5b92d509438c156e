"""Which slices a picture is of, and whether its data chose them."""

from __future__ import annotations

from typing import Any

import numpy as np

from failviz.evaluation import Evaluation
from failviz.slices import Scope, Slice
from failviz.verification import SEEN_LIMIT, share_seen, slices_of


def all_slices(things: Any, evaluation: Any, by: str) -> list[Slice]:
    """Slices of `evaluation` from finders or slices; no Evaluation is refused in the name of the picture."""
    if not isinstance(evaluation, Evaluation):
        raise TypeError(f"plots.{by} takes an Evaluation, not {type(evaluation).__name__}.")
    return slices_of(things, evaluation)


def one_slice(thing: Any, evaluation: Any, which: int | str, by: str) -> Slice | None:
    """The slice of this rank (from 0) or name among those of a finder; None where it found nothing."""
    found = all_slices(thing, evaluation, by)
    if not found:
        return None
    if isinstance(which, str):
        named = [one for one in found if one.name == which]
        if not named:
            names = ", ".join(repr(one.name) for one in found[:8]) + (", ..." if len(found) > 8 else "")
            raise ValueError(f"which names a slice, and {which!r} is none of {names}.")
        return named[0]
    if isinstance(which, bool) or not isinstance(which, int | np.integer):
        raise TypeError(f"which is the rank of a slice, from 0, or its name, not {type(which).__name__}.")
    if not 0 <= which < len(found):
        raise ValueError(f"which must be a rank from 0 to {len(found) - 1}, not {which}.")
    return found[which]


def in_sample(one: Slice, evaluation: Evaluation, cache: dict[Any, Any] | None = None) -> str:
    """Why a slice may look worse on these data than it is, in the words of a verdict; empty where nothing says so."""
    if one.is_drawn:
        return "drawn on these data"
    if one.uses_outcome:
        return "reads the outcome"
    return "seen while searching" if share_seen(one, evaluation, cache) > SEEN_LIMIT else ""


def scope_words(scope: Scope, evaluation: Evaluation) -> str:
    """The group in which a slice is defined, as people say it."""
    if isinstance(scope, str):
        return "all examples"
    kind, number = scope
    return f"examples {'labelled' if kind == 'label' else 'predicted'} {evaluation.class_name(number)}"
