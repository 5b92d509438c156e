"""The demo data keeps what it promises: same bytes everywhere, no leaks, and blind spots that are really there."""

import hashlib
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
import torch

from failviz import datasets
from failviz.datasets import items as items_file
from failviz.datasets.splits import draw_recipe

SPLITS = {"train": 14_000, "val": 4_000, "test": 4_000, "pool": 20_000}


@pytest.fixture(scope="module")
def scenes():
    return datasets.load_fashion_scenes()


@pytest.fixture(scope="module")
def test_predictions(scenes):
    model = datasets.load_demo_classifier()
    loader = torch.utils.data.DataLoader(scenes.test, batch_size=250)
    with torch.inference_mode():
        return torch.cat([model(images).argmax(dim=1) for images, _ in loader]).numpy()


def test_importing_the_package_loads_no_torch():
    code = (
        "import sys, failviz.datasets as d; s = d.load_fashion_scenes(); s.val.metadata; s.val.render([0]); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_splits_have_their_sizes_and_balanced_true_classes(scenes):
    assert scenes.class_names == list(datasets.CLASS_NAMES)
    for name, n in SPLITS.items():
        split = getattr(scenes, name)
        assert len(split) == len(split.labels) == len(split.metadata) == len(split.captions) == n
        assert np.bincount(split.true_labels).tolist() == [n // 10] * 10


def test_examples_have_the_shape_and_dtype_that_the_classifier_wants(scenes):
    image, label = scenes.val[3]
    assert image.shape == (3, 64, 64) and image.dtype == torch.float32 and image.is_contiguous()
    assert isinstance(label, int) and label == scenes.val.labels[3]
    assert torch.equal(image, torch.from_numpy(scenes.val.images[3].copy()).permute(2, 0, 1) * np.float32(1 / 255))
    with pytest.raises(IndexError):
        scenes.val[len(scenes.val)]


def test_arrays_have_their_types_and_are_read_only(scenes):
    assert scenes.val.images.shape == (4000, 64, 64, 3) and scenes.val.images.dtype == np.uint8
    for array in (scenes.val.images, scenes.val.labels, scenes.val.true_labels, scenes.val.blind_spot):
        assert not array.flags.writeable
    assert scenes.pool.labels.dtype == scenes.pool.true_labels.dtype == scenes.pool.blind_spot.dtype == np.int64


def test_a_scene_rendered_alone_equals_the_batch(scenes):
    rows = [0, 17, 1234, 3999]
    together = scenes.val.images[rows]
    alone = np.concatenate([scenes.val.render([row]) for row in rows])
    np.testing.assert_array_equal(alone, together)


def test_rendered_pictures_are_the_same_bytes_on_every_machine(scenes):
    rows = np.arange(0, 4000, 100)
    assert hashlib.sha256(scenes.test.render(rows).tobytes()).hexdigest() == (
        "7084dbc4f473ae1165374c09f70a542c5f4d7f5dd2d46db3b80babcc862452e2"
    )


def test_no_item_occurs_in_two_splits(scenes):
    for one, other in combinations(SPLITS, 2):
        assert not np.intersect1d(getattr(scenes, one).item_rows, getattr(scenes, other).item_rows).size


def test_items_show_the_true_class(scenes):
    item_labels = items_file.load_items().labels
    for name in SPLITS:
        split = getattr(scenes, name)
        np.testing.assert_array_equal(item_labels[split.item_rows], split.true_labels)


def test_val_and_test_are_clean_and_train_is_wrong_in_one_region_only(scenes):
    for split in (scenes.val, scenes.test):
        np.testing.assert_array_equal(split.labels, split.true_labels)
    wrong = scenes.train.labels != scenes.train.true_labels
    noisy = [number for number, spot in enumerate(datasets.BLIND_SPOTS) if spot.cause == "noise"]
    assert set(scenes.train.blind_spot[wrong]) == set(noisy)
    assert wrong[np.isin(scenes.train.blind_spot, noisy)].mean() > 0.5


def test_pool_labels_are_weak(scenes):
    wrong = scenes.pool.labels != scenes.pool.true_labels
    assert 0.13 < wrong.mean() < 0.17
    assert all(0.1 < wrong[scenes.pool.true_labels == label].mean() < 0.2 for label in range(10))


def test_metadata_holds_attributes_and_nothing_else(scenes):
    metadata = scenes.val.metadata
    assert metadata.columns.tolist() == list(datasets.ATTRIBUTES)
    for name, values in datasets.ATTRIBUTES.items():
        assert set(metadata[name]) == set(values)


def test_metadata_handed_out_is_the_callers_own(scenes):
    mine = scenes.val.metadata
    mine["background"] = "moon"
    assert "moon" not in set(scenes.val.metadata["background"])


def test_captions_name_class_and_attributes(scenes):
    metadata = scenes.val.metadata
    for row in range(200):
        caption = scenes.val.captions[row]
        assert datasets.CLASS_NAMES[scenes.val.true_labels[row]] in caption
        assert metadata["colour"][row] in caption and metadata["background"][row] in caption
        assert ("blurry" in caption) == (metadata["blur"][row] == "blurred")
        assert ("dark" in caption) == (metadata["lighting"][row] == "dark")
        assert ("turned" in caption) == (metadata["orientation"][row] == "turned")


def test_blind_spots_are_their_class_and_attributes(scenes):
    for name in SPLITS:
        split = getattr(scenes, name)
        metadata = split.metadata
        for number, spot in enumerate(datasets.BLIND_SPOTS):
            inside = split.true_labels == datasets.CLASS_NAMES.index(spot.label)
            for attribute, value in spot.attributes.items():
                inside &= (metadata[attribute] == value).to_numpy()
            np.testing.assert_array_equal(split.blind_spot == number, inside)


def test_blind_spots_have_support_where_they_are_tested_and_little_where_they_are_learnt(scenes):
    assert len(datasets.BLIND_SPOTS) >= 5
    for number, spot in enumerate(datasets.BLIND_SPOTS):
        for split in (scenes.val, scenes.test):
            assert (split.blind_spot == number).sum() >= 60
        right = (scenes.train.blind_spot == number) & (scenes.train.labels == scenes.train.true_labels)
        assert right.sum() < 0.05 * 1400
        assert spot.rival in datasets.CLASS_NAMES


def test_pool_holds_every_class_on_every_background(scenes):
    pairs = set(zip(scenes.pool.true_labels.tolist(), scenes.pool.metadata["background"], strict=True))
    assert len(pairs) == 10 * 6


def test_other_blind_spots_and_seeds_give_other_scenes():
    spot = datasets.BlindSpot("blurred bags", "bag", {"blur": "blurred", "lighting": "dark"}, rival="dress")
    labels = items_file.load_items().labels
    first, again, other = (draw_recipe("train", labels, blind_spots=[spot], seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.codes, again.codes)
    assert (first.codes != other.codes).any()
    assert 0 < (first.blind_spot == 0).sum() < 15


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"label": "hat"}, "classes are among"),
        ({"attributes": {"background": "moon"}}, "no attribute background = 'moon'"),
        ({"attributes": {}}, "would be its whole class"),
        ({"cause": "fate"}, "'rare' or 'noise'"),
    ],
)
def test_a_blind_spot_that_cannot_be_is_refused(wrong, message):
    usual = {"name": "bags on water", "label": "bag", "attributes": {"background": "water"}, "rival": "coat"}
    with pytest.raises(ValueError, match=message):
        datasets.BlindSpot(**{**usual, **wrong})


def test_classifier_is_good_and_each_blind_spot_is_bad(scenes, test_predictions):
    correct = test_predictions == scenes.test.true_labels
    assert correct.mean() >= 0.80
    assert 1e6 <= (items_file.DATA / "classifier.safetensors").stat().st_size <= 2e6
    for number, spot in enumerate(datasets.BLIND_SPOTS):
        inside = scenes.test.blind_spot == number
        rest = (scenes.test.true_labels == datasets.CLASS_NAMES.index(spot.label)) & ~inside
        assert correct[rest].mean() - correct[inside].mean() >= 0.20, spot.name


def test_classifier_ends_in_a_hidden_layer_and_one_linear_layer():
    model = datasets.load_demo_classifier()
    seen = []
    model.output.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    logits = model(torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert not model.training
    assert logits.shape == (3, 10) and seen[0].shape == (3, 128)
    assert isinstance(model.output, torch.nn.Linear)


def test_loading_the_classifier_leaves_the_global_random_state_alone():
    before = torch.random.get_rng_state()
    datasets.load_demo_classifier()
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_corrupt_file_is_refused_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "SOURCES.json").write_bytes((items_file.DATA / "SOURCES.json").read_bytes())
    monkeypatch.setattr(items_file, "DATA", tmp_path)
    with pytest.raises(ValueError, match=r"items\.npz is missing"):
        items_file.read_verified(tmp_path / "items.npz")
    (tmp_path / "items.npz").write_bytes(b"not what was shipped")
    with pytest.raises(ValueError, match=r"items\.npz is corrupt: its SHA-256 is") as caught:
        items_file.read_verified(tmp_path / "items.npz")
    assert "\n" not in str(caught.value)


def test_take_is_a_split_of_the_scenes_chosen(scenes):
    part = scenes.test.take([5, 0, 17])
    assert len(part) == 3
    assert part.labels.tolist() == scenes.test.labels[[5, 0, 17]].tolist()
    assert part.captions == [scenes.test.captions[row] for row in (5, 0, 17)]
    assert np.array_equal(part.images, scenes.test.render([5, 0, 17]))
    assert part.metadata["background"].tolist() == scenes.test.metadata["background"].iloc[[5, 0, 17]].tolist()
