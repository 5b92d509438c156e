"""The build of what ships: what it reads is checked, what it writes is recorded, and loading asks for both."""

import gzip
import hashlib
import json

import numpy as np
import pytest
import torch

from failviz import datasets
from failviz.datasets import build, items

SHIPPED = build.DATA


@pytest.fixture
def target(tmp_path, monkeypatch):
    """Where files go, in place of the shipped ones."""
    for module in (build, items):
        monkeypatch.setattr(module, "DATA", tmp_path)
    return tmp_path


@pytest.fixture
def source(tmp_path_factory, monkeypatch):
    """Shipped items as if they were Fashion-MNIST's training file."""
    place = tmp_path_factory.mktemp("source")
    with np.load(SHIPPED / "items.npz") as shipped:
        images, labels = shipped["images"][:800], shipped["labels"][:800]
    contents = {"images-idx3": bytes(16) + images.tobytes(), "labels-idx1": bytes(8) + labels.tobytes()}
    sums = {}
    for kind, content in contents.items():
        name = f"train-{kind}-ubyte.gz"
        (place / name).write_bytes(gzip.compress(content))
        sums[name] = hashlib.sha256((place / name).read_bytes()).hexdigest()
    monkeypatch.setattr(build, "INPUTS", sums)
    monkeypatch.setattr(build, "ITEMS_PER_CLASS", 9)
    return place


def test_items_are_the_first_legible_ones_of_each_class_and_the_same_each_time(source, target):
    build.main(["items", "--source", str(source)])
    first = (target / "items.npz").read_bytes()
    with np.load(target / "items.npz") as built:
        assert np.bincount(built["labels"]).tolist() == [9] * 10
        assert built["images"].shape == (90, 28, 28)
    record = json.loads((target / "SOURCES.json").read_text())
    assert record["outputs"]["items.npz"]["sha256"] == hashlib.sha256(first).hexdigest()
    assert record["inputs"] == build.INPUTS
    assert items.read_verified(target / "items.npz") == first
    build.main(["items", "--source", str(source)])
    assert (target / "items.npz").read_bytes() == first


def test_another_source_is_refused(source, target):
    name = next(iter(build.INPUTS))
    (source / name).write_bytes(b"something else")
    with pytest.raises(ValueError, match=rf"{name} is not the file of dataset-fashion-mnist .*: its SHA-256 is"):
        build.build_items(source)
    assert not list(target.iterdir())


@pytest.mark.parametrize("what", ["classifier", "encoder"])
def test_what_training_gives_is_written_as_it_ships_and_recorded(what, tmp_path, monkeypatch):
    trained = datasets.load_demo_classifier() if what == "classifier" else datasets.load_demo_encoder().towers
    given = []
    trained = trained.to(memory_format=torch.contiguous_format)  # loading lays it out for speed
    monkeypatch.setattr(
        f"failviz.datasets.training.train_{what}", lambda split, **settings: given.append(settings) or trained
    )
    monkeypatch.setattr(build, "DATA", tmp_path)
    build.main([what])
    assert given == ([{"seed": 1}] if what == "classifier" else [{}])
    content = (tmp_path / f"{what}.safetensors").read_bytes()
    assert content == (SHIPPED / f"{what}.safetensors").read_bytes()
    record = json.loads((tmp_path / "SOURCES.json").read_text())["outputs"][f"{what}.safetensors"]
    assert record["sha256"] == hashlib.sha256(content).hexdigest() and record["bytes"] == len(content)
    assert "torch" in record["made_from"]
