"""Every notebook runs from top to bottom, offline, and ends in an assertion about what it claims."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_proves_its_point(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert "assert " in code[-1].source, "the last code cell must check what the notebook claims"
    assert not any(cell.outputs for cell in code), "outputs are not committed: clear them"
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    for cell in code:
        assert not [out for out in cell.outputs if out.get("name") == "stderr"], cell.source


def test_there_is_a_quickstart():
    assert NOTEBOOKS and NOTEBOOKS[0].name == "01-quickstart.ipynb"
