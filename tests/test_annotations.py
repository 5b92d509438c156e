"""Annotations: nothing that was reported saved is ever lost, and undo and redo always agree with a replay."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failviz.annotations import Annotations, fingerprint
from failviz.evaluation import Evaluation
from failviz.slices import Slice


def make_evaluation(n: int = 6) -> Evaluation:
    return Evaluation(
        np.eye(n, dtype=np.float32),
        labels=np.arange(n) % 2,
        predictions=np.zeros(n, dtype=int),
        class_names=["sandal", "sneaker"],
        ids=list("abcdefghij"[:n]),
    )


def make_slice(evaluation: Evaluation, name: str = "hardest", rows: tuple[int, ...] = (1, 3)) -> Slice:
    weights = np.isin(np.arange(evaluation.n_examples), rows).astype(float)
    return Slice.of(evaluation, scores=weights, weights=weights, scope=("label", 1), name=name, method="direction")


@pytest.fixture
def evaluation() -> Evaluation:
    return make_evaluation()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "labels.sqlite"


@pytest.fixture
def notes(place: Path, evaluation: Evaluation) -> Iterator[Annotations]:
    opened = Annotations(place, evaluation)
    yield opened
    opened.close()


def test_what_was_said_is_there_after_reopening(notes: Annotations, place: Path, evaluation: Evaluation) -> None:
    key = notes.draw(["b", "d"], "on grass", tags=["background", "background"], note="more")
    notes.label(make_slice(evaluation), name="sneakers on grass")
    notes.relabel(["a", "c"], "sneaker")
    again = Annotations(place, make_evaluation())
    drawn, found = again.entries.values()
    assert (drawn.key, drawn.name, drawn.ids, drawn.tags, drawn.note) == (
        key,
        "on grass",
        ("b", "d"),
        ("background",),
        "more",
    )
    assert (found.kind, found.name, found.found_name) == ("found", "sneakers on grass", "hardest")
    assert again.relabels == {"a": "sneaker", "c": "sneaker"}
    assert [slice_.members.tolist() for slice_ in again.slices()] == [["b", "d"], ["b", "d"]]
    assert [slice_.method for slice_ in again.slices()] == ["drawn by hand", "direction"]
    again.close()


def test_the_default_place_is_beside_the_notebook(
    evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    notes = Annotations(evaluation=evaluation)
    assert notes.saved
    assert (tmp_path / ".failviz" / f"{evaluation.hash[:16]}.sqlite").exists()
    notes.close()


def test_a_folder_that_cannot_be_written_means_memory_and_a_warning(
    evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".failviz").write_text("in the way")
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match="kept in memory only and will not be saved"):
        notes = Annotations(evaluation=evaluation)
    assert not notes.saved
    assert notes.place == "memory, not saved"
    assert notes.notice is not None
    notes.draw(["a"], "x")
    notes.close()


def test_a_path_that_was_asked_for_and_cannot_be_written_is_refused(evaluation: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="cannot open the annotations file"):
        Annotations(tmp_path / "file" / "x.sqlite", evaluation)


def test_a_file_is_opened_once_until_it_is_closed_or_replaced(place: Path, evaluation: Evaluation) -> None:
    first = Annotations.shared(place, evaluation)
    assert Annotations.shared(f"{place.parent}/./{place.name}", make_evaluation()) is first
    with pytest.raises(ValueError, match="belongs to another Evaluation"):
        Annotations.shared(place, make_evaluation(4))
    first.close()
    second = Annotations.shared(place, evaluation)
    second.draw(["a"], "x")
    place.rename(place.with_name("moved.sqlite"))
    third = Annotations.shared(place, evaluation)
    assert (len(second), len(third)) == (1, 0)
    place.with_name("moved.sqlite").replace(place)
    assert Annotations.shared(place, evaluation) is second
    assert Annotations.shared(":memory:", evaluation) is not Annotations.shared(":memory:", evaluation)
    second.close()
    third.close()


@pytest.mark.parametrize("content", [b"hello", b"SQLite format 3\0" + b"\xff" * 500])
def test_a_file_of_another_kind_is_refused_and_untouched(place: Path, content: bytes, evaluation: Evaluation) -> None:
    place.write_bytes(content)
    with pytest.raises(ValueError, match="not a failviz annotations file and was left as it is"):
        Annotations(place, evaluation)
    assert place.read_bytes() == content


def test_another_programs_database_is_refused_and_untouched(place: Path, evaluation: Evaluation) -> None:
    other = sqlite3.connect(place)
    other.execute("PRAGMA journal_mode=WAL")
    other.execute("CREATE TABLE mine (x)")
    other.commit()
    other.close()
    before = place.read_bytes()
    with pytest.raises(ValueError, match="not a failviz annotations file"):
        Annotations(place, evaluation)
    assert place.read_bytes() == before


def test_a_damaged_file_is_refused_and_untouched(place: Path, evaluation: Evaluation) -> None:
    notes = Annotations(place, evaluation)
    for i in range(40):
        notes.draw(list("abcdef"), f"slice {i}", note="x" * 400)
    notes.close()
    content = bytearray(place.read_bytes())
    content[4096:] = b"\x5a" * (len(content) - 4096)
    place.write_bytes(content)
    with pytest.raises(ValueError, match=r"is damaged .* and was left as it is"):
        Annotations(place, evaluation)
    assert place.read_bytes() == bytes(content)


def test_an_empty_file_is_a_new_one(place: Path, evaluation: Evaluation) -> None:
    place.touch()
    notes = Annotations(place, evaluation)
    notes.draw(["a"], "x")
    notes.close()


def test_a_newer_format_is_refused(notes: Annotations, place: Path, evaluation: Evaluation) -> None:
    notes._log._db.execute("UPDATE about SET value='99' WHERE key='format'")
    with pytest.raises(ValueError, match=r"format 99.*update failviz"):
        Annotations(place, evaluation)


def test_a_file_about_another_evaluation_is_refused(notes: Annotations, place: Path) -> None:
    with pytest.raises(ValueError, match="belongs to another Evaluation"):
        Annotations(place, make_evaluation(8))


def test_a_file_begun_without_an_evaluation_is_bound_by_the_first(place: Path, evaluation: Evaluation) -> None:
    loose = Annotations(place)
    loose.draw(["a"], "x")
    loose.close()
    bound = Annotations(place, evaluation)
    assert len(bound) == 1
    with pytest.raises(ValueError, match="another Evaluation"):
        Annotations(place, make_evaluation(8))
    bound.close()


def test_a_loose_file_that_speaks_of_other_examples_is_refused(place: Path, evaluation: Evaluation) -> None:
    loose = Annotations(place)
    loose.draw(["z"], "x")
    with pytest.raises(ValueError, match="no example with id 'z'"):
        Annotations(place, evaluation)
    with pytest.raises(ValueError, match="no example with id 'z'"):
        loose.bind(evaluation)
    assert loose.evaluation is None
    loose.close()


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda notes: notes.draw(["a", "z"], "x"), ValueError, "no example with id 'z'"),
        (lambda notes: notes.draw("a", "x"), TypeError, "ids must be a list of ids, not str"),
        (lambda notes: notes.draw(3, "x"), TypeError, "ids must be a list of ids, not int"),
        (lambda notes: notes.draw([], "x"), ValueError, "at least one example"),
        (lambda notes: notes.draw(["a"], "  "), ValueError, "a slice needs a name"),
        (lambda notes: notes.draw(["a"], 3), TypeError, "name must be a text, not int"),
        (lambda notes: notes.draw(["a"], "x" * 201), ValueError, "201 characters, and 200 is the limit"),
        (lambda notes: notes.draw(["a"], "\ud800"), ValueError, "broken character at position 0"),
        (lambda notes: notes.draw(["a"], "x", tags="background"), TypeError, "tags must be a list of texts"),
        (lambda notes: notes.draw(["a"], "x", tags=[3]), TypeError, "tag must be a text"),
        (lambda notes: notes.label("d123", name="x"), ValueError, "no annotation 'd123'"),
        (lambda notes: notes.remove("d123"), ValueError, "no annotation 'd123'"),
        (lambda notes: notes.relabel(["z"], "sneaker"), ValueError, "no example with id 'z'"),
        (lambda notes: notes.relabel([], "sneaker"), ValueError, "relabel got no ids"),
        (lambda notes: notes.relabel(["a"], "boot"), ValueError, "no class 'boot': the classes are sandal, sneaker"),
        (lambda notes: notes.relabel(["a"], 2), ValueError, "no class 2: they run from 0 to 1"),
        (lambda notes: notes.relabel(["a"], True), TypeError, "class name or number, not bool"),
        (lambda notes: notes.relabel(["a"], 0.5), TypeError, "class name or number, not float"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(notes: Annotations, call, kind, words) -> None:
    with pytest.raises(kind, match=words):
        call(notes)
    assert len(notes) == len(notes.history()) == 0


def test_neither_path_nor_evaluation_is_refused() -> None:
    with pytest.raises(ValueError, match="needs an Evaluation, a path"):
        Annotations()


def test_relabel_takes_names_and_numbers_and_none_takes_back(notes: Annotations) -> None:
    notes.relabel("a", 1)
    notes.relabel(["b"], np.int64(0))
    assert notes.relabels == {"a": "sneaker", "b": "sandal"}
    notes.relabel("a", None)
    assert notes.relabels == {"b": "sandal"}


def test_undo_and_redo_step_through_what_was_done(notes: Annotations, evaluation: Evaluation) -> None:
    assert (notes.undo(), notes.redo(), notes.can_undo) == (None, None, False)
    key = notes.draw(["a"], "x")
    notes.label(key, tags=["t"])
    notes.label(key, name="x", tags=["t"], note="")  # says nothing new
    notes.remove(key)
    assert (notes.undo(), notes.undo(), notes.undo(), notes.undo()) == (
        "remove a slice",
        "tag a slice",
        "draw a slice",
        None,
    )
    assert (notes.can_undo, notes.can_redo, len(notes)) == (False, True, 0)
    assert (notes.redo(), notes.redo()) == ("draw a slice", "tag a slice")
    assert notes.entries[key].tags == ("t",)


def test_what_an_undo_left_behind_stays_in_the_history(notes: Annotations) -> None:
    notes.draw(["a"], "first")
    notes.undo()
    notes.draw(["b"], "second")
    assert not notes.can_redo
    notes.draw(["c"], "third")
    notes.undo()
    assert notes.history()["state"].tolist() == ["replaced", "live", "undone"]
    assert "first" in notes.history()["payload"][0]


def test_the_frame_has_one_row_per_live_annotation(notes: Annotations, evaluation: Evaluation) -> None:
    assert notes.to_frame().columns.tolist() == ["kind", "key", "name", "n", "tags", "note", "created", "changed"]
    notes.draw(["a", "b"], "x", tags=["t"])
    notes.label(make_slice(evaluation), note="look")
    notes.relabel("c", "sneaker")
    frame = notes.to_frame()
    assert frame["kind"].tolist() == ["drawn", "found", "relabel"]
    assert frame["n"].tolist() == [2, 2, 1]
    assert (frame["changed"] >= frame["created"]).all()


def test_the_fingerprint_survives_a_new_name_and_a_new_order_and_not_other_members(evaluation: Evaluation) -> None:
    slice_ = make_slice(evaluation)
    assert fingerprint(slice_) == fingerprint(slice_.renamed("other"))
    assert fingerprint(slice_) == fingerprint(make_slice(evaluation.take([5, 4, 3, 2, 1, 0]), rows=(2, 4)))
    assert fingerprint(slice_) != fingerprint(make_slice(evaluation, rows=(1, 5)))


def test_two_kernels_share_one_history(notes: Annotations, place: Path, evaluation: Evaluation) -> None:
    other = Annotations(place, evaluation)
    told: list[int] = []
    other.on_change(lambda: told.append(len(other)))
    notes.draw(["a"], "from the first")
    assert [entry.name for entry in other.entries.values()] == ["from the first"]
    other.draw(["b"], "from the second")
    assert told == [2]
    assert notes.undo() == "draw a slice"
    assert [entry.name for entry in other.entries.values()] == ["from the first"]
    assert other.can_redo
    other.close()


def test_a_listener_may_be_taken_off(notes: Annotations) -> None:
    told: list[str] = []
    listener = lambda: told.append("x")  # noqa: E731 - the same object must be given twice
    notes.on_change(listener)
    notes.draw(["a"], "x")
    notes.on_change(listener, remove=True)
    notes.draw(["a"], "y")
    assert told == ["x"]


def test_threads_write_without_losing_a_row(notes: Annotations, place: Path, evaluation: Evaluation) -> None:
    other = Annotations(place, evaluation)

    def work(annotations: Annotations, name: str) -> None:
        for i in range(8):
            annotations.draw(["a"], f"{name} {i}")

    threads = [threading.Thread(target=work, args=(one, str(i))) for i, one in enumerate((notes, notes, other))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len({entry.name for entry in notes.entries.values()}) == 24
    other.close()


def test_a_busy_or_removed_file_says_that_nothing_was_saved(notes: Annotations, place: Path) -> None:
    notes._log._db.execute("PRAGMA busy_timeout=50")
    busy = sqlite3.connect(place, isolation_level=None)
    busy.execute("BEGIN EXCLUSIVE")
    with pytest.raises(OSError, match=r"nothing was saved .*locked"):
        notes.draw(["a"], "x")
    busy.execute("ROLLBACK")
    busy.close()
    notes.draw(["a"], "x")
    place.unlink()
    with pytest.raises(OSError, match=r"nothing was saved.*was removed"):
        notes.draw(["b"], "y")


def test_an_interrupted_change_leaves_no_trace(notes: Annotations, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(head: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(notes._log, "_move_to", interrupted)
        with pytest.raises(KeyboardInterrupt):
            notes.draw(["a"], "x")
    assert len(notes) == len(notes.history()) == 0
    notes.draw(["a"], "y")
    assert len(notes) == 1


WRITER = """
import sys
from failviz.annotations import Annotations
notes = Annotations(sys.argv[1])
i = 0
while True:
    key = notes.draw([str(j) for j in range(3000)], f"slice {i}", note="x" * 5000)
    sys.stdout.write(key + "\\n")
    sys.stdout.flush()
    i += 1
"""


def test_a_killed_process_loses_nothing_it_reported_saved(tmp_path: Path) -> None:
    place = tmp_path / "labels.sqlite"
    reported: list[str] = []
    for lines in (3, 17):
        child = subprocess.Popen([sys.executable, "-c", WRITER, str(place)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        reported += [child.stdout.readline().strip() for _ in range(lines)]
        os.kill(child.pid, signal.SIGKILL)
        reported += [line.strip() for line in child.stdout.read().splitlines() if line]
        child.wait()
        child.stdout.close()
        notes = Annotations(place)
        assert set(reported) <= set(notes.entries)
        assert len(notes.entries) <= len(reported) + 1  # at most the one that was on its way
        reported = list(notes.entries)
        notes.close()


STEPS = st.lists(
    st.one_of(
        st.just(("undo",)),
        st.just(("redo",)),
        st.tuples(st.just("draw"), st.sampled_from("abcdef")),
        st.tuples(st.just("name"), st.integers(0, 5), st.sampled_from(["x", "y", "z"])),
        st.tuples(st.just("drop"), st.integers(0, 5)),
        st.tuples(st.just("relabel"), st.sampled_from("abcdef"), st.sampled_from(["sandal", "sneaker", None])),
    ),
    max_size=25,
)


def snapshot(notes: Annotations) -> dict[str, object]:
    kept = {key: (entry.name, entry.ids, entry.tags) for key, entry in notes.entries.items()}
    return {**kept, "relabels": notes.relabels}


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_undo_and_redo_agree_with_a_stack_of_states_and_with_a_replay(steps: list[tuple]) -> None:
    notes = Annotations(":memory:", make_evaluation())
    past, future = [snapshot(notes)], []
    written = 0
    for step in steps:
        keys = list(notes.entries)
        before = len(notes.history())
        if step[0] == "undo":
            if notes.undo() is not None:
                future.append(past.pop())
        elif step[0] == "redo":
            if notes.redo() is not None:
                past.append(future.pop())
        elif step[0] == "draw":
            notes.draw([step[1]], "new")
        elif step[0] == "relabel":
            notes.relabel(step[1], step[2])
        elif keys and step[0] == "name":
            notes.label(keys[step[1] % len(keys)], name=step[2])
        elif keys:
            notes.remove(keys[step[1] % len(keys)])
        if len(notes.history()) > before:
            written += 1
            past.append(snapshot(notes))
            future = []
        assert snapshot(notes) == past[-1]
        assert (notes.can_undo, notes.can_redo) == (len(past) > 1, bool(future))
        notes._log._state = None  # read again from the rows
        assert snapshot(notes) == past[-1]
    assert len(notes.history()) == written  # nothing is ever deleted
    assert (notes.history()["state"] == "live").sum() == len(past) - 1
    notes.close()
