"""Scenes on which a classifier trained here has blind spots of its own, for the benchmark of discovery.

After SpotCheck (Plumb et al. 2022, arXiv 2207.04104), on the demo data: every trial draws its own blind spots, scenes
and weights, so that no method is judged on the one classifier that ships. Training takes minutes; weights and
evaluations are kept in a folder and opened the next time. A drawn spot in which the trained classifier does not fail
clearly more often than elsewhere in its class is no blind spot, and is not counted.

Finders get the validation scenes and are judged on the test scenes. They see embeddings and outcomes, not the
attributes of the scenes, from which the blind spots are made: whoever has those needs no discovery.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import failviz
from failviz import datasets
from failviz.datasets.attributes import ATTRIBUTES, CLASS_NAMES, BlindSpot
from failviz.datasets.items import load_items
from failviz.datasets.scenes import SceneSplit
from failviz.datasets.splits import CONFUSABLE, draw_recipe
from failviz.evaluation import Evaluation

DEVELOPMENT_SEEDS = range(5)
REPORT_SEEDS = range(1011, 1021)  # 1000 to 1010 have been looked at
SPACES = ("scenes-clip", "hidden")
"""What finders look at: the encoder of the demo, and the model's own last layer."""

N_EPOCHS = 8
N_SPOTS = (5, 8)  # at least, fewer than
VALUES = (
    *(("background", value) for value in ATTRIBUTES["background"]),
    *(("colour", value) for value in ATTRIBUTES["colour"]),
    ("size", "far away"),
    ("orientation", "turned"),
    ("lighting", "dark"),
    ("blur", "blurred"),
)
GAP, RATIO = 0.15, 2.0


@dataclass(frozen=True)
class Trial:
    """One classifier: `fit` and `test` of 4,000 scenes, `fresh` of 20,000, and its blind spots in test."""

    fit: Evaluation
    test: Evaluation
    fresh: Evaluation
    spots: tuple[np.ndarray, ...]
    names: tuple[str, ...]


def draw_blind_spots(seed: int) -> list[BlindSpot]:
    """Five to seven, in as many classes: mostly one attribute, sometimes two; rare in training, or mislabelled."""
    rng = np.random.default_rng([20220709, seed])
    spots = []
    for label in rng.permutation(len(CLASS_NAMES))[: rng.integers(*N_SPOTS)]:
        chosen = {VALUES[number] for number in rng.choice(len(VALUES), size=1 + (rng.random() < 0.25), replace=False)}
        attributes: dict[str, str] = dict(sorted(chosen))  # of two values of one attribute, one
        alike = [c for group in CONFUSABLE if label in group for c in group if c != label]
        rival = CLASS_NAMES[int(rng.choice(alike))]
        about: dict[str, Any] = {
            "cause": "rare",
            "taught": rng.uniform(0.0, 0.12),
            "rival_share": rng.uniform(0.2, 0.5),
        }
        if rng.random() < 0.25:
            about = {"cause": "noise", "taught": rng.uniform(0.1, 0.3)}
        name = f"{CLASS_NAMES[label]}: {', '.join(attributes.values())}"
        spots.append(BlindSpot(name, CLASS_NAMES[label], attributes, rival, **about))
    return spots


def trial(seed: int, folder: Path) -> Trial:
    """Open the trial of a seed, or train its classifier and keep it in `folder`."""
    spots = draw_blind_spots(seed)
    place = folder / f"trial-{seed}-{_recipe(spots)}"
    splits = _splits(spots, seed)
    parts = {
        name: _evaluated(place, name, split, splits["train"], seed) for name, split in splits.items() if name != "train"
    }
    test, held = parts["test"], splits["test"].blind_spot
    assert test.labels is not None
    masks, names = [], []
    for number, spot in enumerate(spots):
        mask = held == number
        rest = (test.labels == CLASS_NAMES.index(spot.label)) & ~mask
        inside, outside = test.errors[mask].mean(), test.errors[rest].mean()
        if inside >= max(outside + GAP, RATIO * outside):
            masks.append(mask)
            names.append(spot.name)
    if not masks:
        raise RuntimeError(f"the classifier of trial {seed} has none of its blind spots: train it longer.")
    return Trial(parts["val"], test, parts["fresh"], tuple(masks), tuple(names))


def _splits(spots: Sequence[BlindSpot], seed: int) -> dict[str, SceneSplit]:
    """Training as it is taught; validation, test and fresh scenes with true labels. Pictures are not yet rendered."""
    items = load_items()
    splits = {}
    for name, recipe_of in (("train", "train"), ("val", "val"), ("test", "test"), ("fresh", "pool")):
        recipe = draw_recipe(recipe_of, items.labels, blind_spots=spots, seed=seed)
        splits[name] = SceneSplit(items, replace(recipe, labels=recipe.true_labels) if name == "fresh" else recipe)
    return splits


def _evaluated(place: Path, name: str, split: SceneSplit, train: SceneSplit, seed: int) -> Evaluation:
    if not (place / name).is_dir():
        encoders: Any = datasets.load_demo_encoder()
        full = failviz.evaluate(_classifier(place, train, seed), split, encoders=encoders, progress=False)
        spaces = {space: full.space(space) for space in SPACES}
        bare = Evaluation(
            spaces, labels=full.labels, probs=full.probs, class_names=CLASS_NAMES, model_spaces=["hidden"]
        )
        bare.save(place / name)
    return Evaluation.load(place / name)


def _classifier(place: Path, train: SceneSplit, seed: int) -> Any:
    """The classifier of a trial, trained when it is not there yet."""
    from safetensors.torch import load_file, save

    from failviz.datasets.classifier import SceneClassifier
    from failviz.datasets.training import train_classifier

    path = place / "classifier.safetensors"
    if not path.is_file():
        model = train_classifier(train, n_epochs=N_EPOCHS, seed=seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".tmp")
        part.write_bytes(save(model.state_dict()))
        os.replace(part, path)
    model = SceneClassifier()
    model.load_state_dict(load_file(path))
    return model.eval()


def _recipe(spots: Sequence[BlindSpot]) -> str:
    """What a kept trial depends on, as eight digits: kept ones of another recipe are not opened."""
    sources = sorted(Path(datasets.__file__).parent.glob("*.py"))
    said = f"{N_EPOCHS} {SPACES} {spots}".encode()
    return hashlib.sha256(b"".join([said, *(source.read_bytes() for source in sources)])).hexdigest()[:8]
