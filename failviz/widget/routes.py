"""How the retraining code of a person runs: a function in a thread of its own, or a notebook cell, there or here.

What the code prints is captured by thread, because redirecting `sys.stdout` would take other cells' output with it.
"""

from __future__ import annotations

import ast
import linecache
import signal
import symtable
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Route:
    """What the Retrain button runs.

    Attributes
    ----------
    kind : {"function", "cell"}
    name : str
        As the person knows it.
    call : function (plan, context, is_control) -> result
        Returns an Evaluation of the new model, or (model, Evaluation).
    on_main : bool
        Run on the kernel's main thread, where other cells have to wait for it.
    """

    kind: str
    name: str
    call: Callable[[Any, Any, bool], Any]
    on_main: bool = False


def function_route(function: Callable[[Any, Any], Any], *, on_main: bool = False) -> Route:
    """Run `function(plan, ctx)`."""
    if not callable(function):
        raise TypeError(f"on_retrain takes a function of (plan, ctx), not {type(function).__name__}.")
    name = getattr(function, "__name__", type(function).__name__)
    return Route("function", name, lambda plan, context, is_control: function(plan, context), on_main)


def cell_route(source: str, name: str, shell: Any, *, on_main: bool = False) -> Route:
    """Run the source of a cell with `plan` and `ctx` among the names of the notebook.

    The value of its last expression is the result. Functions of other cells that the cell calls see the same `plan`
    and `ctx`. Afterwards both are what they were before, and what a control arm assigned is taken back, so that the
    notebook holds what the plan itself made.

    Raises
    ------
    SyntaxError
        As the cell has it.
    """
    source, where = shell.transform_cell(source), f"<retraining cell {name}>"
    lines = source.splitlines(keepends=True)
    linecache.cache[where] = (len(source), None, lines, where)  # so that errors show its lines
    tree = ast.parse(source, filename=where)
    if not tree.body or not isinstance(tree.body[-1], ast.Expr):
        raise ValueError(
            "a retraining cell must end in its result: the Evaluation of the new model, or model, evaluation."
        )
    last = compile(ast.Expression(tree.body[-1].value), where, "eval")  # type: ignore[attr-defined]
    assigned = [
        symbol.get_name()
        for symbol in symtable.symtable(source, where, "exec").get_symbols()
        if symbol.is_assigned() or symbol.is_imported()
    ]
    body = compile(ast.Module(tree.body[:-1], type_ignores=[]), where, "exec")

    def call(plan: Any, context: Any, is_control: bool) -> Any:
        names = shell.user_ns
        before = dict(names)
        names.update(plan=plan, ctx=context)
        try:
            # The person's own cell, in the person's own names, as the kernel itself runs it: nothing else comes here.
            exec(body, names)
            return eval(last, names)
        finally:
            for name in ["plan", "ctx", *(assigned if is_control else ())]:
                if name in before:
                    names[name] = before[name]
                else:
                    names.pop(name, None)

    return Route("cell", name, call, on_main)


class _ByThread:
    """Stands in for `sys.stdout`: hands what one thread writes to a function, the rest to the stream it replaces."""

    def __init__(self, stream: Any, thread: int, hear: Callable[[str], None], also_shown: bool):
        self._stream, self._hear, self._also_shown = stream, hear, also_shown
        self._thread: int | None = thread

    def leave(self) -> None:
        """Hear nothing any more."""
        self._thread = None

    def write(self, text: str) -> int:
        if threading.get_ident() != self._thread:
            return self._stream.write(text)
        self._hear(text)
        return self._stream.write(text) if self._also_shown else len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def printing_to(hear: Callable[[str], None], *, also_shown: bool) -> Iterator[None]:
    """What this thread prints goes to `hear`, and only with `also_shown` to the screen as well."""
    stand_ins = {
        name: _ByThread(getattr(sys, name), threading.get_ident(), hear, also_shown) for name in ("stdout", "stderr")
    }
    for name, stand_in in stand_ins.items():
        setattr(sys, name, stand_in)
    try:
        yield
    finally:
        for name, stand_in in stand_ins.items():
            stand_in.leave()  # another run may have put its own on top, which keeps this one in place
            if getattr(sys, name) is stand_in:
                setattr(sys, name, stand_in._stream)


def start(job: Callable[[], None], *, on_main: bool) -> None:
    """Begin a job and return: in a thread of its own, or on the main thread as soon as it is free."""
    if on_main and (loop := _main_loop()) is not None:
        loop.add_callback(lambda: _interruptible(job))
    else:
        threading.Thread(target=job, name="failviz-run", daemon=True).start()


def _interruptible(job: Callable[[], None]) -> None:
    """Let the kernel's Interrupt reach a job that is no cell: outside of cells ipykernel ignores the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        job()
    except KeyboardInterrupt:  # a second one, while the first was being written down
        pass
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def on_interrupt(react: Callable[[], None]) -> Iterator[None]:
    """Within it the kernel's Interrupt calls `react` while no cell runs (a cell that runs takes it, as always).

    For jobs in a thread, which the signal does not reach. Only the main thread may set a handler, so this asks it to.
    """
    loop = _main_loop()
    if loop is None or threading.current_thread() is threading.main_thread():
        yield
        return
    before: list[Any] = []

    def handler(number: int, frame: Any) -> None:
        react()

    def install() -> None:
        before.append(signal.signal(signal.SIGINT, handler))

    def restore() -> None:
        if before and signal.getsignal(signal.SIGINT) is handler:
            signal.signal(signal.SIGINT, before[0])

    loop.add_callback(install)
    try:
        yield
    finally:
        with suppress(RuntimeError):  # the loop is closed: the kernel is going down
            loop.add_callback(restore)


def _main_loop() -> Any:
    """The event loop of the kernel's main thread, or None outside a kernel."""
    kernelbase = sys.modules.get("ipykernel.kernelbase")
    if kernelbase is None or not kernelbase.Kernel.initialized():
        return None
    return getattr(kernelbase.Kernel.instance(), "io_loop", None)
