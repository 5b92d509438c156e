"""Explorers on the synthetic Evaluation of `widget_cases`, closed when the test ends."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from widget_cases import GrassFinder, after_retraining, make_evaluation, make_pool

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
    """One found slice with a direction and one drawn slice of two examples, both selected; a pool, a finished run."""
    built = open_explorer(evaluation, GrassFinder(), pool=make_pool())
    built.selection = ["img-1", "img-3"]
    built.create_slice("my group")

    @built.on_retrain
    def fix(plan: Any, ctx: Any) -> Any:
        ctx.progress(0.5, "half way", loss=0.7, validation=0.6)
        return after_retraining(evaluation, 10 if ctx.arm == "plan" else 2, 1)

    built.press_retrain(
        target="slice", slice=built.active_slice, remedy="direction", budget=20, thrown_out=[], control=True
    )
    assert built.runs[-1].wait(20)
    return built
