"""Loops over independent pieces: `joblib.Parallel`, with one thread of BLAS and OpenMP per worker.

The person picks the engine and nothing else changes:

    with joblib.parallel_config(backend="loky", n_jobs=8):   # or "dask", "ray"
        finder.fit(evaluation)
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits

from failviz._progress import progress as progress_bar

Result = TypeVar("Result")
_filters = threading.RLock()


def _unlocked() -> None:
    """A process forked while another thread held the lock would wait for ever."""
    global _filters
    _filters = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlocked)


def one_thread() -> AbstractContextManager:
    """Within it BLAS and OpenMP use one thread: several in each of several workers cost more than they give."""
    return threadpool_limits(limits=1)


@contextmanager
def ignoring(category: type[Warning]) -> Iterator[None]:
    """Within it no such warning is shown. One thread at a time: filters belong to the process, and two that put back
    what they found would leave one of their filters behind."""
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore", category)
        yield


def parallel_map(
    function: Callable[..., Result], arguments: Iterable[tuple], *, desc: str | None = None, progress: bool = True
) -> list[Result]:
    """`[function(*piece) for piece in arguments]`, on the engine set by `joblib.parallel_config`.

    Sequential unless an engine was chosen. Results come in the order of `arguments`. Large arrays
    among the arguments are shared with the workers as memory maps, not copied per piece. The limit
    of threads holds only while this runs.
    """
    pieces = list(arguments)
    home = os.getpid()
    parallel = Parallel()
    # Limited here for the sequential and threaded engines, and again by each worker that is another process.
    with one_thread():
        calls = (delayed(_with_one_thread)(home, function, piece) for piece in pieces)
        if parallel.n_jobs == 1:  # one by one, so that the bar moves as pieces finish
            calls = progress_bar(calls, total=len(pieces), desc=desc, enabled=progress)  # type: ignore[assignment]
        return list(parallel(calls))


def _with_one_thread(home: int, function: Callable[..., Result], piece: tuple[Any, ...]) -> Result:
    with one_thread() if os.getpid() != home else nullcontext():
        return function(*piece)
