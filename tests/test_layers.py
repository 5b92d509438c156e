"""The structure that ARCHITECTURE.md promises: imports point down, heavy packages load late."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import failviz

ROOT = Path(failviz.__file__).parent
LAYERS = [
    {"_checks", "_frames", "_pixels", "_statistics", "_fingerprints", "_neighbours", "_parallel", "_progress"},
    {
        *("evaluation", "_columns", "_evaluation_format", "slices", "sources", "store", "datasets"),
        *("annotations", "_annotation_state", "changelog", "runlog", "_multilabel", "_extension"),
    },
    {"discovery", "encoders", "inference", "_data_items", "_model_runners", "_model_state"},
    {
        "verification",
        "verdicts",
        "_slice_counts",
        "_slice_losses",
        "permutation",
        "refitting",
        "agreement",
        "retrieval",
        "thumbnails",
        "projection",
        "captions",
        "saliency",
        "interventions",
    },
    {"plots"},
    {"widget", "report", "cli", "__main__"},
]
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}
TORCH = {"saliency", "encoders", "datasets", "inference", "_data_items", "_model_runners", "_model_state"}
TORCH_FILES = {"training.py", "_training_data.py", "_checkpoint.py", "_learner.py", "_descent.py"}  # of interventions/
WIDGET_PACKAGES = {"anywidget", "ipywidgets", "traitlets"}


def _modules():
    for path in sorted(ROOT.rglob("*.py")):
        yield path, path.relative_to(ROOT).parts[0].removesuffix(".py")


def _imports(path, top_level_only=False):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    inside = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only or (top_level_only and id(node) in inside):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_module_stands_in_a_layer():
    assert {home for _, home in _modules()} - {"__init__"} <= set(LAYER)


def test_imports_point_down():
    for path, home in _modules():
        if home == "__init__":
            continue
        for name in _imports(path):
            parts = name.split(".")
            if parts[0] == "failviz" and len(parts) > 1 and parts[1] in LAYER:
                assert LAYER[parts[1]] <= LAYER[home], f"{path.name} (layer {LAYER[home]}) imports {name}"


def test_discovery_and_encoders_do_not_know_each_other():
    for path, home in _modules():
        other = {"discovery": "encoders", "encoders": "discovery"}.get(home)
        if other:
            assert not [name for name in _imports(path) if name.startswith(f"failviz.{other}")]


def test_torch_and_widget_packages_stay_where_they_belong():
    for path, home in _modules():
        top = {name.split(".")[0] for name in _imports(path, top_level_only=True)}
        may = home in TORCH or (home == "interventions" and path.name in TORCH_FILES)
        assert may or "torch" not in top, path
        assert home == "widget" or not top & WIDGET_PACKAGES, path


def test_import_is_light():
    code = (
        "import failviz, sys; failviz.Evaluation; failviz.Slice; failviz.verify; import failviz.datasets; "
        "print([name for name in ('torch', 'matplotlib', 'anywidget', 'open_clip', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_survive_the_import_of_every_submodule():
    for info in pkgutil.walk_packages(failviz.__path__, "failviz."):
        if not info.name.endswith(("__main__", ".build")):
            importlib.import_module(info.name)
    for name in failviz.__all__:
        value = getattr(failviz, name)
        is_package = name in failviz._SUBPACKAGES
        assert (type(value).__name__ == "module") == is_package, name
    assert set(failviz._HOME) | set(failviz._SUBPACKAGES) == set(failviz.__all__)
