"""Answer requests: run the command, and turn whatever happens into one reply that a person can read."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

from failviz.widget.protocol import SLOW, WITH_BUFFERS, Cancelled, Refusal, Request, read_request, reply_id

logger = logging.getLogger(__name__)

Send = Callable[[dict[str, Any], list[bytes]], None]


class Dispatcher:
    """Run requests from any thread and send one reply to each; nothing ever escapes.

    Slow commands run in one worker thread where the host's messages may be sent from any thread
    (ipykernel), so that a cancellation can overtake them; elsewhere they run at once.

    Parameters
    ----------
    handlers : dict of {command: function}
        Called with the checked args; slow ones also with `should_stop`, a function that says
        whether the answer is still wanted. They return a dict, or (dict, list of bytes).
    send : function of (content, buffers)
    threaded : function, optional
        Says whether a worker thread may be used; default: whether this is an IPython kernel.
    """

    def __init__(
        self, handlers: Mapping[str, Callable[..., Any]], send: Send, threaded: Callable[[], bool] | None = None
    ):
        self._handlers = dict(handlers)
        self._send = send
        self._threaded = threaded or in_ipykernel
        self._lock = threading.Lock()
        self._worker: ThreadPoolExecutor | None = None
        self._running: dict[str | int, tuple[threading.Event, Future[None] | None]] = {}
        self._closed = False

    def handle(self, content: Any, buffers: Sequence[Any] | None = ()) -> None:
        """Answer one message from the browser."""
        try:
            request = read_request(content, buffers)
        except Exception as error:
            identity = reply_id(content)
            if identity is None:
                logger.warning("a message that is no request was ignored: %s", error)
            else:
                self._reply(identity, error=sentence(error))
            return
        if request.command == "cancel":
            self._cancel(request.args["target"])
        elif request.command in SLOW and self._threaded():
            self._answer_beside(request)
        else:
            self._answer(request, threading.Event())

    def close(self) -> None:
        """Stop what is running and take no more."""
        with self._lock:
            self._closed = True
            for stop, _ in self._running.values():
                stop.set()
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.shutdown(wait=False, cancel_futures=True)

    def _answer_beside(self, request: Request) -> None:
        stop = threading.Event()
        with self._lock:
            if self._closed:
                return
            if self._worker is None:
                self._worker = ThreadPoolExecutor(1, thread_name_prefix="failviz-requests")
            future = self._worker.submit(self._answer, request, stop)
            self._running[request.id] = (stop, future)
        future.add_done_callback(lambda _: self._running.pop(request.id, None))

    def _cancel(self, target: str | int) -> None:
        """Drop a request: one that has not begun is answered here, one that runs answers for itself."""
        stop, future = self._running.get(target, (None, None))
        if stop is not None:
            stop.set()
            if future is not None and future.cancel():
                self._reply(target, error="cancelled")

    def _answer(self, request: Request, stop: threading.Event) -> None:
        args = dict(request.args)
        if request.command in WITH_BUFFERS:
            args["buffers"] = request.buffers
        if request.command in SLOW:
            args["should_stop"] = stop.is_set
        try:
            answer = self._handlers[request.command](**args)
        except Cancelled:
            self._reply(request.id, error="cancelled")
        except (Exception, KeyboardInterrupt) as error:
            self._reply(request.id, error=sentence(error))
        else:
            result, buffers = answer if isinstance(answer, tuple) else (answer, [])
            self._reply(request.id, result=result, buffers=buffers)

    def _reply(
        self,
        identity: str | int,
        *,
        result: dict[str, Any] | None = None,
        error: str | None = None,
        buffers: Sequence[bytes] = (),
    ) -> None:
        content = {"id": identity, "result": result} if error is None else {"id": identity, "error": {"message": error}}
        try:
            self._send(content, list(buffers))
        except Exception:
            logger.exception("the reply to request %s could not be sent", identity)


def sentence(error: BaseException) -> str:
    """What the person reads: our own refusals as they are, anything unexpected by its name, and logged."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    expected = isinstance(error, Refusal) or (
        isinstance(error, ValueError | TypeError | OSError) and _raised_here(error.__traceback__)
    )
    if expected and str(error):
        return str(error)
    logger.error("a request failed", exc_info=error)
    return f"{type(error).__name__}: {error}"


def _raised_here(traceback: TracebackType | None) -> bool:
    """Whether failviz itself raised it: then its message was written for a person."""
    if traceback is None:
        return False
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return str(traceback.tb_frame.f_globals.get("__name__", "")).split(".")[0] == "failviz"


def in_ipykernel() -> bool:
    """True in a kernel whose messages may be sent from any thread (they go through its IOPub thread)."""
    kernelbase = sys.modules.get("ipykernel.kernelbase")
    return kernelbase is not None and bool(kernelbase.Kernel.initialized())
