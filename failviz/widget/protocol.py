"""The messages between the browser and the kernel: what each command takes, checked before anything runs.

A request is `{id, command, args}` with buffers beside it; the reply is `{id, result}` or
`{id, error: {message}}`. `tests/protocol.json` holds one example of each; `js/src/core/protocol.ts`
is the other half.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

VERSION = 1
N_STEPS = 21
REPLY_BYTES = 8_000_000
"""No message may be larger: Jupyter's websocket takes 10 MB."""
MOST_ROWS = 200

Check = Callable[[Any, str], Any]
Reply = tuple[dict[str, Any], list[bytes]]


class Refusal(ValueError):
    """A request that cannot be answered, with a sentence for the person who made it."""


class Cancelled(Exception):
    """Raised inside a command whose answer nobody waits for any more."""


def text(longest: int) -> Check:
    def check(value: Any, name: str) -> str:
        if not isinstance(value, str):
            raise Refusal(f"{name} must be a text, not {_kind(value)}.")
        if len(value) > longest:
            raise Refusal(f"{name} has {len(value):,} characters, and {longest:,} is the limit: shorten it.")
        return value

    return check


def optional(inner: Check) -> Check:
    return lambda value, name: None if value is None else inner(value, name)


def whole(low: int, high: int | None = None) -> Check:
    def check(value: Any, name: str) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # JavaScript has one kind of number
        if isinstance(value, bool) or not isinstance(value, int):
            raise Refusal(f"{name} must be a whole number, not {_kind(value)}.")
        if value < low or (high is not None and value > high):
            raise Refusal(
                f"{name} must be {f'{low} to {high}' if high is not None else f'{low} or more'}, not {value}."
            )
        return value

    return check


def flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise Refusal(f"{name} must be true or false, not {_kind(value)}.")
    return value


def one_of(*allowed: str) -> Check:
    def check(value: Any, name: str) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise Refusal(f"{name} must be one of {', '.join(allowed)}, not {value!r:.60}.")
        return value

    return check


def list_of(inner: Check, most: int) -> Check:
    def check(value: Any, name: str) -> list[Any]:
        if not isinstance(value, list | tuple):
            raise Refusal(f"{name} must be a list, not {_kind(value)}.")
        if len(value) > most:
            raise Refusal(f"{name} has {len(value):,} entries, and {most} is the limit: ask for fewer at a time.")
        return [inner(item, f"{name}[{i}]") for i, item in enumerate(value)]

    return check


_KEY = text(100)
_LABEL = {"name": text(200), "tags": list_of(text(100), 50), "note": text(10_000)}

_TARGET = {"target": one_of("slice", "confirmed"), "slice": optional(_KEY)}
_CHOICES = {
    **_TARGET,
    "remedy": text(40),
    "budget": optional(whole(1)),
    "thrown_out": list_of(whole(0), 10_000),
    "control": flag,
}

COMMANDS: Mapping[str, Mapping[str, Check]] = {
    "open": {},
    "layout": {},
    "channel": {"key": text(1_000), "slice": optional(_KEY)},
    "slices": {},
    "gallery": {
        "of": one_of("slice", "selection", "all"),
        "slice": optional(_KEY),
        "order": one_of("score", "loss"),
        "only": one_of("all", "wrong", "right"),
        "offset": whole(0),
        "limit": whole(1, 500),
    },
    "thumbnails": {"rows": list_of(whole(0), MOST_ROWS), "size": whole(16, 512)},
    "example": {"row": whole(0)},
    "direction": {"slice": _KEY},
    "strip": {"slice": _KEY, "step": whole(0, N_STEPS - 1), "count": whole(1, 101)},
    "select": {"how": one_of("bitset", "slice", "clear"), "slice": optional(_KEY)},
    "selection": {},
    "members": {"slice": _KEY},
    "create_slice": _LABEL,
    "label_slice": {"key": _KEY, **_LABEL},
    "delete_slice": {"key": _KEY},
    "undo": {},
    "redo": {},
    "retraining": _TARGET,
    "plan": _CHOICES,
    "pool_thumbnails": {"rows": list_of(whole(0), MOST_ROWS), "size": whole(16, 512)},
    "run": _CHOICES,
    "stop_run": {"number": whole(1)},
    "runs": {},
    "run_detail": {"number": whole(1)},
    "changed": {
        "number": whole(1),
        "arm": text(100),
        "of": one_of("slice", "all"),
        "slice": optional(_KEY),
        "change": one_of("fixed", "broken", "still wrong"),
        "offset": whole(0),
        "limit": whole(1, 500),
    },
    "cancel": {"target": lambda value, name: _identity(value, name)},
}

WITH_BUFFERS = frozenset({"select"})
"""Commands whose handler also takes the buffers that came with the request."""

SLOW = frozenset({"thumbnails", "pool_thumbnails", "retraining", "plan", "run", "run_detail"})
"""Commands that run beside the message loop, so that a cancellation can overtake them."""


@dataclass(frozen=True)
class Request:
    """One checked message from the browser."""

    id: str | int
    command: str
    args: dict[str, Any]
    buffers: list[memoryview] = field(default_factory=list)


def read_request(content: Any, buffers: Sequence[Any] | None = ()) -> Request:
    """Narrow one incoming message, or raise Refusal with a sentence.

    Missing arguments that may be null are taken as null; unknown ones are refused, because a
    part of what the person asked for would otherwise be dropped in silence.
    """
    if not isinstance(content, Mapping):
        raise Refusal(f"a request must be an object with id, command and args, not {_kind(content)}.")
    identity = _identity(content.get("id"), "the request's id")
    command = content.get("command")
    if not isinstance(command, str) or command not in COMMANDS:
        raise Refusal(f"there is no command {command!r:.60}: the kernel may run another version of failviz.")
    given = content.get("args", {})
    if not isinstance(given, Mapping):
        raise Refusal(f"{command}: args must be an object, not {_kind(given)}.")
    expected = COMMANDS[command]
    unknown = [str(name) for name in given if name not in expected]
    if unknown:
        raise Refusal(f"{command}: unknown argument {unknown[0]!r:.60}; it takes {', '.join(expected) or 'none'}.")
    args = {}
    for name, check in expected.items():
        try:
            args[name] = check(given.get(name), name)
        except Refusal as refusal:
            missing = "" if name in given else " (it is missing)"
            raise Refusal(f"{command}: {str(refusal).rstrip('.')}{missing}.") from None
    return Request(identity, command, args, [memoryview(buffer) for buffer in buffers or ()])


def reply_id(content: Any) -> str | int | None:
    """The id to answer to, even where the rest of the message makes no sense."""
    identity = content.get("id") if isinstance(content, Mapping) else None
    return identity if isinstance(identity, str | int) and not isinstance(identity, bool) else None


def _identity(value: Any, name: str) -> str | int:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Refusal(f"{name} must be a number or a text, not {_kind(value)}.")
    return value


def _kind(value: Any) -> str:
    words = {type(None): "null", bool: "true or false", list: "a list", dict: "an object", str: "a text"}
    return words.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)
