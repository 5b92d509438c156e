"""Explorers on the synthetic Evaluation of `widget_cases`, closed when the test ends."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from widget_cases import make_evaluation, make_slice

from failviz.annotations import Annotations
from failviz.evaluation import Evaluation
from failviz.widget import Explorer


@pytest.fixture
def evaluation() -> Evaluation:
    return make_evaluation()


@pytest.fixture
def open_explorer() -> Iterator[Callable[..., Explorer]]:
    """Build Explorers that are closed at the end; annotations stay in memory unless given."""
    opened: list[tuple[Explorer, Annotations | None]] = []

    def build(evaluation: Evaluation, things: Any = (), annotations: Any = None, **options: Any) -> Explorer:
        own = Annotations(":memory:", evaluation) if annotations is None else None
        explorer = Explorer(evaluation, things, annotations or own, **{"layout": "pca", **options})
        opened.append((explorer, own))
        return explorer

    yield build
    for explorer, own in opened:
        explorer.close()
        if own is not None:
            own.close()


@pytest.fixture
def explorer(evaluation: Evaluation, open_explorer: Callable[..., Explorer]) -> Explorer:
    """One found slice with a direction and one drawn slice of two examples, both selected."""
    built = open_explorer(evaluation, make_slice(evaluation))
    built.selection = ["img-1", "img-3"]
    built.create_slice("my group")
    return built
