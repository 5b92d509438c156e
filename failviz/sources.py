"""Sources: show example i, lazily, whatever it is stored in.

A source has `kind` ("image" or "text"), a length, `image(i)` or `text(i)`, and `take(rows)`.
`as_source` makes one of an image array, a list of image files, a torchvision or Hugging Face
style data set, a list of texts, a dataframe, or something you wrote with a `kind`, a length and `image` or `text`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from failviz import _checks
from failviz._frames import is_dataframe
from failviz._pixels import CHANNELS, UnreadableExample, to_image

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
FEW_LEVELS = 64
"""Largest number up to which an array that is not of bytes holds images of few levels, not dark pixels."""
IMAGE_COLUMNS = ("image", "img", "pixel_values", "x")
LONGEST_FACT = 200
MOST_FACTS = 60
TEXT_COLUMNS = ("text", "sentence", "content", "review")


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

    def image(self, row: int, *, exact: bool = False) -> Image:
        """PIL image (RGB) of example `row`, for showing or, with `exact`, for measuring.

        Parameters
        ----------
        row : int
            0 to len - 1.
        exact : bool, default False
            Refuse an image that can only be shown by stretching its values, see `to_image`.

        Raises
        ------
        UnreadableExample
            When it cannot be had.
        """
        stored = self._stored(row)
        try:
            return to_image(self._image(stored) if exact else self._shown(stored), exact=exact)
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

    def _image(self, stored: int) -> Any:
        """What `to_image` takes: a PIL image, an array or a tensor."""
        raise TypeError(f"a {type(self).__name__} has no images")

    def _shown(self, stored: int) -> Any:
        """The same for eyes, not for measuring."""
        return self._image(stored)

    def _text(self, stored: int) -> str:
        raise TypeError(f"a {type(self).__name__} has no texts")


class ImageArray(Source):
    """Images in one array: pixels 0..255 or float in [0, 1], (n, h, w), (n, h, w, 1|3|4) or (n, 1|3, h, w).

    Where no number is above 64, and some are above 1, the largest is shown as white: the digits of scikit-learn run
    from 0 to 16, and would look black. (It is looked up in some 256 images; what is measured stays as it is.)
    """

    def __init__(self, images: np.ndarray):
        if images.ndim not in (3, 4):
            raise ValueError(f"an image array has shape (n, h, w) or (n, h, w, channels), not {images.shape}.")
        super().__init__(len(images))
        self._images = images
        self._white = _white(images[:: max(1, len(images) // 256)])

    def _image(self, stored: int) -> Any:
        return self._images[stored]

    def _shown(self, stored: int) -> Any:
        image = self._images[stored]
        return image if self._white is None else np.minimum(image / self._white, 1.0)


def _white(images: np.ndarray) -> float | None:
    """What is white in images of few levels; None where 255, or 1, is."""
    if images.dtype.kind not in "iuf" or images.size == 0:
        return None
    low, high = float(images.min()), float(images.max())
    return high if low >= 0 and 1 < high <= FEW_LEVELS and images.dtype != np.uint8 else None


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

    def _image(self, stored: int) -> Any:
        return _field(self._dataset[stored], self._column, IMAGE_COLUMNS)

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
        return str(item if isinstance(item, str) else _field(item, self._column, TEXT_COLUMNS))


class TableRows(Source):
    """Rows of a dataframe as texts, a line for each of the first columns: "age 54", "smokes True". It is not copied."""

    kind = "text"
    unit = "rows"

    def __init__(self, frame: Any):
        super().__init__(len(frame))
        self._frame = frame

    def _text(self, stored: int) -> str:
        facts = []
        for number, name in enumerate(self._frame.columns[:MOST_FACTS]):
            column = self._frame.iloc[:, number] if hasattr(self._frame, "iloc") else self._frame[name]
            facts.append(f"{name} {in_words(column.iloc[stored] if hasattr(column, 'iloc') else column[stored])}")
        return "\n".join(facts + ["…"] * (len(self._frame.columns) > MOST_FACTS))


def in_words(value: Any) -> str:
    """One fact of a table for eyes, on one line: numbers to six digits, long texts cut."""
    if _checks.is_missing(value):
        return "missing"
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    text = " ".join(str(value).split())
    return text if len(text) <= LONGEST_FACT else text[: LONGEST_FACT - 1] + "…"


class Shown(Source):
    """Whatever a function returns for example i: an image (PIL, array, tensor) or a string."""

    def __init__(self, show: Callable[[int], Any], n: int, kind: str = "image"):
        if kind not in ("image", "text"):
            raise ValueError(f"kind must be 'image' or 'text', not {kind!r}.")
        super().__init__(n)
        self._show, self.kind = show, kind

    def _image(self, stored: int) -> Any:
        return self._show(stored)

    def _text(self, stored: int) -> str:
        return str(self._show(stored))


def as_source(thing: Any) -> Source:
    """Make a source of almost anything that holds examples.

    Accepts a Source (or anything with a `kind`, a length and the method `image` or `text`), an image
    array, image paths, a folder, strings, a dataframe (pandas, polars), a data set with an `images`
    array, any map-style data set of images or texts. In dict items images come before texts, and
    columns with a usual name (`IMAGE_COLUMNS`, `TEXT_COLUMNS`) before others.

    Raises
    ------
    TypeError
        When nothing in it can be shown; `Shown(function, n)` takes a function instead.
    ValueError
        When it is empty.
    FileNotFoundError
        When it is the path of a folder, and there is none.
    """
    if isinstance(thing, Source):
        return thing
    kind = _attribute(thing, "kind")
    if isinstance(kind, str) and kind in ("image", "text") and callable(show := _attribute(thing, kind)):
        return Shown(show, len(thing), kind)
    thing = _checks.to_numpy(thing)
    if _is_image_array(thing):
        return ImageArray(thing)
    if isinstance(thing, os.PathLike) or (isinstance(thing, str) and os.path.isdir(thing)):
        return ImageFiles.folder(thing)
    if not (hasattr(thing, "__len__") and hasattr(thing, "__getitem__")) or isinstance(thing, str):
        raise _unshowable(thing, "give images, files, texts, a map-style data set, or sources.Shown(function, n).")
    if hasattr(thing, "iloc") and not hasattr(thing, "columns"):  # a pandas Series goes by position, not by index
        thing = list(thing)
    if is_dataframe(thing) and len(thing) > 0:
        return TableRows(thing)
    try:
        n = len(thing)
    except Exception as error:
        raise _unshowable(thing, f"its length fails: {_reason(error)}") from error
    if n == 0:
        raise ValueError("the source is empty.")
    images = _attribute(thing, "images")
    if _is_image_array(images) and len(images) == n:
        return ImageArray(images)
    return _by_first_item(thing)


def _by_first_item(thing: Any) -> Source:
    try:
        item = thing[0]
        if isinstance(item, os.PathLike) or (_is_text(item) and Path(item).suffix.lower() in IMAGE_SUFFIXES):
            return ImageFiles([thing[i] for i in range(len(thing))])
    except Exception as error:
        if hasattr(thing, "samples"):  # an image folder whose first file is broken is still an image folder
            return DatasetImages(thing)
        raise _unshowable(thing, f"its items cannot be read: {_reason(error)}") from error
    if isinstance(item, dict):
        for usual, fits, source in ((IMAGE_COLUMNS, _is_image, DatasetImages), (TEXT_COLUMNS, _is_text, Texts)):
            column = next((name for name in (*usual, *item) if name in item and fits(item[name])), None)
            if column is not None:
                return source(thing, column)
    else:
        first = item[0] if isinstance(item, tuple | list) and item else item
        if _is_text(first):
            return Texts(thing)
        if _is_image(first):
            return DatasetImages(thing)
    raise _unshowable(thing, "its items hold no image and no text; pass sources.Shown(function, n) to say how.")


def _unshowable(thing: Any, why: str) -> TypeError:
    return TypeError(f"cannot show examples from a {type(thing).__name__}: {why}")


def _attribute(thing: Any, name: str) -> Any:
    try:
        return getattr(thing, name, None)
    except Exception:  # a property that fails is as good as none: the items may still be shown
        return None


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_image(value: Any) -> bool:
    """A PIL image, or an array or tensor of the shape of one."""
    shape = getattr(value, "shape", None)
    if hasattr(value, "convert") or not isinstance(shape, tuple) or not all(shape):
        return hasattr(value, "convert")
    if len(shape) == 2:
        return min(shape) > 1
    return len(shape) == 3 and (shape[0] in CHANNELS or shape[2] in CHANNELS)


def _is_image_array(value: Any) -> TypeGuard[np.ndarray]:
    return isinstance(value, np.ndarray) and value.dtype.kind in "uif" and value.ndim in (3, 4) and len(value) > 0


def _field(item: Any, column: str | None, usual: tuple[str, ...]) -> Any:
    if isinstance(item, dict):
        for name in (column,) if column is not None else usual:
            if name in item:
                return item[name]
        raise KeyError(f"no column {column or ' or '.join(usual)} among {', '.join(map(str, item))}")
    return item[0] if isinstance(item, tuple | list) else item


def _reason(error: Exception) -> str:
    """One line; our own sentences need no type in front."""
    said = " ".join(str(error).split())
    if isinstance(error, UnreadableExample):
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
