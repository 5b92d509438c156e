"""One progress bar for the whole library: notebooks get a widget, terminals a line, tests nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def progress(
    iterable: Iterable[T], *, total: int | None = None, desc: str | None = None, enabled: bool = True
) -> Iterable[T]:
    """Wrap `iterable` in a tqdm bar that appears only when the work takes over half a second.

    The bar stays when it is done: a notebook that is reloaded shows an error in place of one that was removed.
    """
    if not enabled:
        return iterable
    from tqdm.auto import tqdm

    return tqdm(iterable, total=total, desc=desc, delay=0.5)
