"""A small image and text encoder, independent of the model under study (after CLIP: Radford et al. 2021, 2103.00020).

Trained on the pool's pictures and captions with the symmetric InfoNCE loss (their section 2.3), so that its space
tells apart what captions name: items, colours, places, sizes, light. Departure from the paper: the text tower is a
mean of word vectors followed by a small network, because captions here are short and made of forty words.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from failviz._progress import progress as bar
from failviz.sources import Source, as_source

from .items import DATA, read_verified
from .scenes import SceneSplit

WIDTH = 96
SIDE = 64  # pixels of a picture
# fmt: off
WORDS = (
    "ankle", "bag", "black", "blue", "blurry", "boot", "brick", "brown", "close-up", "coat", "dark", "dress", "far",
    "front", "grass", "green", "pair", "pullover", "red", "sand", "sandal", "shirt", "sideways", "sneaker", "snow",
    "studio", "t-shirt", "trouser", "trousers", "turned", "wall", "water", "white", "yellow",
)
# fmt: on
"""Words the text tower knows; others, such as "a" and "photo", carry nothing."""
_FILLERS = {"a", "an", "the", "photo", "picture", "image", "of", "in", "on", "with", "and", "some"}


class SceneTowers(nn.Module):
    """The image tower, the text tower, and the temperature of their comparison; about 230,000 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.image_features = nn.Sequential(
            _stage(3, 24, kernel=5, stride=2),  # 32 x 32
            _stage(24, 48, kernel=3, stride=2),  # 16 x 16
            _stage(48, 96, kernel=3, stride=1),
            nn.MaxPool2d(2),  # 8 x 8
            _stage(96, 128, kernel=3, stride=1),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        )
        self.image_projection = nn.Linear(128 * 4, WIDTH)
        self.words = nn.EmbeddingBag(len(WORDS) + 1, 64, mode="mean", padding_idx=len(WORDS))
        self.text_projection = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, WIDTH))
        self.log_scale = nn.Parameter(torch.zeros(()))

    def image_vectors(self, images: Tensor) -> Tensor:
        """Unit vectors (n, 96) of images (n, 3, 64, 64) in [0, 1]."""
        centred = (images - 0.45) / 0.25
        return F.normalize(self.image_projection(self.image_features(centred)), dim=1)

    def text_vectors(self, tokens: Tensor) -> Tensor:
        """Unit vectors (m, 96) of word numbers (m, length), padded with len(WORDS)."""
        return F.normalize(self.text_projection(self.words(tokens)), dim=1)


class DemoEncoder:
    """Embeds scenes and sentences in one space, as CLIP does; `name` is what `evaluate` calls that space.

    Parameters
    ----------
    towers : SceneTowers
        In eval mode.
    """

    name = "scenes-clip"

    def __init__(self, towers: SceneTowers) -> None:
        self.towers = towers

    def encode_images(self, dataset: Any, batch_size: int = 256, progress: bool = False) -> np.ndarray:
        """Unit vectors of images, in order.

        Parameters
        ----------
        dataset : SceneSplit, ndarray of uint8 (n, h, w, 3), or anything `failviz.sources.as_source` shows
            Pictures of other sizes are resized to 64 x 64.
        batch_size : int, default 256
        progress : bool, default False
            Whether to show a progress bar.

        Returns
        -------
        ndarray of float32, shape (n, 96)
        """
        source = as_source(dataset.images if isinstance(dataset, SceneSplit) else dataset)
        vectors = np.empty((len(source), WIDTH), dtype=np.float32)
        with torch.inference_mode():
            for start in bar(range(0, len(source), batch_size), desc="encode images", enabled=progress):
                rows = range(start, min(start + batch_size, len(source)))
                pictures = np.stack([_pixels(source, row) for row in rows])
                images = torch.from_numpy(pictures.transpose(0, 3, 1, 2).astype(np.float32, order="C")) / 255
                vectors[rows.start : rows.stop] = self.towers.image_vectors(images).numpy()
        return vectors

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors of sentences; words it does not know are left out, with a warning where nothing else is said.

        Returns
        -------
        ndarray of float32, shape (m, 96)
        """
        if isinstance(texts, str):
            raise TypeError(f"encode_texts needs a list of sentences, and {texts!r} is one: write [{texts!r}].")
        said = [text for text in texts if _is_unheard(text)]
        if said:
            warnings.warn(
                f"the demo's encoder knows no word of {said[0]!r}, so it means nothing to it: it knows "
                f"{', '.join(WORDS)}.",
                stacklevel=2,
            )
        with torch.inference_mode():
            return self.towers.text_vectors(tokenize(texts)).numpy()


def _is_unheard(text: str) -> bool:
    """Whether a text has words, none of which is known, beyond those that every caption has."""
    words = set(re.findall(r"[a-z-]+", text.lower()))
    return bool(words - _FILLERS) and not words & set(WORDS)


def tokenize(texts: Sequence[str]) -> Tensor:
    """Word numbers of sentences: int64 (m, longest), padded with len(WORDS)."""
    numbers = {word: number for number, word in enumerate(WORDS)}
    known = [[numbers[word] for word in re.findall(r"[a-z-]+", text.lower()) if word in numbers] for text in texts]
    length = max([1, *map(len, known)])
    padded = [row + [len(WORDS)] * (length - len(row)) for row in known]
    return torch.tensor(padded, dtype=torch.int64).reshape(len(texts), length)


def _pixels(source: Source, row: int) -> np.ndarray:
    picture = source.image(row, exact=True).convert("RGB")
    return np.asarray(picture if picture.size == (SIDE, SIDE) else picture.resize((SIDE, SIDE)))


def _stage(n_in: int, n_out: int, *, kernel: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(n_in, n_out, kernel, stride=stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(n_out), nn.ReLU())


def load_demo_encoder() -> DemoEncoder:
    """The image and text encoder of the demo, trained on the pool, on the CPU.

    Returns
    -------
    DemoEncoder
        With ``encode_images(dataset) -> (n, 96)`` and ``encode_texts(list of str) -> (m, 96)``, float32 unit rows.

    Raises
    ------
    ValueError
        If the shipped weights are missing or corrupt.

    Examples
    --------
    >>> load_demo_encoder().encode_texts(["a photo of a red dress on brick"]).shape
    (1, 96)
    """
    from safetensors.torch import load

    with torch.device("meta"):
        towers = SceneTowers()
    towers.load_state_dict(load(read_verified(DATA / "encoder.safetensors")), assign=True)
    return DemoEncoder(towers.eval().to(memory_format=torch.channels_last))  # see `load_demo_classifier`
