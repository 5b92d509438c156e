"""One JupyterLab and one browser for all browser tests."""

import shutil
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    from lab import Lab

    with Lab(tmp_path_factory.mktemp("lab")) as running:
        for notebook in NOTEBOOKS.glob("*.ipynb"):
            shutil.copyfile(notebook, running.folder / notebook.name)
        yield running


@pytest.fixture(scope="session")
def browser():
    from lab import chromium

    with chromium() as running:
        yield running
