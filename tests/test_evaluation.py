import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failviz import Evaluation


def small(n=12, **changes):
    rng = np.random.default_rng(3)
    probs = rng.dirichlet(np.ones(3), size=n)
    columns = {"labels": np.arange(n) % 3, "probs": probs, "class_names": ["boot", "bag", "coat"]} | changes
    return Evaluation(columns.pop("embeddings", rng.normal(size=(n, 4))), **columns)


def test_missing_columns_are_derived():
    ev = small()
    assert (ev.predictions == ev.probs.argmax(axis=1)).all()
    np.testing.assert_allclose(ev.losses, -np.log(ev.probs[np.arange(12), ev.labels].astype(float)), rtol=1e-6)
    assert (ev.errors == (ev.predictions != ev.labels)).all() and (ev.correct == ~ev.errors).all()
    np.testing.assert_allclose(ev.confidence, ev.probs.max(axis=1))


def test_names_may_stand_for_numbers():
    ev = Evaluation(np.eye(3), labels=["cat", "dog", "cat"], predictions=["dog", "dog", "cat"])
    assert ev.class_names == ["cat", "dog"] and ev.labels.tolist() == [0, 1, 0] and ev.errors.tolist() == [1, 0, 0]


def test_a_certain_wrong_answer_has_a_finite_loss():
    ev = Evaluation(np.eye(2), labels=[0, 0], probs=[[0.0, 1.0], [1.0, 0.0]])
    assert np.isfinite(ev.losses).all() and ev.losses[1] == 0


def test_it_does_not_change():
    ev = small()
    with pytest.raises(AttributeError, match="does not change"):
        ev.labels = None
    for column in (ev.labels, ev.probs, ev.space(), ev.ids, ev.weights):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = column[1]


def test_the_callers_arrays_stay_writable_and_as_they_were():
    embeddings, labels = np.ones((3, 2), np.float32), np.array([0, 1, 0])
    Evaluation(embeddings, labels=labels)
    embeddings[0] = 2
    labels[0] = 1


def test_half_precision_and_memory_maps_are_kept(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((5, 3), np.float16))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    space = Evaluation(mapped).space()
    assert space.dtype == np.float16 and isinstance(space, np.memmap)


def test_probs_of_half_precision_are_accepted():
    probs = np.random.default_rng(0).dirichlet(np.ones(50), size=20).astype(np.float16)
    assert Evaluation(np.eye(20), probs=probs).probs.dtype == np.float32


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame, dict])
def test_metadata_of_any_dataframe(frame):
    ev = small(metadata=frame({"place": ["grass"] * 6 + ["sand"] * 6, "size": np.arange(12)}))
    assert ev.metadata["place"].tolist()[5:7] == ["grass", "sand"]
    assert {"label", "prediction", "correct", "loss", "confidence", "place", "size"} <= set(ev.to_frame().columns)


def test_take_keeps_ids_and_every_column():
    ev = small(ids=[f"img-{i}" for i in range(12)], metadata={"k": range(12)}, weights=np.arange(12) + 1.0)
    part = ev.take([5, 2])
    assert part.ids.tolist() == ["img-5", "img-2"] and part.metadata["k"].tolist() == [5, 2]
    assert part.weights.tolist() == [6, 3] and (part.probs == ev.probs[[5, 2]]).all()
    assert (ev.take(ev.errors).ids == ev.ids[ev.errors]).all()
    assert ev.rows_of(part.ids).tolist() == [5, 2]


def test_split_is_disjoint_whole_and_stratified():
    ev = small(n=600)
    a, b = ev.split(0.25, random_state=0)
    assert sorted([*a.ids, *b.ids]) == sorted(ev.ids) and a.n_examples == 150
    for label in range(3):
        for wrong in (False, True):
            whole = ((ev.labels == label) & (ev.errors == wrong)).sum()
            assert abs(((a.labels == label) & (a.errors == wrong)).sum() - whole / 4) <= 1
    again, _ = ev.split(0.25, random_state=0)
    assert (again.ids == a.ids).all()


def test_row_hashes_know_equal_rows_whatever_their_place_or_precision():
    ev = small(n=40)
    assert len(np.unique(ev.row_hashes())) == 40
    assert (ev.take([7, 3]).row_hashes() == ev.row_hashes()[[7, 3]]).all()
    half = ev.space().astype(np.float16)
    assert (Evaluation(half).row_hashes() == Evaluation(half.astype(np.float32)).row_hashes()).all()
    assert small().hash == small().hash != small(labels=np.zeros(12, int)).hash


def test_save_and_load_give_the_same_back(tmp_path):
    kinds = pd.Categorical(["x", "y"] * 6)
    meta = pd.DataFrame({"n": np.arange(12), "t": ["a", None] * 6, "c": kinds, "b": [True] * 12})
    ev = small(embeddings={"clip": np.eye(12), "hidden": np.ones((12, 2), np.float16)}, metadata=meta)
    ev.save(tmp_path / "ev")
    ev.save(tmp_path / "ev")  # replaced whole
    back = Evaluation.load(tmp_path / "ev")
    assert back.hash == ev.hash and back.spaces == ev.spaces and back.class_names == ev.class_names
    assert isinstance(back.space("clip"), np.memmap) and back.space("hidden").dtype == np.float16
    assert back.metadata["t"].isna().tolist() == [False, True] * 6 and back.metadata["t"][0] == "a"
    pd.testing.assert_frame_equal(back.metadata[["n", "c", "b"]], meta[["n", "c", "b"]])
    assert [path.name for path in tmp_path.iterdir()] == ["ev"]


def test_load_refuses_what_is_not_its_own(tmp_path):
    with pytest.raises(FileNotFoundError, match="not a saved Evaluation"):
        Evaluation.load(tmp_path)
    ev = small()
    ev.save(tmp_path / "ev")
    np.save(tmp_path / "ev" / "labels.npy", np.zeros(12, int))
    with pytest.raises(ValueError, match="not the ones that were saved"):
        Evaluation.load(tmp_path / "ev")
    header = json.loads((tmp_path / "ev" / "evaluation.json").read_text())
    (tmp_path / "ev" / "evaluation.json").write_text(json.dumps(header | {"format": 99}))
    with pytest.raises(ValueError, match="format 99"):
        Evaluation.load(tmp_path / "ev")
    (tmp_path / "ev" / "evaluation.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        Evaluation.load(tmp_path / "ev")


BAD = {
    "one-dimensional": ({"embeddings": np.ones(12)}, r"shape \(n, d\)"),
    "no rows": ({"embeddings": np.ones((0, 3))}, "at least one example"),
    "no dims": ({"embeddings": np.ones((12, 0))}, "at least one example"),
    "no space": ({"embeddings": {}}, "empty dict"),
    "ragged spaces": ({"embeddings": {"a": np.ones((12, 2)), "b": np.ones((11, 2))}}, "same number of rows"),
    "labels short": ({"labels": np.zeros(11, int)}, r"labels must have shape \(12,\)"),
    "label high": ({"labels": [0] * 11 + [3]}, "row 11 is 3"),
    "label negative": ({"labels": [-1] + [0] * 11}, "row 0 is -1"),
    "label half": ({"labels": [0.5] + [0] * 11}, "row 0 is 0.5"),
    "label name": ({"labels": ["boot"] * 11 + ["hat"]}, "row 11 is 'hat'"),
    "probs are logits": ({"probs": np.full((12, 3), 2.0)}, "row 0 sums to 6"),
    "probs negative": ({"probs": np.tile([1.5, -0.5, 0.0], (12, 1))}, "must not be negative"),
    "probs narrow": ({"probs": np.tile([0.5, 0.5], (12, 1))}, "2 columns, and there are 3"),
    "probs flat": ({"probs": np.ones(12)}, "binary model"),
    "losses shape": ({"losses": np.ones((12, 2))}, "losses must have shape"),
    "weights negative": ({"weights": [-1] + [1] * 11}, "weights must be 0 or more, and row 0"),
    "weights zero": ({"weights": np.zeros(12)}, "all zero"),
    "ids twice": ({"ids": ["a"] * 12}, "'a' comes again at position 1"),
    "ids short": ({"ids": ["a"]}, "12 examples, and 1 came"),
    "names twice": ({"class_names": ["boot", "boot", "bag"]}, "'boot' comes again"),
    "metadata short": ({"metadata": {"k": [1, 2]}}, "'k' has 2"),
    "metadata frame short": ({"metadata": pd.DataFrame({"k": [1, 2]})}, "12 rows"),
    "source short": ({"source": ["text"] * 5}, "shows 5 examples"),
}


@pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_in_one_line(changes, message):
    with pytest.raises(ValueError, match=message) as refusal:
        small(**changes)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "changes", [{"embeddings": np.full((12, 2), "a")}, {"losses": ["a"] * 12}, {"metadata": 3}], ids=str
)
def test_bad_types_are_refused(changes):
    with pytest.raises(TypeError):
        small(**changes)


@settings(max_examples=60, deadline=None)
@given(
    column=st.sampled_from(["embeddings", "probs", "losses", "weights", "labels"]),
    row=st.integers(0, 11),
    value=st.sampled_from([np.nan, np.inf, -np.inf]),
)
def test_non_finite_values_are_named_by_column_and_first_row(column, row, value):
    good = {
        "embeddings": np.ones((12, 3)),
        "probs": np.full((12, 3), 1 / 3),
        "losses": np.ones(12),
        "weights": np.ones(12),
        "labels": np.zeros(12),
    }[column].astype(np.float64)
    good[row:, ...] = value
    with pytest.raises(ValueError, match=f"{column}.*row {row} ") as refusal:
        small(**{column: good})
    assert "\n" not in str(refusal.value)


def test_what_is_missing_is_asked_for():
    ev = Evaluation(np.eye(3), labels=[0, 1, 0])
    with pytest.raises(ValueError, match="errors needs predictions, and this Evaluation has none: give it"):
        _ = ev.errors
    with pytest.raises(ValueError, match="confidence needs probs"):
        _ = ev.confidence
    with pytest.raises(ValueError, match="no space 'clip'"):
        ev.space("clip")
    with pytest.raises(ValueError, match="no example with id 'x'"):
        ev.rows_of(["x"])
    with pytest.raises(ValueError, match="no rows"):
        ev.take(np.zeros(3, bool))
    with pytest.raises(IndexError, match="between 0 and 2"):
        ev.take([3])
    with pytest.raises(ValueError, match="strictly between"):
        ev.split(1.0)


def test_repr_says_what_is_in_it():
    assert "12 examples, 3 classes" in repr(small()) and "embedding (4)" in repr(small())
