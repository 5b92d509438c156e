"""Sources: show example i, lazily, whatever it is stored in.

A source has `kind` ("image" or "text"), a length, `image(i)` or `text(i)`, and `take(rows)`.
`as_source` makes one of an image array, a list of image files, a torchvision or Hugging Face
style data set, a list of texts, or keeps one that you wrote.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})


class UnreadableExample(ValueError):
    """An example that cannot be shown; the message names it and says why."""


class Source:
    """Base of all sources: rows of an underlying store, read one at a time.

    Parameters
    ----------
    rows : int array or None
        Which items of the store, in which order; None = all.
    """

    kind = "image"

    def __init__(self, n_stored: int, rows: np.ndarray | None = None):
        self._n_stored = n_stored
        self._rows = rows

    def __len__(self) -> int:
        return self._n_stored if self._rows is None else len(self._rows)

    def take(self, rows: Sequence[int] | np.ndarray) -> Source:
        """The same store seen through these rows."""
        chosen = np.asarray(rows, dtype=np.int64)
        taken = object.__new__(type(self))
        taken.__dict__.update(self.__dict__)
        taken._rows = chosen if self._rows is None else self._rows[chosen]
        return taken

    def image(self, row: int) -> Image:
        """PIL image (RGB) of example `row`; raises UnreadableExample when it cannot be had."""
        stored = self._stored(row)
        try:
            return self._image(stored)
        except Exception as error:  # any decoder, any data set: named, never fatal
            raise UnreadableExample(f"cannot read {self._describe(stored)}: {_reason(error)}") from error

    def text(self, row: int) -> str:
        """Text of example `row`; raises UnreadableExample when it cannot be had."""
        stored = self._stored(row)
        try:
            return self._text(stored)
        except Exception as error:
            raise UnreadableExample(f"cannot read {self._describe(stored)}: {_reason(error)}") from error

    def _stored(self, row: int) -> int:
        if not 0 <= row < len(self):
            raise IndexError(f"example row {row} is outside 0 to {len(self) - 1}.")
        return int(row if self._rows is None else self._rows[row])

    def _describe(self, stored: int) -> str:
        return f"example {stored}"

    def _image(self, stored: int) -> Image:
        raise TypeError(f"a {type(self).__name__} has no images")

    def _text(self, stored: int) -> str:
        raise TypeError(f"a {type(self).__name__} has no texts")


class ImageArray(Source):
    """Images in one array: uint8 or float in [0, 1], (n, h, w), (n, h, w, 1|3|4) or (n, 1|3, h, w)."""

    def __init__(self, images: np.ndarray):
        if images.ndim not in (3, 4):
            raise ValueError(f"an image array has shape (n, h, w) or (n, h, w, channels), not {images.shape}.")
        super().__init__(len(images))
        self._images = images

    def _image(self, stored: int) -> Image:
        return to_image(self._images[stored])


class ImageFiles(Source):
    """Images in files, opened when they are shown."""

    def __init__(self, paths: Sequence[str | os.PathLike[str]]):
        super().__init__(len(paths))
        self._paths = [Path(path) for path in paths]

    @classmethod
    def folder(cls, root: str | os.PathLike[str]) -> ImageFiles:
        """All image files below a folder, sorted by path (as torchvision's ImageFolder does)."""
        root = Path(root)
        if not root.is_dir():
            raise FileNotFoundError(f"there is no folder {root}.")
        paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        if not paths:
            raise ValueError(f"{root} holds no image files ({', '.join(sorted(IMAGE_SUFFIXES))}).")
        return cls(paths)

    def _image(self, stored: int) -> Image:
        from PIL import Image

        with Image.open(self._paths[stored]) as image:
            return image.convert("RGB")

    def _describe(self, stored: int) -> str:
        return str(self._paths[stored])


class DatasetImages(Source):
    """Items of a map-style data set: (image, label) pairs or dicts; image = PIL, array or tensor.

    Normalised float tensors (values outside [0, 1]) are stretched to their own range for showing.
    """

    def __init__(self, dataset: Any, column: str | None = None):
        super().__init__(len(dataset))
        self._dataset, self._column = dataset, column

    def _image(self, stored: int) -> Image:
        return to_image(_field(self._dataset[stored], self._column, ("image", "img", "pixel_values", "x")))

    def _describe(self, stored: int) -> str:
        samples = getattr(self._dataset, "samples", None)  # torchvision's folders know their files
        return str(samples[stored][0]) if samples else f"example {stored}"


class Texts(Source):
    """Strings, or one text column of a map-style data set."""

    kind = "text"

    def __init__(self, texts: Any, column: str | None = None):
        super().__init__(len(texts))
        self._texts, self._column = texts, column

    def _text(self, stored: int) -> str:
        item = self._texts[stored]
        return str(item if isinstance(item, str) else _field(item, self._column, ("text", "sentence", "content")))


class Shown(Source):
    """Whatever a function returns for example i: an image (PIL, array, tensor) or a string."""

    def __init__(self, show: Callable[[int], Any], n: int, kind: str = "image"):
        if kind not in ("image", "text"):
            raise ValueError(f"kind must be 'image' or 'text', not {kind!r}.")
        super().__init__(n)
        self._show, self.kind = show, kind

    def _image(self, stored: int) -> Image:
        return to_image(self._show(stored))

    def _text(self, stored: int) -> str:
        return str(self._show(stored))


def as_source(thing: Any) -> Source:
    """Make a source of almost anything that holds examples.

    Accepts a Source (or anything with `kind`, `take`, a length and `image` or `text`), an image
    array, image paths, a folder, strings, a data set with an `images` array, any map-style data
    set of images or texts.

    Raises
    ------
    TypeError
        When nothing in it can be shown; `Shown(function, n)` takes a function instead.
    """
    if isinstance(thing, Source) or all(hasattr(thing, name) for name in ("kind", "take", "__len__")):
        return thing
    if hasattr(thing, "detach"):
        thing = thing.detach().cpu().numpy()
    if isinstance(thing, np.ndarray) and thing.dtype.kind in "uif":
        return ImageArray(thing)
    if isinstance(thing, os.PathLike) or (isinstance(thing, str) and os.path.isdir(thing)):
        return ImageFiles.folder(thing)
    if not (hasattr(thing, "__len__") and hasattr(thing, "__getitem__")) or isinstance(thing, str):
        raise TypeError(
            f"cannot show examples from a {type(thing).__name__}: give images, files, texts, a map-style data set, "
            "or sources.Shown(function, n)."
        )
    if len(thing) == 0:
        raise ValueError("the source is empty.")
    images = getattr(thing, "images", None)
    if isinstance(images, np.ndarray) and len(images) == len(thing):
        return ImageArray(images)
    return _by_first_item(thing)


def _by_first_item(thing: Any) -> Source:
    try:
        item = thing[0]
    except Exception as error:
        if hasattr(thing, "samples"):  # an image folder whose first file is broken is still an image folder
            return DatasetImages(thing)
        raise TypeError(f"cannot show examples from a {type(thing).__name__}: its item 0 fails: {error}") from error
    if isinstance(item, str | os.PathLike):
        if isinstance(item, os.PathLike) or Path(item).suffix.lower() in IMAGE_SUFFIXES:
            return ImageFiles(list(thing))
        return Texts(thing)
    if isinstance(item, dict):
        for column, value in item.items():
            if isinstance(value, str):
                return Texts(thing, column)
            if _is_image(value):
                return DatasetImages(thing, column)
    elif isinstance(item, str) or (isinstance(item, tuple | list) and item and isinstance(item[0], str)):
        return Texts(thing)
    elif _is_image(item[0] if isinstance(item, tuple | list) and item else item):
        return DatasetImages(thing)
    raise TypeError(
        f"cannot show examples from a {type(thing).__name__}: its items hold no image and no text; "
        "pass sources.Shown(function, n) to say how."
    )


def _is_image(value: Any) -> bool:
    shape = getattr(value, "shape", None)
    return hasattr(value, "convert") or (shape is not None and len(shape) in (2, 3) and min(shape) > 0)


def _field(item: Any, column: str | None, usual: tuple[str, ...]) -> Any:
    if isinstance(item, dict):
        for name in (column,) if column is not None else usual:
            if name in item:
                return item[name]
        raise KeyError(f"no column {column or ' or '.join(usual)} among {', '.join(map(str, item))}")
    return item[0] if isinstance(item, tuple | list) else item


def to_image(value: Any) -> Image:
    """PIL image (RGB) of a PIL image, an array or a tensor, channels first or last."""
    from PIL import Image

    if hasattr(value, "convert"):
        return value.convert("RGB")
    array = np.asarray(value.detach().cpu().numpy() if hasattr(value, "detach") else value)
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] not in (1, 3, 4):
        array = np.moveaxis(array, 0, -1)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ValueError(f"an array of shape {array.shape} is not an image")
    if array.dtype != np.uint8:
        array = array.astype(np.float32)
        if not np.isfinite(array).all():
            raise ValueError("the image has values that are not finite")
        low, high = float(array.min()), float(array.max())
        if low >= 0 and 1 < high <= 255:
            array = array / 255.0
        elif low < 0 or high > 255:
            array = (array - low) / max(high - low, 1e-12)
        array = (array * 255).round().astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(array)).convert("RGB")


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
