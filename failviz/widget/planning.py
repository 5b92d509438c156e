"""The commands of the Retrain view that plan: what can be done about a slice, and what a retraining would add."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from failviz.evaluation import Evaluation
from failviz.interventions.plan import RetrainPlan
from failviz.widget.catalogue import Catalogue
from failviz.widget.protocol import Cancelled, Refusal, Reply
from failviz.widget.remedies import Remedies
from failviz.widget.routes import Route
from failviz.widget.runs import Runs
from failviz.widget.thumbnails import Thumbnails

logger = logging.getLogger(__name__)

MOST_SHOWN = 2_000


class Planning:
    """The Explorer's part that draws plans up."""

    _evaluation: Evaluation
    _catalogue: Catalogue
    _remedies: Remedies
    _runs: Runs
    _route: Route | None
    _drawn: RetrainPlan | None
    _pool_thumbnails: Thumbnails
    _unit: str

    def remedies(
        self,
        target: str = "slice",
        slice: str | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> dict[str, Any]:
        """Command "retraining": what can be done about a slice, with what, and what the button would run."""
        pool, train, route = self._remedies.pool, self._remedies.train, self._route
        confirmed = [item for item in self._catalogue.items() if item.verdict is not None and item.verdict.confirmed]
        problem = None
        if pool is None and train is None:
            problem = (
                "There is nothing to retrain on yet. Give the Explorer a pool of examples to add from, "
                "Explorer(..., pool=failviz.evaluate(model, pool_set)), or the training examples, train=."
            )
        elif self._evaluation.labels is None or self._evaluation.predictions is None:
            problem = (
                f"Which of these {self._unit} are wrong is not known, so neither is what a retraining would change: "
                "give the Explorer an Evaluation with labels and predictions."
            )
        rows: list[int] = []
        if pool is not None:
            rows = pool.rows_of(self._runs.thrown_out(pool.hash, _of_target(target, slice))).tolist()
        return {
            "pool": None
            if pool is None
            else {"n": pool.n_examples, "unit": self._unit, "source": self._pool_thumbnails.kind},
            "problem": problem,
            "route": None if route is None else {"kind": route.kind, "name": route.name},
            "n_confirmed": len(confirmed),
            "budget": self._remedies.budget(target, slice),
            "remedies": self._remedies.offered(target, slice, self._unit),
            "thrown_out": rows,
        }

    def draw_up(
        self,
        target: str = "slice",
        slice: str | None = None,
        remedy: str = "direction",
        budget: int | None = None,
        thrown_out: Sequence[int] = (),
        control: bool = True,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> dict[str, Any]:
        """Command "plan": what a retraining would add, for the person to look through; nothing runs yet."""
        plan = self._planned(target, slice, remedy, budget, thrown_out, control)
        if should_stop():
            raise Cancelled
        self._drawn = plan
        pool = self._remedies.pool
        if pool is not None:
            self._remember(pool, _of_target(target, slice), thrown_out)
        examples: list[dict[str, Any]] = []
        if plan.additions and pool is not None:
            shown = list(plan.additions.items())[:MOST_SHOWN]
            rows = pool.rows_of([example for example, _ in shown])
            examples = [
                {"row": int(row), "id": example, "label": plan.class_names[label], "score": None}
                for row, (example, label) in zip(rows, shown, strict=True)
            ]
        return {
            "title": plan.name,
            "reason": plan.reason,
            "n": len(plan.additions) or len(plan.weights) or len(plan.relabels),
            "n_thrown_out": len(set(thrown_out)),
            "targets": self._targets(self._keys(plan)),
            "by_label": [{"name": name, "count": n} for name, n in plan.by_label.items()],
            "cautions": list(plan.cautions),
            "examples": examples,
        }

    def _planned(
        self,
        target: str,
        slice: str | None,
        remedy: str,
        budget: int | None,
        thrown_out: Sequence[int],
        control: bool,
    ) -> RetrainPlan:
        pool = self._remedies.pool
        bad = [row for row in thrown_out if pool is None or row >= pool.n_examples]
        if bad:
            raise Refusal(f"there is no row {bad[0]} in the pool.")
        out = [] if pool is None else pool.ids[np.asarray(thrown_out, dtype=np.int64)].tolist()
        return self._remedies.plan(target, slice, remedy, budget, out, control)

    def pool_thumbnails(
        self, rows: Sequence[int], size: int = 64, should_stop: Callable[[], bool] = lambda: False
    ) -> Reply:
        """Command "pool_thumbnails": as "thumbnails", of the pool."""
        if self._remedies.pool is None:
            raise Refusal("there is no pool to show: Explorer(..., pool=evaluation).")
        return self._pool_thumbnails.reply(rows, size, should_stop)

    def _remember(self, pool: Evaluation, target: str, thrown_out: Sequence[int]) -> None:
        try:
            self._runs.throw_out(pool.hash, target, pool.ids[np.asarray(thrown_out, dtype=np.int64)].tolist())
        except OSError as error:  # the plan stands all the same
            logger.warning("what was thrown out is not saved: %s", error)

    def _keys(self, plan: RetrainPlan) -> list[str]:
        """Keys of the slices that a plan names, by the names they have now or were found under."""
        return [
            item.key
            for item in self._catalogue.items()
            if item.slice.name in plan.targets or item.found_name in plan.targets
        ]

    def _targets(self, keys: Sequence[str]) -> list[dict[str, str]]:
        items = [item for item in self._catalogue.items() if item.key in keys]
        return [{"key": item.key, "name": item.slice.name} for item in items]


def _of_target(target: str, slice: str | None) -> str:
    """Under what name a target's rejections are kept."""
    return slice or "" if target == "slice" else target
