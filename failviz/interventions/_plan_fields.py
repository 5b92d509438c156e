"""The fields of a RetrainPlan in types that JSON can hold; whatever else came is refused in a sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from failviz.interventions._marks import DataMark

if TYPE_CHECKING:
    from failviz.interventions.plan import RetrainPlan

_KINDS: dict[type, tuple[type, str]] = {
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "a text"),
}


def plain_fields(plan: RetrainPlan) -> dict[str, Any]:
    """The fields in types that JSON can hold, mappings and sequences read-only; anything else is refused."""
    fields: dict[str, Any] = {}
    of_ids: dict[str, type] = {"additions": int, "weights": float, "relabels": int}
    for name, kind in of_ids.items():
        given, what = getattr(plan, name), f"an id in {name}"
        if not isinstance(given, Mapping):
            raise TypeError(f"{name} must be a mapping from ids, not {type(given).__name__}.")
        facts = {_plain(key, str, what): _plain(value, kind, name, key) for key, value in given.items()}
        fields[name] = MappingProxyType(facts)
    for name in ("class_names", "cautions", "targets", "used_ids", "controls"):
        given = getattr(plan, name)
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise TypeError(f"{name} must be a list, not {given!r}.")
        fields[name] = tuple(given if name == "controls" else [_plain(item, str, f"each of {name}") for item in given])
    strangers = [control for control in fields["controls"] if not isinstance(control, type(plan))]
    if strangers:
        raise TypeError(f"each of controls must be a RetrainPlan, not {strangers[0]!r}.")
    for name in ("pool", "train"):
        if not isinstance(getattr(plan, name), DataMark | None):
            raise TypeError(f"{name} must be a DataMark, see DataMark.of, not {type(getattr(plan, name)).__name__}.")
    for name in ("name", "reason", "used_hash"):
        fields[name] = _plain(getattr(plan, name), str, name)
    budget = plan.budget if plan.budget is None else _plain(plan.budget, int, "budget")
    return {**fields, "added_weight": _plain(plan.added_weight, float, "added_weight"), "budget": budget}


def _plain(value: Any, kind: type, what: str, key: str | None = None) -> Any:
    """numpy's numbers and strings as Python's own."""
    if type(value) is kind:
        return value
    wider, called = _KINDS[kind]
    if isinstance(value, bool) or not isinstance(value, wider):
        of = "" if key is None else f" of {key!r}"
        raise TypeError(f"{what}{of} must be {called}, not {value!r}.")
    return kind(value)
