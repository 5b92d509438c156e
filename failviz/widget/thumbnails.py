"""Small pictures of examples: encoded once, on request, kept while there is room."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

from PIL import Image, features

from failviz.evaluation import Evaluation
from failviz.sources import TableRows, UnreadableExample
from failviz.widget.protocol import MOST_ROWS, REPLY_BYTES, Cancelled, Refusal, Reply

_ROOM = 64 << 20  # bytes of encoded pictures
_LONGEST_TEXT = 600
_FULL = "not sent: this reply has reached its limit of 7 MB, ask for fewer at a time"


def shown_by(evaluation: Evaluation | None) -> Any:
    """The source that shows the examples; where there is none their metadata, if any."""
    if evaluation is None or evaluation.source is not None or evaluation.metadata is None:
        return getattr(evaluation, "source", None)
    return TableRows(evaluation.metadata)


class Thumbnails:
    """Encode examples of a source as WebP (PNG where Pillow has no WebP) and remember the last ones.

    Parameters
    ----------
    source : a source (see `failviz.sources`) or None
    n : int
        Number of examples.
    room : int
        Bytes of encoded pictures to keep.
    """

    def __init__(self, source: Any, n: int, room: int = _ROOM):
        self._source, self._n, self._room = source, n, room
        self.kind = None if source is None else str(source.kind)
        self._kept: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self.format = "WEBP" if features.check("webp") else "PNG"

    def reply(self, rows: Sequence[int], size: int, should_stop: Callable[[], bool] = lambda: False) -> Reply:
        """The answer to "thumbnails": what cannot be shown carries a sentence instead of a picture."""
        if len(rows) > MOST_ROWS:
            raise Refusal(f"rows has {len(rows):,} entries, and {MOST_ROWS} is the limit: ask for fewer at a time.")
        for row in rows:
            if not 0 <= row < self._n:
                raise Refusal(f"there is no row {row}: rows run from 0 to {self._n - 1}.")
        items: list[dict[str, Any]] = []
        buffers: list[bytes] = []
        total = 0
        for row in rows:
            if should_stop():
                raise Cancelled
            item: dict[str, Any] = {"row": int(row), "mime": None, "buffer": None, "text": None, "error": None}
            try:
                if self._source is None:
                    item["error"] = "nothing to show: this Evaluation was built without a source"
                elif self.kind == "text":
                    item["text"] = _shortened(self._source.text(row))
                else:
                    encoded = self.encoded(row, size)
                    if total + len(encoded) > REPLY_BYTES - 1_000_000:
                        item["error"] = _FULL
                    else:
                        item.update(mime=f"image/{self.format.lower()}", buffer=len(buffers))
                        buffers.append(encoded)
                        total += len(encoded)
            except UnreadableExample as error:
                item["error"] = str(error)
            except Exception as error:  # a source written by the user may raise anything
                item["error"] = f"cannot show example {row}: {type(error).__name__}: {error}"
            items.append(item)
        return {"items": items}, buffers

    def encoded(self, row: int, size: int) -> bytes:
        """The picture of one example, at most `size` pixels on its longer side, never enlarged."""
        key = (int(row), int(size))
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        image = self._source.image(int(row)).convert("RGB")
        image.thumbnail((size, size), Image.Resampling.BOX if max(image.size) > 4 * size else Image.Resampling.LANCZOS)
        out = BytesIO()
        if self.format == "WEBP":
            # Pictures this small are enlarged on the screen, where lossy blocks would show.
            image.save(out, "WEBP", quality=80, method=2, lossless=max(image.size) <= 32)
        else:
            image.save(out, self.format)
        encoded = out.getvalue()
        with self._lock:
            if key not in self._kept and len(encoded) <= self._room:
                self._kept[key] = encoded
                self._bytes += len(encoded)
            while self._bytes > self._room:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return encoded


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1].rstrip() + "…"
