"""One progress bar for the whole library: notebooks get a widget, terminals a line, tests nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """Where long work stands, for `on_progress`: in words, and as a share in [0, 1] where that is known."""

    words: str
    share: float | None = None
    loss: float | None = None
    validation_loss: float | None = None


_HERE = threading.local()


@contextmanager
def without_bars() -> Iterator[None]:
    """Within it this thread shows no bars: what runs there has a progress display of its own."""
    before, _HERE.is_quiet = getattr(_HERE, "is_quiet", False), True
    try:
        yield
    finally:
        _HERE.is_quiet = before


def progress(
    iterable: Iterable[T], *, total: int | None = None, desc: str | None = None, enabled: bool = True
) -> Iterable[T]:
    """Wrap `iterable` in a tqdm bar that appears only when the work takes over half a second.

    The bar stays when it is done: a notebook that is reloaded shows an error in place of one that was removed.
    """
    if not enabled or getattr(_HERE, "is_quiet", False):
        return iterable
    from tqdm.auto import tqdm

    return tqdm(iterable, total=total, desc=desc, delay=0.5)
