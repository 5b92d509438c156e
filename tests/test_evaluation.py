import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
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


@pytest.mark.parametrize("labels", [pd.Series(range(12), dtype=object), pd.Series(range(12), dtype="Int64")], ids=str)
def test_numbers_stay_numbers_whatever_holds_them(labels):
    assert Evaluation(np.eye(12), labels=labels, probs=np.eye(12)).error_rate == 0


def test_names_beside_numbers_need_class_names():
    for columns in ({"probs": np.eye(2)}, {"predictions": [0, 1]}):
        with pytest.raises(ValueError, match="labels holds names, and nothing says which name is which"):
            Evaluation(np.eye(2), labels=["dog", "cat"], **columns)
        assert Evaluation(np.eye(2), labels=["dog", "cat"], class_names=["dog", "cat"], **columns).error_rate == 0


def test_bytes_are_text():
    ev = Evaluation(np.eye(2), labels=np.array([b"b", b"a"]), ids=[b"x", "y"])
    assert ev.class_names == ["a", "b"] and ev.ids.tolist() == ["x", "y"]
    with pytest.raises(ValueError, match="bytes at position 1 that are not text"):
        Evaluation(np.eye(2), labels=[b"a", b"\xff"])


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT], ids=str)
@pytest.mark.parametrize("others", ["cat", 1], ids=str)
@pytest.mark.parametrize("holder", [list, lambda values: np.array(values, dtype=object)], ids=["list", "array"])
def test_a_missing_class_is_no_class(missing, others, holder):
    with pytest.raises(ValueError, match=r"predictions.*row 2 "):
        Evaluation(np.eye(4), predictions=holder([others, others, missing, missing]))
    assert Evaluation(np.eye(2), labels=["nan", "None"]).class_names == ["None", "nan"]


def test_a_stray_class_number_does_not_make_a_billion_classes():
    with pytest.raises(ValueError, match=r"labels .* row 2 is 1000000000, too many classes for 3 examples"):
        Evaluation(np.eye(3), labels=[0, 1, 10**9])
    with pytest.raises(ValueError, match="row 1 is 1e"):
        Evaluation(np.eye(2), labels=[0, 1e30])
    assert Evaluation(np.eye(2), labels=[0, 9_999]).take([1]).n_classes == 10_000


def test_rows_go_by_position_whatever_the_index_of_a_column():
    def turned(values, dtype=None):
        return pd.Series(values, index=[2, 0, 1], dtype=dtype)

    kinds = turned(["x", "y", "x"], "category")
    metadata = {
        "a": turned([5, 6, 7]),
        "b": [1, 2, 3],
        "k": kinds,
        "t": torch.arange(3),
        "i": turned([1, None, 3], "Int64"),
    }
    ev = Evaluation(
        np.eye(3),
        labels=turned([0, 1, 1]),
        predictions=turned([0, 1, 0]),
        losses=turned([1.0, 2.0, 3.0]),
        metadata=metadata,
    )
    assert ev.labels.tolist() == [0, 1, 1] and ev.predictions.tolist() == [0, 1, 0] and ev.losses.tolist() == [1, 2, 3]
    assert ev.metadata["a"].tolist() == [5, 6, 7] and ev.metadata["k"].tolist() == ["x", "y", "x"]
    assert ev.metadata["t"].tolist() == [0, 1, 2] and ev.metadata["i"].isna().tolist() == [False, True, False]
    assert ev.metadata["k"].dtype == "category" and ev.metadata["i"].dtype == "Int64"


def test_tensors_of_every_kind_come_in():
    ev = Evaluation(torch.ones(3, 2, dtype=torch.bfloat16), ids=torch.arange(3), labels=torch.tensor([0, 1, 1]))
    assert ev.space().dtype == np.float32 and ev.ids.tolist() == ["0", "1", "2"]
    assert Evaluation(np.eye(2), ids=list(torch.arange(2))).ids.tolist() == ["0", "1"]


def test_a_long_id_does_not_widen_the_others():
    ids = Evaluation(np.ones((1000, 1)), ids=["x" * 3000, *range(999)]).ids
    assert ids.dtype == object and ids.nbytes < 10_000


def test_model_spaces_go_along(tmp_path):
    ev = Evaluation({"clip": np.eye(3), "hidden": np.eye(3)}, model_spaces=["hidden"])
    ev.save(tmp_path / "ev")
    assert ev.model_spaces == ev.take([1]).model_spaces == Evaluation.load(tmp_path / "ev").model_spaces == ("hidden",)
    assert small().model_spaces == ()
    with pytest.raises(ValueError, match="model_spaces names 'logits', and the spaces are 'clip'"):
        Evaluation({"clip": np.eye(3)}, model_spaces=["logits"])
    with pytest.raises(TypeError, match="model_spaces must be a list"):
        Evaluation({"clip": np.eye(3)}, model_spaces="clip")


def test_names_of_dimensions_go_along(tmp_path):
    frame = pd.DataFrame({"age": [30.0, 40.0, 50.0], "dose in mg": [1.0, 2.0, 3.0]})
    ev = Evaluation({"clip": np.eye(3), "table": frame})
    ev.save(tmp_path / "ev")
    for one in (ev, ev.take([2, 0]), *ev.split(0.5, random_state=0), Evaluation.load(tmp_path / "ev")):
        assert one.feature_names() is None
        assert one.feature_names("table") == ["age", "dose in mg"]
    assert Evaluation(frame).feature_names() == ["age", "dose in mg"]
    assert Evaluation(frame, feature_names=["a", "b"]).feature_names() == ["a", "b"]
    assert Evaluation({"clip": np.eye(3)}, feature_names={"clip": ["x", "y", "z"]}).feature_names() == [*"xyz"]
    assert Evaluation({1: np.eye(2)}, feature_names={1: ["a", "b"]}).feature_names("1") == ["a", "b"]
    copied = Evaluation({"clip": np.eye(3), "table": frame}, feature_names={s: ev.feature_names(s) for s in ev.spaces})
    assert copied.feature_names() is None and copied.feature_names("table") == ["age", "dose in mg"]
    assert Evaluation(frame, feature_names={"embedding": None}).feature_names() is None
    assert Evaluation(frame.set_axis(["0", "1"], axis=1)).feature_names() is None  # as files name columns without names
    assert Evaluation(frame.to_numpy()).feature_names() is Evaluation(pd.DataFrame(np.eye(3))).feature_names() is None
    heads = Evaluation.from_multilabel(frame, labels=[[1], [0], [1]], probs=[[0.7], [0.6], [0.9]])
    assert heads["head 0"].feature_names() == ["age", "dose in mg"]
    assert Evaluation(frame).hash == Evaluation(frame.to_numpy()).hash  # the same numbers


def test_names_of_dimensions_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="feature_names names 'hidden', and the spaces are 'clip'"):
        Evaluation({"clip": np.eye(3)}, feature_names={"hidden": ["a", "b", "c"]})
    with pytest.raises(
        ValueError, match=r"feature_names\['embedding'\] must name each of the 3 dimensions, and 2 came"
    ):
        Evaluation(np.eye(3), feature_names=["a", "b"])
    with pytest.raises(ValueError, match=r"feature_names\['embedding'\] must be unique, and 'a' comes again"):
        Evaluation(np.eye(2), feature_names=["a", "a"])
    with pytest.raises(ValueError, match=r"feature_names\['embedding'\] has a blank name"):
        Evaluation(np.eye(2), feature_names=["a", " "])
    with pytest.raises(ValueError, match="there is no space 'typo'"):
        small().feature_names("typo")

    with pytest.raises(ValueError, match="has the columns of the dataframe in another order: leave feature_names out"):
        Evaluation(pd.DataFrame({"a": [1.0], "b": [2.0]}), feature_names=["b", "a"])


def test_frames_of_numbers_are_embeddings():
    mixed = {"age": [1.5, 2.0], "smokes": [True, False], "children": [0, 3]}
    expected = np.array([[1.5, 1, 0], [2, 0, 3]], np.float32)
    for frame in (pd.DataFrame(mixed).astype({"children": "Int64"}), pl.DataFrame(mixed)):
        np.testing.assert_array_equal(Evaluation(frame).space(), expected)
    for frame in (pd.DataFrame({**mixed, "city": ["Oslo", "Bern"]}), pl.DataFrame({**mixed, "city": ["Oslo", "Bern"]})):
        with pytest.raises(TypeError, match=r"embeddings must hold numbers, and column 'city' does not: leave it out"):
            Evaluation(frame)
    with pytest.raises(ValueError, match="must be finite, and row 1 holds nan"):
        Evaluation(pd.DataFrame({"children": pd.array([1, None], dtype="Int64"), "b": [1.0, 2.0]}))


def test_changed_names_of_dimensions_are_damage(tmp_path):
    Evaluation(np.eye(2), feature_names=["age", "dose"]).save(tmp_path / "ev")
    header = tmp_path / "ev" / "evaluation.json"
    header.write_text(header.read_text().replace("dose", "cost"))
    with pytest.raises(ValueError, match="is not what was saved"):
        Evaluation.load(tmp_path / "ev")


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


def test_memory_mapped_probs_are_not_copied(tmp_path):
    small().save(tmp_path / "ev")
    mapped = np.load(tmp_path / "ev" / "probs.npy", mmap_mode="r")
    assert np.shares_memory(small(probs=mapped).probs, mapped)
    assert isinstance(Evaluation.load(tmp_path / "ev").probs, np.memmap)


def test_a_bad_row_of_probs_is_named_across_chunks(monkeypatch):
    monkeypatch.setattr("failviz._checks._CHUNK_BYTES", 64)
    for bad, message in (([2.0, -1.0, 0.0], "row 9 is: pass"), ([1.0, 1.0, 0.0], "row 9 sums to 2")):
        with pytest.raises(ValueError, match=message):
            small(probs=np.array([[1.0, 0.0, 0.0]] * 9 + [bad] * 3))


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
    with pytest.raises(ValueError, match="stratify must be True or False, not 'no'"):
        ev.split(0.25, stratify="no")


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


HOURS = pd.Series(pd.date_range("2024-01-01", periods=4, freq="h"))
METADATA = {
    "large integers": pd.array([1, None, 2**63 - 1, -5], dtype="Int64"),
    "nullable booleans": pd.array([True, None, False, True], dtype="boolean"),
    "nullable floats": pd.array([0.1, None, 1e300, -0.3], dtype="Float64"),
    "times taken": pd.to_timedelta([1, 2, None, 4], unit="s"),
    "local times": HOURS.dt.tz_localize("Europe/Paris"),
    "fixed zone": HOURS.dt.tz_localize("+01:00"),
    "objects": pd.Series(["a", None, np.nan, "line\nbreak é"], dtype=object),
    "mixed": pd.Series([1, "a", True, 2.5], dtype=object),
    "text": pd.Series(["a", None, "b", "c"]),
    "strings": pd.Series(["a", None, "b", "c"], dtype="string"),
    "number categories": pd.Categorical([3, 1, None, 3]),
    "ordered": pd.Categorical(["lo", "hi", None, "lo"], categories=["lo", "hi"], ordered=True),
    "day categories": pd.Categorical(HOURS),
    "bins": pd.cut(pd.Series([1.0, 2.0, 3.0, np.nan]), [0, 1.5, 4]),
}


@pytest.mark.parametrize("column", METADATA.values(), ids=METADATA)
def test_metadata_come_back_as_they_were(column, tmp_path):
    ev = Evaluation(np.eye(4), metadata={"k": column})
    ev.save(tmp_path / "ev")
    back = Evaluation.load(tmp_path / "ev").metadata
    pd.testing.assert_frame_equal(back, ev.metadata)
    assert list(map(type, back["k"].tolist())) == list(map(type, ev.metadata["k"].tolist()))


def test_metadata_that_cannot_come_back_are_refused_when_saved(tmp_path):
    for column, what in (([[1], [2]], "a list"), (pd.period_range("2020", periods=2, freq="M"), "a Period")):
        with pytest.raises(ValueError, match=f"metadata column 'k' holds {what}, which cannot be saved: turn it"):
            Evaluation(np.eye(2), metadata={"k": column}).save(tmp_path / "ev")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("file", ["metadata-0.npy", "metadata-1.json", "evaluation.json"])
def test_load_refuses_changed_metadata(file, tmp_path):
    path = tmp_path / "ev" / file
    small(metadata={"n": np.arange(12), "t": ["grass"] * 12}).save(tmp_path / "ev")
    changed = {"metadata-1.json": (b"grass", b"brass"), "evaluation.json": (b'"name": "n"', b'"name": "m"')}
    before = path.read_bytes()
    path.write_bytes(before.replace(*changed[file]) if file in changed else before[:-1] + b"\x01")
    assert path.read_bytes() != before
    with pytest.raises(ValueError, match=r"what .* holds is not what was saved"):
        Evaluation.load(tmp_path / "ev")


def test_load_refuses_what_is_not_its_own(tmp_path):
    with pytest.raises(FileNotFoundError, match="not a saved Evaluation"):
        Evaluation.load(tmp_path)
    ev = small()
    ev.save(tmp_path / "ev")
    np.save(tmp_path / "ev" / "labels.npy", np.zeros(12, int))
    with pytest.raises(ValueError, match="holds is not what was saved"):
        Evaluation.load(tmp_path / "ev")
    header = json.loads((tmp_path / "ev" / "evaluation.json").read_text())
    (tmp_path / "ev" / "evaluation.json").write_text(json.dumps(header | {"format": 99}))
    with pytest.raises(ValueError, match="format 99"):
        Evaluation.load(tmp_path / "ev")
    (tmp_path / "ev" / "evaluation.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        Evaluation.load(tmp_path / "ev")


@pytest.mark.parametrize("file", ["labels.npy", "space-0.npy", "ids.json", "metadata-0.npy"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_load_names_the_folder_that_is_damaged(file, damage, tmp_path):
    small(metadata={"n": np.arange(12)}).save(tmp_path / "ev")
    path = tmp_path / "ev" / file
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"ev (is damaged \(|holds is not).*restore it or evaluate again") as refusal:
        Evaluation.load(tmp_path / "ev")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "content", [b"[1]", b"null", b"\xff\xfe", b'{"format": 1}', b'{"format": 1, "n_examples": "x"}']
)
def test_load_refuses_a_damaged_header(content, tmp_path):
    small().save(tmp_path / "ev")
    (tmp_path / "ev" / "evaluation.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"evaluation\.json is damaged"):
        Evaluation.load(tmp_path / "ev", source=["text"] * 12)


def test_a_newer_format_is_named_whatever_else_it_holds(tmp_path):
    small().save(tmp_path / "ev")
    (tmp_path / "ev" / "evaluation.json").write_text('{"format": 2, "rows": 3}')
    with pytest.raises(ValueError, match="has format 2, and this failviz reads 1: a newer failviz wrote it"):
        Evaluation.load(tmp_path / "ev")
    (tmp_path / "ev" / "evaluation.json").write_text('{"format": 0, "n_examples": 3}')
    with pytest.raises(ValueError, match=r"evaluation\.json is damaged"):
        Evaluation.load(tmp_path / "ev")


@pytest.mark.parametrize("error", [MemoryError(), OSError(24, "Too many open files"), PermissionError(13, "no")])
def test_what_the_machine_lacks_is_not_called_damage(error, tmp_path, monkeypatch):
    small().save(tmp_path / "ev")

    def fails(*_):
        raise error

    monkeypatch.setattr("failviz._evaluation_format._read_columns", fails)
    with pytest.raises(type(error)):
        Evaluation.load(tmp_path / "ev")


def test_load_refuses_files_that_are_no_arrays(tmp_path):
    small().save(tmp_path / "ev")
    (tmp_path / "ev" / "labels.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr'")
    with pytest.raises(ValueError, match=r"ev is damaged \("):
        Evaluation.load(tmp_path / "ev")


def test_masked_dates_are_missing():
    days = np.arange("2024-01-01", "2024-01-13", dtype="datetime64[D]").astype("datetime64[ns]")
    column = small(metadata={"day": np.ma.masked_equal(days, days[2])}).metadata["day"]
    assert column.isna().tolist() == [i == 2 for i in range(12)]
    assert column[3] == pd.Timestamp("2024-01-04")


def test_load_takes_a_source_and_refuses_one_that_does_not_fit(tmp_path):
    small().save(tmp_path / "ev")
    assert Evaluation.load(tmp_path / "ev", source=["text"] * 12).source.text(3) == "text"
    with pytest.raises(ValueError, match="the source shows 5 examples, and the Evaluation has 12"):
        Evaluation.load(tmp_path / "ev", source=["text"] * 5)


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
    "name missing": ({"class_names": ["boot", None, "bag"]}, "class_names has nothing at position 1"),
    "label mixed": ({"labels": [0] * 11 + ["bag"]}, "mixes numbers and names, and row 11"),
    "metadata square": ({"metadata": {"k": np.ones((12, 2))}}, r"'k' has shape \(12, 2\)"),
    "metadata empty": ({"metadata": pd.DataFrame()}, "12 rows, one per example, not 0"),
    "metadata short": ({"metadata": {"k": [1, 2]}}, "'k' has 2"),
    "metadata frame short": ({"metadata": pd.DataFrame({"k": [1, 2]})}, "12 rows"),
    "masked space": ({"embeddings": np.ma.masked_equal(np.arange(24.0).reshape(12, 2), 9)}, "row 4 holds nan"),
    "masked probs": ({"probs": np.ma.masked_equal(np.tile([0.2, 0.3, 0.5], (12, 1)), 0.3)}, "row 0 holds nan"),
    "masked labels": ({"labels": np.ma.masked_equal(np.arange(12) % 3, 2)}, "labels must be finite, and row 2"),
    "masked names": ({"labels": np.ma.masked_equal(["boot", "bag"] * 6, "bag")}, "row 1"),
    "ragged rows": ({"embeddings": [[1.0], [1.0, 2.0]]}, "rows are not of one length"),
    "metadata twice": ({"metadata": pd.DataFrame(np.ones((12, 2)), columns=["k", "k"])}, "'k' comes again"),
    "source short": ({"source": ["text"] * 5}, "shows 5 examples"),
}


@pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_in_one_line(changes, message):
    with pytest.raises(ValueError, match=message) as refusal:
        small(**changes)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"embeddings": np.full((12, 2), "a")},
        {"losses": ["a"] * 12},
        {"metadata": 3},
        {"labels": pd.Series([(0, 1)] * 12)},
        {"class_names": {0: "boot", 1: "bag", 2: "coat"}},
        {"class_names": "abc"},
        {"class_names": {"boot", "bag", "coat"}},
        {"ids": "abcdefghijkl"},
        {"ids": 7},
        {"class_names": 3},
    ],
    ids=str,
)
def test_bad_types_are_refused(changes):
    with pytest.raises(TypeError) as refusal:
        small(**changes)
    assert "\n" not in str(refusal.value)


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


@st.composite
def broken_columns(draw):
    """One column of a good Evaluation, broken in one way: (changes, words of the refusal)."""
    n, row = 12, draw(st.integers(0, 11))
    kind = draw(st.sampled_from(["length", "label", "prediction", "negative", "sum", "id", "zero rows", "dimensions"]))
    if kind == "length":
        column = draw(st.sampled_from(["labels", "predictions", "losses", "weights", "ids"]))
        size = draw(st.integers(0, 40).filter(lambda k: k != n))
        return {column: [str(i) if column == "ids" else 0 for i in range(size)]}, "12|no values|at least"
    if kind in ("label", "prediction"):
        values = np.zeros(n, dtype=int)
        values[row] = draw(st.integers(3, 10**9) | st.integers(-(10**9), -1))
        return {f"{kind}s": values}, f"row {row} is {values[row]}"
    if kind in ("negative", "sum"):
        probs = np.full((n, 3), 1 / 3)
        off = draw(st.floats(0.002, 0.3))
        probs[row] += (off, -off - 1 / 3, 1 / 3) if kind == "negative" else (off, 0, 0)
        return {"probs": probs}, f"row {row} (is|sums)"
    if kind == "id":
        ids = [f"i{k}" for k in range(n)]
        ids[row] = ids[(row + draw(st.integers(1, n - 1))) % n]
        return {"ids": ids}, "comes again"
    shape = (0, 3) if kind == "zero rows" else draw(st.sampled_from([(n,), (n, 2, 2), (n, 0)]))
    return {"embeddings": np.ones(shape)}, "shape"


@settings(max_examples=150, deadline=None)
@given(broken_columns())
def test_any_broken_column_is_refused_in_one_clear_line(case):
    changes, words = case
    with pytest.raises(ValueError, match=words) as refusal:
        small(**changes)
    assert "\n" not in str(refusal.value)


def test_a_function_may_show_the_examples():
    ev = small(source=lambda i: f"text {i}")
    assert ev.source.kind == "text" and ev.take([5]).source.text(0) == "text 5"
    assert small(source=lambda i: np.zeros((4, 4, 3), np.uint8)).source.image(3).size == (4, 4)


def test_a_function_may_fail_to_show_the_first_example():
    def picture(i):
        if i == 0:
            raise OSError("no such file")
        return np.zeros((4, 4, 3), np.uint8)

    source = small(source=picture).source
    assert source.kind == "image" and source.image(1).size == (4, 4)


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
