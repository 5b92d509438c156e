import numpy as np
import pytest

from failviz.store import RowTable, atomic_folder


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "a") as folder:
        (folder / "half").write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with atomic_folder(tmp_path / "a") as folder:
        (folder / "one").write_text("1")
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "a") as folder:
        raise RuntimeError
    assert (tmp_path / "a" / "one").read_text() == "1"
    with atomic_folder(tmp_path / "a") as folder:
        (folder / "two").write_text("2")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["two"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_rows_are_remembered_between_runs(tmp_path):
    first = RowTable(tmp_path, 5, {"what": "x"})
    first.write("s", 0, {"a": np.ones((2, 3)), "b": np.arange(2)})
    second = RowTable(tmp_path, 5, {"what": "x"})
    assert second.rows_done("s") == 2 and second.rows_done("other") == 0 and second.has("a") and not second.has("c")
    second.write("s", 2, {"a": np.zeros((3, 3)), "b": np.arange(3)})
    assert second.column("b").tolist() == [0, 1, 0, 1, 2] and second.column("a").sum() == 6
    with pytest.raises(ValueError, match="its what differs"):
        RowTable(tmp_path, 5, {"what": "y"})
    with pytest.raises(ValueError, match="its length differs"):
        RowTable(tmp_path, 6, {"what": "x"})
