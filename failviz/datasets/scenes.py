"""Fashion scenes as data sets: four splits of photographs of clothes, with attributes, captions and blind spots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from .attributes import ATTRIBUTES, BLIND_SPOTS, CLASS_NAMES, BlindSpot, describe_scenes
from .items import Items, load_items
from .rendering import render_scenes
from .splits import N_SCENES, Recipe, draw_recipe

if TYPE_CHECKING:
    import pandas as pd


class SceneSplit:
    """One split of the fashion scenes: a map-style data set, ready for a torch DataLoader.

    ``split[i]`` is ``(image, label)``: a float32 tensor (3, 64, 64) in [0, 1] and an int (the label as given). All
    arrays are read-only. Pictures are rendered on first use and kept.

    Parameters
    ----------
    items : Items
        What the scenes show.
    recipe : Recipe
        How they show it.
    """

    def __init__(self, items: Items, recipe: Recipe) -> None:
        self._items = items
        self._recipe = recipe
        self.class_names = list(CLASS_NAMES)

    def __len__(self) -> int:
        return len(self._recipe.labels)

    def __getitem__(self, i: int) -> tuple[Any, int]:
        import torch

        image = self.images[i].transpose(2, 0, 1).astype(np.float32, order="C")
        image *= np.float32(1 / 255)
        return torch.from_numpy(image), int(self.labels[i])

    def __repr__(self) -> str:
        return f"SceneSplit({len(self)} scenes of {len(self.class_names)} classes)"

    @cached_property
    def images(self) -> np.ndarray:
        """Photographs, uint8 (n, 64, 64, 3)."""
        pictures = render_scenes(self._items, self._recipe)
        pictures.setflags(write=False)
        return pictures

    def render(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Photographs of some rows, uint8 (len(rows), 64, 64, 3), without rendering the others."""
        return render_scenes(self._items, self._recipe, np.asarray(rows, dtype=np.int64))

    def take(self, rows: Sequence[int] | np.ndarray) -> SceneSplit:
        """Some of the scenes, in the order given, as a split of its own."""
        chosen = np.asarray(rows, dtype=np.int64)
        arrays = {name: getattr(self._recipe, name)[chosen] for name in self._recipe.__dataclass_fields__}
        for array in arrays.values():
            array.setflags(write=False)
        return SceneSplit(self._items, Recipe(**arrays))

    @property
    def labels(self) -> np.ndarray:
        """Labels as given, int64 (n,); partly wrong in train and pool."""
        return self._recipe.labels

    @property
    def true_labels(self) -> np.ndarray:
        """What the scenes really show, int64 (n,)."""
        return self._recipe.true_labels

    @property
    def blind_spot(self) -> np.ndarray:
        """Position in `BLIND_SPOTS` of the blind spot that each scene lies in, int64 (n,), -1 = none."""
        return self._recipe.blind_spot

    @property
    def item_rows(self) -> np.ndarray:
        """Which Fashion-MNIST item each scene shows, int64 (n,); items are shared within a split, never across."""
        return self._recipe.item_rows

    @property
    def metadata(self) -> pd.DataFrame:
        """The attributes of every scene, one text column each: background, colour, size and so on."""
        import pandas as pd

        values = zip(ATTRIBUTES.items(), self._recipe.codes.T, strict=True)
        return pd.DataFrame({name: np.array(words, dtype=object)[codes] for (name, words), codes in values})

    @cached_property
    def captions(self) -> list[str]:
        """One sentence per scene, naming its true class and attributes."""
        return describe_scenes(self.true_labels, self._recipe.codes)


@dataclass(frozen=True)
class FashionScenes:
    """The four splits. No Fashion-MNIST item occurs in two of them.

    Train (14,000 scenes) is biased and partly mislabelled. Validation and test (4,000 each) are clean and unbiased,
    but for a few more scenes in the blind spots. Pool (20,000) holds every combination, with weak labels.
    """

    train: SceneSplit
    val: SceneSplit
    test: SceneSplit
    pool: SceneSplit
    class_names: list[str]


def load_fashion_scenes(*, blind_spots: Sequence[BlindSpot] = BLIND_SPOTS, seed: int = 0) -> FashionScenes:
    """Scenes to learn error analysis on: the truth about what a classifier gets wrong is known.

    Parameters
    ----------
    blind_spots : sequence of BlindSpot
        What train teaches wrongly; by default the seven that the shipped classifier has.
    seed : int
        Other seeds draw other scenes of the same items, for experiments over many data sets.

    Returns
    -------
    FashionScenes

    Raises
    ------
    ValueError
        If the shipped items are missing or corrupt.

    Examples
    --------
    >>> scenes = load_fashion_scenes()
    >>> len(scenes.train), len(scenes.val), len(scenes.test), len(scenes.pool)
    (14000, 4000, 4000, 20000)
    >>> scenes.val.metadata.columns.tolist()
    ['background', 'colour', 'size', 'orientation', 'lighting', 'blur']
    """
    items = load_items()
    splits = {
        name: SceneSplit(items, draw_recipe(name, items.labels, blind_spots=blind_spots, seed=seed))
        for name in N_SCENES
    }
    return FashionScenes(**splits, class_names=list(CLASS_NAMES))
