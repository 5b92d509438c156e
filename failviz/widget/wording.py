"""Verdicts in plain words: every number with its n, no jargon, nothing claimed that was not tested."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from failviz.evaluation import Evaluation
from failviz.slices import Slice
from failviz.verification import FEWEST, GAP_WORTH_FINDING, UNRECORDED, UNTOLD, Verdict

if TYPE_CHECKING:
    from failviz.widget.catalogue import Item


def unit_of(evaluation: Evaluation) -> str:
    """What the examples are called: "images", "texts", "rows" or "examples"."""
    unit = {"image": "images", "text": "texts"}.get(getattr(evaluation.source, "kind", ""), "examples")
    return str(getattr(evaluation.source, "unit", unit))


def confusion(slice_: Slice) -> str:
    """What stands before the classes that a slice's wrong members are confused with."""
    return "really" if isinstance(slice_.scope, tuple) and slice_.scope[0] == "prediction" else "mistaken for"


def scope(slice_: Slice, evaluation: Evaluation) -> str:
    """The group in which a slice is defined, as a person would call it."""
    if isinstance(slice_.scope, str):
        return "all classes"
    kind, number = slice_.scope
    name = evaluation.class_name(number)
    return name if kind == "label" else f"predicted {name}"


def judgement(item: Item, evaluation: Evaluation, unit: str, q: float) -> dict[str, str]:
    """status (one of six), badge (a few words) and explanation (a sentence or two) of one slice."""
    verdict, slice_ = item.verdict, item.slice
    if verdict is None:
        sentence = (
            f"These {unit} have no labels or no predictions, so which of them are wrong is not known, and no losses "
            "to compare."
        )
        return _three("no labels", "no labels", sentence)
    if verdict.n == 0:
        return _three("not confirmed", "empty", f"None of these {unit} falls into this group.")
    rates = _rates(verdict, slice_, evaluation, unit)
    if item.named_earlier:
        sentence = (
            f"You named this group in an earlier session, and the search did not find the same group again: {rates}. "
            "Not a held-out test."
        )
        return _three("in-sample", "named earlier", sentence)
    if item.kind == "drawn" or verdict.drawn:
        sentence = (
            f"You drew this while looking at these {unit}, so {_rate(verdict)} is no held-out test: {rates}. "
            f"To test it, carry it to other {unit} with extend()."
        )
        return _three("drawn", "drawn on these data", sentence)
    if slice_.uses_outcome:
        sentence = (
            f"This group is chosen by how the model did on these {unit}, so {_rate(verdict)} proves nothing: {rates}."
        )
        return _three("not confirmed", "reads the outcome", sentence)
    if verdict.in_sample:
        sentence = (
            f"The search saw these {unit} when it chose this group, so this is not a held-out test: {rates}. "
            f"To test it, open the Explorer on {unit} the search has not seen."
        )
        return _three("in-sample", "seen while searching", sentence)
    if UNTOLD in verdict.caution or UNRECORDED in verdict.caution:
        held_out = f"{rates}."
    else:
        held_out = f"Held-out {unit} the search never saw: {rates}."
    caution = f" Caution: {verdict.caution}." if verdict.caution else ""
    if verdict.confirmed:
        known = f"Of all slices marked confirmed, at most {q:.0%} are expected to be chance."
        return _three("confirmed", "confirmed", f"{held_out} {known}{caution}")
    if verdict.needs and verdict.by_loss:
        sentence = (
            f"{held_out} Fewer than {FEWEST} {unit} are never confirmed: {verdict.needs} more are needed.{caution}"
        )
        return _three("needs more", f"needs {verdict.needs} more", sentence)
    if verdict.needs:
        more = f"needs about {verdict.needs:,} more"
        large = verdict.error_rate - verdict.class_error_rate >= GAP_WORTH_FINDING
        worse = "is really that much worse" if large else f"is {100 * GAP_WORTH_FINDING:.0f} points worse"
        sentence = (
            f"{held_out} This could still be chance: about {verdict.needs:,} more {unit} in this group would probably "
            f"settle whether it {worse}.{caution}"
        )
        return _three("needs more", more, sentence)
    if math.isnan(verdict.rest_mean_loss if verdict.by_loss else verdict.class_error_rate):
        return _three("not confirmed", "not confirmed", f"{held_out} So it cannot be tested.{caution}")
    return _three("not confirmed", "not confirmed", f"{held_out} This is no worse than chance would make it.{caution}")


def _rate(verdict: Verdict) -> str:
    return "its mean loss" if verdict.by_loss else "its error rate"


def _rates(verdict: Verdict, slice_: Slice, evaluation: Evaluation, unit: str) -> str:
    """How bad the slice is, and what it is compared with."""
    if not verdict.by_loss:
        return f"{verdict.n_errors:,} of {verdict.n:,} wrong, against {_elsewhere(verdict, slice_, evaluation, unit)}"
    against = f"no {unit} to compare with"
    if not math.isnan(verdict.rest_mean_loss):
        mix = "" if evaluation.labels is None else " in the same mix of those classes that have others"
        where = f"elsewhere{mix}" if isinstance(slice_.scope, str) else f"elsewhere in {scope(slice_, evaluation)}"
        against = f"{verdict.rest_mean_loss:.3g} {where} ({verdict.rest_n:,} {unit})"
    return f"mean loss {verdict.mean_loss:.3g} in {verdict.n:,} {unit}, against {against}"


def _elsewhere(verdict: Verdict, slice_: Slice, evaluation: Evaluation, unit: str) -> str:
    """ "47 of 336 elsewhere in the class": what the slice is compared with."""
    if verdict.rest_n == 0 or math.isnan(verdict.class_error_rate):
        return f"no {unit} to compare with"
    if isinstance(slice_.scope, str):
        # Weighted to the slice's own mix of classes, so that counts would not give this rate.
        return f"{verdict.class_error_rate:.0%} elsewhere in the same mix of classes ({verdict.rest_n:,} {unit})"
    wrong = round(verdict.class_error_rate * verdict.rest_n)
    where = "in the class" if slice_.scope[0] == "label" else f"among those {scope(slice_, evaluation)}"
    return f"{wrong:,} of {verdict.rest_n:,} elsewhere {where}"


def _three(status: str, badge: str, explanation: str) -> dict[str, str]:
    return {"status": status, "badge": badge, "explanation": explanation}
