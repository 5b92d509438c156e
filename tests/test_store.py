import numpy as np
import pytest

from failviz.store import RowTable, atomic_folder, readable, recovered

MARK = "mark.json"


def fill(folder, text):
    (folder / MARK).write_text(text)


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "a", MARK) as folder:
        fill(folder, "half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with atomic_folder(tmp_path / "a", MARK) as folder:
        fill(folder, "1")
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "a", MARK) as folder:
        raise RuntimeError
    assert (tmp_path / "a" / MARK).read_text() == "1"
    with atomic_folder(tmp_path / "a", MARK) as folder:
        fill(folder, "2")
    assert (tmp_path / "a" / MARK).read_text() == "2"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode  # colleagues can read it


def test_what_is_not_ours_is_left_alone(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("years")
    (tmp_path / "file").write_text("x")
    for name in ("thesis", "file"):
        with pytest.raises(FileExistsError, match="was left alone"), atomic_folder(tmp_path / name, MARK):
            raise AssertionError
    assert (tmp_path / "thesis" / "thesis.tex").read_text() == "years"


def test_an_older_folder_comes_back_when_the_new_one_cannot_be_put_in_place(tmp_path, monkeypatch):
    import os

    with atomic_folder(tmp_path / "a", MARK) as folder:
        fill(folder, "1")
    replace = os.replace
    moves = []

    def fails_second(source, target):
        moves.append(target)
        if len(moves) == 2:
            raise PermissionError("in use")
        replace(source, target)

    monkeypatch.setattr("failviz.store.os.replace", fails_second)
    with pytest.raises(PermissionError), atomic_folder(tmp_path / "a", MARK) as folder:
        fill(folder, "2")
    monkeypatch.undo()
    assert (tmp_path / "a" / MARK).read_text() == "1" and len(list(tmp_path.iterdir())) == 1


def killed_between_two_renames(path, text):
    """What a process leaves that is killed when the older folder has stepped aside."""
    with atomic_folder(path, MARK) as folder:
        fill(folder, text)
    aside = path.parent / f".{path.name}-old-{text}.tmp"
    aside.mkdir()
    return path.rename(aside / path.name)


def test_a_kill_between_two_renames_loses_nothing(tmp_path):
    path = tmp_path / "a[1]"
    aside = killed_between_two_renames(path, "1")
    assert readable(path, MARK) == aside and (aside / MARK).read_text() == "1"  # read where it is, moved by nobody
    assert not path.exists()
    assert (recovered(path, MARK) / MARK).read_text() == "1"
    assert [one.name for one in tmp_path.iterdir()] == ["a[1]"]
    assert readable(tmp_path / "nothing", MARK) == recovered(tmp_path / "nothing", MARK) == tmp_path / "nothing"


def test_what_stepped_aside_does_not_come_back_after_the_next_save(tmp_path):
    path = tmp_path / "a"
    killed_between_two_renames(path, "1")
    with atomic_folder(path, MARK) as folder:
        fill(folder, "2")
    assert [one.name for one in tmp_path.iterdir()] == ["a"]
    (path / MARK).unlink()
    path.rmdir()
    assert readable(path, MARK) == path and not path.exists()


def test_an_empty_folder_makes_way_and_leaves_nothing(tmp_path):
    (tmp_path / "a").mkdir()
    with atomic_folder(tmp_path / "a", MARK) as folder:
        fill(folder, "1")
    assert [one.name for one in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a" / MARK).read_text() == "1"


def test_a_ruin_is_no_older_folder(tmp_path):
    aside = killed_between_two_renames(tmp_path / "a", "1")
    (aside / MARK).unlink()
    assert readable(tmp_path / "a", MARK) == tmp_path / "a"
    with atomic_folder(tmp_path / "a", MARK) as folder:
        fill(folder, "2")
    assert (tmp_path / "a" / MARK).read_text() == "2"


def test_a_damaged_or_half_written_journal_is_said_or_written_anew(tmp_path):
    (tmp_path / "journal.json.tmp").write_text("{")  # a first run that was killed at once
    RowTable(tmp_path, 5)
    for damaged in ("{", "[]", '{"n": 5}'):
        (tmp_path / "journal.json").write_text(damaged)
        with pytest.raises(ValueError, match=r"journal.json is damaged \(.*\): delete that folder"):
            RowTable(tmp_path, 5)


@pytest.mark.parametrize("on_disk", [True, False])
def test_columns_grow_stage_by_stage(tmp_path, on_disk):
    table = RowTable(tmp_path if on_disk else None, 5)
    assert table.begin("s", {"what": "x"}) == 0
    table.write("s", 0, {"a/b": np.ones((2, 3)), "b": np.arange(2)})
    table.write("s", 2, {"a/b": np.zeros((3, 3)), "b": np.arange(3)})
    columns = table.columns("s")
    assert columns["b"].tolist() == [0, 1, 0, 1, 2] and columns["a/b"].sum() == 6
    with pytest.raises(ValueError, match="b changed shape at row 0"):
        table.write("s", 0, {"a/b": np.ones((2, 3)), "b": np.ones((2, 2))})
    with pytest.raises(ValueError, match="a/b comes with some rows and not with others, first at row 2"):
        table.write("s", 2, {"b": np.arange(3)})


def test_rows_are_remembered_between_runs(tmp_path):
    first = RowTable(tmp_path, 5)
    first.begin("s", {"what": "x"})
    first.write("s", 0, {"a": np.ones((2, 3))})
    second = RowTable(tmp_path, 5)
    assert second.begin("s", {"what": "x"}) == 2 and second.begin("another", {}) == 0
    with pytest.raises(ValueError, match="begun with another what"):
        RowTable(tmp_path, 5).begin("s", {"what": "y"})
    with pytest.raises(ValueError, match="begun for 5 rows, not 6"):
        RowTable(tmp_path, 6)


def test_a_folder_with_other_files_is_not_written_to(tmp_path):
    np.save(tmp_path / "probs.npy", np.ones(3))
    with pytest.raises(FileExistsError, match="holds other files"):
        RowTable(tmp_path, 5)
    with pytest.raises(FileExistsError, match="is a file, and results are a folder"):
        RowTable(tmp_path / "probs.npy", 5)
