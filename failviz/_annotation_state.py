"""What a log of annotations adds up to: the labelled slices and the relabelled examples that hold now.

Below them, the checks of the words that a person may put into one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from failviz.slices import DRAWN, Slice


@dataclass(frozen=True)
class Entry:
    """One live annotation of a slice: `kind` is "drawn" or "found"."""

    key: str
    kind: str
    name: str
    ids: tuple[str, ...]
    tags: tuple[str, ...] = ()
    note: str = ""
    method: str = DRAWN
    found_name: str | None = None
    created: str = ""
    changed: str = ""


@dataclass
class State:
    """Everything that holds now: slice entries by key, and id -> (class, time) of relabelled examples."""

    entries: dict[str, Entry] = field(default_factory=dict)
    relabels: dict[str, tuple[str, str]] = field(default_factory=dict)

    def entry(self, key: str) -> Entry:
        entry = self.entries.get(key)
        if entry is None:
            raise ValueError(f"there is no annotation {key!r}: it may have been removed, see to_frame().")
        return entry


def apply_change(state: State, action: str, payload: Mapping[str, Any], at: str) -> None:
    """Bring `state` forward by one row of the log."""
    if action == "put":
        facts = {**payload, "ids": tuple(payload["ids"]), "tags": tuple(payload["tags"])}
        state.entries[facts["key"]] = Entry(**facts, created=at, changed=at)
    elif action == "edit":
        facts = {name: tuple(value) if name == "tags" else value for name, value in payload.items()}
        state.entries[facts["key"]] = replace(state.entries[facts["key"]], **facts, changed=at)
    elif action == "drop":
        del state.entries[payload["key"]]
    elif action == "relabel":
        for example in payload["ids"]:
            state.relabels.pop(example, None)
            if payload["label"] is not None:
                state.relabels[example] = (payload["label"], at)
    else:
        raise ValueError(f"this annotations file holds an unknown change {action!r}: it needs a newer failviz.")


def fingerprint(slice_: Slice) -> str:
    """A key for a found slice that stays the same when the notebook is run again: method, scope, members."""
    scope = slice_.scope if isinstance(slice_.scope, str) else [slice_.scope[0], int(slice_.scope[1])]
    facts = [slice_.method, scope, sorted(slice_.members.tolist())]
    return "f" + hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:10]


def as_text(value: object, what: str, limit: int = 10_000) -> str:
    """The value without spaces around it, refused when it is no text, too long or cannot be saved."""
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a text, not {type(value).__name__}.")
    if len(value) > limit:
        raise ValueError(f"{what} has {len(value):,} characters, and {limit:,} is the limit: shorten it.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{what} holds a broken character at position {error.start}: remove it.") from error
    return value.strip()


def as_name(value: object) -> str:
    """The name of a slice, never empty."""
    name = as_text(value, "name", 200)
    if not name:
        raise ValueError("name is empty: a slice needs a name.")
    return name


def as_tags(values: object) -> list[str]:
    """Tags, each once, in the order they were given."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(f"tags must be a list of texts, not {type(values).__name__}.")
    return list(dict.fromkeys(tag for tag in (as_text(value, "tag", 100) for value in values) if tag))
