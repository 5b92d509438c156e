"""Where each example stands on the map: PCA at once, a better layout when a background thread has it."""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from failviz.projection import EmbedInChild, layout, pca_layout, quantise, resolve

logger = logging.getLogger(__name__)

_NAMES = {"pca": "PCA", "umap": "UMAP", "tsne": "t-SNE"}
_ONE_AT_A_TIME = threading.Lock()
_FINISHED: dict[tuple[str, str], np.ndarray] = {}  # a cell that is run again need not wait again
_KEPT = 4


class Positions:
    """Positions as uint16, with the name of the method and a revision that grows when they change.

    The better layout is begun when positions are first asked for, that is, when somebody looks.

    Parameters
    ----------
    embeddings : array (n, d)
    how : "auto", "pca", "umap", "tsne" or array (n, 2)
    on_better : function
        Called, in the background thread, after the better layout has taken its place.
    identity : str
        What tells these embeddings from others: positions of the same are computed once.
    of : str
        What the person reads behind the name of the method, for instance " of clip".
    """

    def __init__(
        self, embeddings: np.ndarray, how: Any, on_better: Callable[[], None], *, identity: str = "", of: str = ""
    ):
        self._embeddings, self._on_better, self._identity, self._of = embeddings, on_better, identity, of
        self._lock = threading.Lock()
        self._points: np.ndarray | None = None
        self._child = EmbedInChild()
        self._thread: threading.Thread | None = None
        self._stopped = False
        self.revision, self.final, self.method = 0, True, "PCA" + of
        if isinstance(how, str):
            self._wanted = resolve(how)
            self.final = self._wanted == "pca" or len(embeddings) < 10
        else:
            given = np.asarray(how)
            if given.shape != (len(embeddings), 2) or given.dtype.kind not in "fiu":
                raise ValueError(
                    f"layout must be 'auto', 'pca', 'umap', 'tsne' or numbers of shape ({len(embeddings)}, 2), "
                    f"not {type(how).__name__} of shape {given.shape}."
                )
            self._points, self.method = quantise(given), "given"

    def current(self) -> tuple[np.ndarray, dict[str, Any]]:
        """Positions uint16 (n, 2) and {"n", "method", "final", "revision"} as of now."""
        with self._lock:
            if self._points is None:
                self._points, self.revision = quantise(pca_layout(self._embeddings)), 1
            if not self.final and self._thread is None:
                self._start()
            facts = {"n": len(self._points), "method": self.method, "final": self.final, "revision": self.revision}
            return self._points, facts

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._improve, name="failviz-layout", daemon=True)
        atexit.register(self.stop)
        try:
            self._thread.start()
        except RuntimeError:  # no threads here (WebAssembly): the PCA map stays
            self.final = True

    def _improve(self) -> None:
        better, method = None, self.method  # PCA stays when the better one fails
        try:
            with _ONE_AT_A_TIME:  # two would take more than twice as long, and may be the same
                better, method = self._computed(), _NAMES[self._wanted] + self._of
        except Exception as error:
            method += f" (the better map failed: {_reason(error)})"
            if not self._stopped:
                logger.warning("%s", error)
        with self._lock:
            if self._stopped:
                return
            self._points, self.method = (self._points if better is None else better), method
            self.revision += 1
            self.final = True
        self._on_better()

    def _computed(self) -> np.ndarray | None:
        key = (self._identity, self._wanted)
        if key not in _FINISHED or not self._identity:
            if self._stopped:
                return None
            placed = quantise(layout(self._embeddings, self._wanted, embed=self._child))
            if not self._identity:
                return placed
            while len(_FINISHED) >= _KEPT:
                _FINISHED.pop(next(iter(_FINISHED)))
            _FINISHED[key] = placed
        return _FINISHED[key]

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the better layout, as a script that saves a picture does; False when it is not there yet."""
        self.current()
        if self._thread is not None:
            self._thread.join(timeout)
        return self.final

    def stop(self) -> None:
        """Give up the better layout."""
        self._stopped = True
        self._child.stop()
        atexit.unregister(self.stop)


def _reason(error: Exception) -> str:
    """The heart of the message of EmbedInChild, or of any other."""
    text = str(error) or type(error).__name__
    return text.removeprefix("the layout could not be computed (").removesuffix("): the PCA map stays.")[:120]
