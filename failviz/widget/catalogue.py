"""The list of slices on the screen: what finders found, what a person drew, and what each may claim."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from failviz.annotations import Annotations, Entry, fingerprint
from failviz.evaluation import Evaluation
from failviz.slices import Slice
from failviz.verification import SEEN_LIMIT, Verdict, Verdicts, measure, share_seen, slices_of, verify
from failviz.widget import wording
from failviz.widget.channels import numbers_or_none
from failviz.widget.protocol import Refusal

Q = 0.1


@dataclass(frozen=True)
class Item:
    """One line of the list: a slice, what data says about it, what a person said about it."""

    key: str
    kind: str
    slice: Slice
    verdict: Verdict | None
    tags: tuple[str, ...] = ()
    note: str = ""
    found_name: str | None = None
    named_earlier: bool = False

    @property
    def has_direction(self) -> bool:
        """Whether its scope can be stepped through from easiest to hardest."""
        scores = self.slice.scores[self.slice.in_scope]
        return self.slice.direction is not None and len(scores) > 0 and bool(np.isfinite(scores).all())


class Catalogue:
    """Found slices with their verdicts, under the names that `annotations` holds, then the drawn ones.

    Slices whose finder has not seen these examples are verified together, so that one
    false-discovery level holds for the whole list; the others are only measured and say so.

    Parameters
    ----------
    evaluation : Evaluation
    things : fitted finder, Slice, Verdict, or nested sequence of these
    annotations : Annotations
    """

    def __init__(self, evaluation: Evaluation, things: Any, annotations: Annotations):
        self._evaluation, self._annotations = evaluation, annotations
        self._found: dict[str, tuple[Slice, Verdict | None]] = {}
        for slice_, verdict in judged(evaluation, things):
            self._found.setdefault(fingerprint(slice_), (slice_, verdict))
        self._said: dict[str, tuple[Slice, Verdict | None]] = {}  # by key: members of a drawn slice never change
        self._facts: dict[str, dict[str, Any]] = {}
        self._lock = threading.RLock()

    def items(self) -> list[Item]:
        """Everything on the list now, in its order."""
        with self._lock:
            entries = self._annotations.entries
            items = [self._item(key, entries.get(key)) for key in self._found]
            return items + [self._item(key, entry) for key, entry in entries.items() if key not in self._found]

    def known_keys(self) -> list[str]:
        return [*self._found, *(key for key in self._annotations.entries if key not in self._found)]

    def _item(self, key: str, entry: Entry | None) -> Item:
        if key in self._found:
            slice_, verdict = self._found[key]
            if entry is None:
                return Item(key, "found", slice_, verdict, found_name=slice_.name)
            slice_, name = slice_.renamed(entry.name), slice_.name
        else:
            assert entry is not None
            slice_, verdict = self._group(entry)
            slice_, name = slice_.renamed(entry.name), entry.found_name or entry.name
        verdict = None if verdict is None else replace(verdict, slice=slice_)
        earlier = entry.kind == "found" and key not in self._found
        found_name = name if entry.kind == "found" else None
        return Item(key, entry.kind, slice_, verdict, entry.tags, entry.note, found_name, earlier)

    def _group(self, entry: Entry) -> tuple[Slice, Verdict | None]:
        if entry.key not in self._said:
            slice_ = replace(Slice.drawn(self._evaluation, entry.ids, entry.name), method=entry.method)
            self._said[entry.key] = (
                slice_,
                measure(slice_, self._evaluation)[0] if can_be_judged(self._evaluation) else None,
            )
        return self._said[entry.key]

    def get(self, wanted: object) -> Item:
        """The item with this key, this name or else the name it was found under, or of this Slice; refuses with
        a sentence. A notebook that names a slice must run a second time, when it has that name already."""
        items = self.items()
        if isinstance(wanted, Slice):
            try:
                found = [item for item in items if item.key == fingerprint(wanted)]
                found = found or [item for item in items if _same_members(item.slice, wanted)]
            except ValueError as error:
                raise Refusal(str(error)) from None
            name = wanted.name
        else:
            name = str(wanted)
            found = [item for item in items if item.key == name]
            if not found:
                # What is on the list now comes before what an earlier session named, the name of today before
                # the one it was found under.
                live, earlier = ([item for item in items if item.named_earlier is gone] for gone in (False, True))
                calls = [[item for item in of if item.slice.name == name] for of in (live, earlier)]
                calls += [[item for item in of if item.found_name == name] for of in (live, earlier)]
                found = next((matches for matches in (calls[0], calls[2], calls[1], calls[3]) if matches), [])
                if len(found) > 1:
                    raise Refusal(
                        f"{len(found)} slices are called {name!r}: use a key, {' or '.join(i.key for i in found)}."
                    )
        if not found:
            known = ", ".join(repr(item.slice.name) for item in items[:6]) or "none yet"
            raise Refusal(
                f"There is no slice {name!r:.120} here; there are {known}{', ...' if len(items) > 6 else ''}."
            )
        return found[0]

    def space_searched(self) -> str | None:
        """The space in which all found slices were found; None when they differ or do not say."""
        spaces = {space for slice_, _ in self._found.values() for space in slice_.seen}
        return spaces.pop() if len(spaces) == 1 and spaces <= set(self._evaluation.spaces) else None

    def as_found(self, key: str) -> Slice:
        """A found slice under the name its finder gave it."""
        return self._found[key][0]

    def rows(self, unit: str) -> list[dict[str, Any]]:
        """The list as the browser reads it."""
        return [
            {
                "key": item.key,
                "name": item.slice.name,
                "method": item.slice.method,
                "kind": item.kind,
                "scope": wording.scope(item.slice, self._evaluation),
                "colour": place,
                **self._facts_of(item, unit),
                "tags": list(item.tags),
                "note": item.note,
                "found_name": item.found_name,
            }
            for place, item in enumerate(self.items())
        ]

    def _facts_of(self, item: Item, unit: str) -> dict[str, Any]:
        """What does not change while the widget lives: counts, rates, verdict."""
        with self._lock:
            if item.key not in self._facts:
                self._facts[item.key] = {
                    **counts(item),
                    **wording.judgement(item, self._evaluation, unit, Q),
                    "has_direction": item.has_direction,
                    "confused_as": wording.confusion(item.slice),
                    "confused_with": confused_with(item.slice, self._evaluation),
                }
            return self._facts[item.key]


def judged(evaluation: Evaluation, things: Any) -> list[tuple[Slice, Verdict | None]]:
    """Every slice in `things` with its verdict, in their order; Verdicts are taken at their word."""
    pairs = list(_flat(evaluation, things))
    if not can_be_judged(evaluation):
        return [(slice_, None) for slice_, _ in pairs]
    cache: dict[Any, Any] = {}
    unjudged = [slice_ for slice_, verdict in pairs if verdict is None]
    seen = [slice_ for slice_ in unjudged if share_seen(slice_, evaluation, cache) > SEEN_LIMIT]
    fresh = [slice_ for slice_ in unjudged if all(slice_ is not one for one in seen)]
    verdicts = {id(one.slice): one for one in (*verify(fresh, evaluation, Q), *measure(seen, evaluation))}
    return [(slice_, verdict or verdicts[id(slice_)]) for slice_, verdict in pairs]


def _flat(evaluation: Evaluation, things: Any) -> Iterable[tuple[Slice, Verdict | None]]:
    if isinstance(things, Verdict):
        yield slices_of(things, evaluation)[0], things
    elif isinstance(things, list | tuple | Verdicts):
        for thing in things:
            yield from _flat(evaluation, thing)
    else:
        for slice_ in slices_of(things, evaluation):
            yield slice_, None


def has_outcome(evaluation: Evaluation) -> bool:
    """Whether right and wrong can be told."""
    return evaluation.labels is not None and evaluation.predictions is not None


def can_be_judged(evaluation: Evaluation) -> bool:
    """Whether there is anything by which a slice may be worse: right and wrong, or losses."""
    return has_outcome(evaluation) or evaluation.losses is not None


def counts(item: Item) -> dict[str, Any]:
    """Sizes and rates for the screen; null where they are not known."""
    verdict = item.verdict
    unknown = dict.fromkeys(("n_wrong", "error_rate", "low", "high", "rest_error_rate", "rest_n"))
    if verdict is None:
        return {"n": len(item.slice), **unknown}
    if verdict.by_loss:
        return {**unknown, "n": verdict.n, "rest_n": verdict.rest_n}
    return {
        "n": verdict.n,
        "n_wrong": verdict.n_errors,
        "error_rate": numbers_or_none(verdict.error_rate),
        "low": verdict.low if verdict.n else None,
        "high": verdict.high if verdict.n else None,
        "rest_error_rate": numbers_or_none(verdict.class_error_rate),
        "rest_n": verdict.rest_n,
    }


def confused_with(slice_: Slice, evaluation: Evaluation, most: int = 5) -> list[dict[str, Any]]:
    """What the wrong members were taken for (or, in a group of one prediction, what they really are)."""
    if not has_outcome(evaluation):
        return []
    by_prediction = isinstance(slice_.scope, tuple) and slice_.scope[0] == "prediction"
    column = evaluation.labels if by_prediction else evaluation.predictions
    assert column is not None
    wrong = column[slice_.is_member & evaluation.errors]
    common = sorted(Counter(wrong.tolist()).items(), key=lambda pair: (-pair[1], pair[0]))[:most]
    return [{"name": evaluation.class_name(number), "count": count} for number, count in common]


def _same_members(one: Slice, other: Slice) -> bool:
    if one.evaluation_hash != other.evaluation_hash:
        raise ValueError(f"slice {other.name!r} belongs to another Evaluation.")
    return bool(np.array_equal(one.is_member, other.is_member))
