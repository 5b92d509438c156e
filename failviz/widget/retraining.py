"""The commands of the Retrain and Compare views as plain methods: plans, runs, and what they changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from failviz.annotations import Annotations
from failviz.evaluation import Evaluation
from failviz.interventions.changes import Comparison
from failviz.interventions.plan import PLAN, RetrainPlan
from failviz.widget.catalogue import Catalogue
from failviz.widget.protocol import Cancelled, Refusal, Reply
from failviz.widget.remedies import Remedies
from failviz.widget.results import changed_examples, in_table, is_target, table
from failviz.widget.routes import Route, function_route
from failviz.widget.run import Run
from failviz.widget.runs import Runs
from failviz.widget.thumbnails import Thumbnails

MOST_SHOWN = 200
_LOG_SHOWN = 20_000


class Retraining:
    """The Explorer's part that plans, runs and compares retrainings, for a notebook and for the two views."""

    _evaluation: Evaluation
    _annotations: Annotations
    _catalogue: Catalogue
    _remedies: Remedies
    _runs: Runs
    _route: Route | None
    _plan: RetrainPlan | None
    _pool_thumbnails: Thumbnails
    _compared: dict[tuple[Any, ...], Comparison]
    _unit: str
    revisions: Any
    _bump: Callable[[str], None]

    # -- from a notebook -------------------------------------------------------------------

    def on_retrain(self, function: Callable[..., Any] | None = None, *, on_main: bool = False) -> Any:
        """Decorate the function that the Retrain button runs, in a thread of its own, once per arm of the plan.

        It is called with `plan`, a RetrainPlan, and `ctx`: `ctx.progress` goes to `failviz.retrain` as `on_progress`
        (that is where Cancel reaches it), `ctx.log` writes a line into the log, as `print` does. It returns the new
        model's Evaluation on this Explorer's examples, or (model, evaluation).

        Parameters
        ----------
        function : callable (plan, ctx), optional
        on_main : bool, default False
            Run on the kernel's main thread, for code that must be there; other cells then wait for it.

        Examples
        --------
        >>> from failviz import Explorer
        >>> held_out = Evaluation(np.eye(4), labels=[0, 1, 1, 0], predictions=[0, 1, 0, 0])
        >>> explorer = Explorer(held_out, annotations=":memory:")
        >>> @explorer.on_retrain
        ... def fix(plan, ctx):
        ...     ctx.progress(0.5, "half way")
        ...     return Evaluation(np.eye(4), labels=[0, 1, 1, 0], predictions=[0, 1, 1, 0])
        >>> explorer.close()
        """
        if function is None:
            return lambda decorated: self.on_retrain(decorated, on_main=on_main)
        self._set_route(function_route(function, on_main=on_main))
        return function

    def _set_route(self, route: Route) -> None:
        self._route = route
        self._bump("runs")

    @property
    def plan(self) -> RetrainPlan | None:
        """The plan drawn up last in the Retrain view, or set here; what `start_run` and a retraining cell follow."""
        return self._plan

    @plan.setter
    def plan(self, plan: RetrainPlan | None) -> None:
        if plan is not None:
            if not isinstance(plan, RetrainPlan):
                raise TypeError(f"plan must be a RetrainPlan, not {type(plan).__name__}: see interventions.select.")
            plan.require(pool=self._remedies.pool, train=self._remedies.train)
        self._plan = plan

    def start_run(self, plan: RetrainPlan | None = None, *, wait: bool = False) -> Run:
        """Run the retraining code with a plan (default: `explorer.plan`), as the button does.

        Raises
        ------
        ValueError
            No code, no plan, an empty one, one for other data, or a run still going on.
        """
        if plan is not None:
            self.plan = plan
        if self._plan is None:
            raise ValueError("there is no plan: draw one up in the Retrain view, or set explorer.plan.")
        if self._route is None:
            raise ValueError("there is no retraining code: decorate a function with @explorer.on_retrain.")
        run = self._runs.start(self._plan, self._route)
        if wait:
            run.wait()
        return run

    @property
    def runs(self) -> list[Run]:
        """Every retraining of this session and of earlier ones on these examples, oldest first."""
        return self._runs.all()

    # -- the commands ----------------------------------------------------------------------

    def retraining_commands(self) -> dict[str, Callable[..., Any]]:
        """The method that answers each command of the two views."""
        return {
            "retraining": self.remedies,
            "plan": self.draw_up,
            "pool_thumbnails": self.pool_thumbnails,
            "run": self.press_retrain,
            "stop_run": self.stop_run,
            "runs": self.run_table,
            "run_detail": self.run_detail,
            "changed": self.changed,
        }

    # -- planning --------------------------------------------------------------------------

    def remedies(self, target: str = "slice", slice: str | None = None) -> dict[str, Any]:
        """Command "retraining": what can be done about a slice, with what, and what the button would run."""
        pool, train, route = self._remedies.pool, self._remedies.train, self._route
        confirmed = [item for item in self._catalogue.items() if item.verdict is not None and item.verdict.confirmed]
        problem = None
        if pool is None and train is None:
            problem = (
                "There is nothing to retrain on yet. Give the Explorer a pool of examples to add from, "
                "Explorer(..., pool=failviz.evaluate(model, pool_set)), or the training examples, train=."
            )
        source = getattr(pool, "source", None)
        return {
            "pool": None if pool is None else {"n": pool.n_examples, "unit": self._unit, "source": _kind(source)},
            "problem": problem,
            "route": None if route is None else {"kind": route.kind, "name": route.name},
            "n_confirmed": len(confirmed),
            "budget": self._remedies.budget(target, slice),
            "remedies": self._remedies.offered(target, slice, self._unit),
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
        self._plan = plan
        pool = self._remedies.pool
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
            "n": len(plan.additions) or len(plan.weights),
            "n_thrown_out": len(set(thrown_out)),
            "targets": self._targets(plan),
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

    def _targets(self, plan: RetrainPlan) -> list[dict[str, str]]:
        items = [item for item in self._catalogue.items() if is_target(item, plan)]
        return [{"key": item.key, "name": item.slice.name} for item in items]

    # -- running ---------------------------------------------------------------------------

    def press_retrain(self, **choices: Any) -> dict[str, Any]:
        """Command "run": draw the plan up and run the person's code with it."""
        plan = self._planned(**choices)
        if self._route is None:
            raise Refusal("there is no retraining code yet: decorate a function with @explorer.on_retrain.")
        self._plan = plan
        run = self._runs.start(plan, self._route)
        return {"number": run.number, "message": f"run {run.number} has started"}

    def stop_run(self, number: int) -> dict[str, str]:
        """Command "stop_run": ask a run to stop at its next report of progress."""
        run = self._runs.get(number)
        if not run.is_going:
            return {"message": f"run {number} is over already"}
        if run is not self._runs.current:
            raise Refusal(f"run {number} goes on in another kernel: cancel it there.")
        run.cancel()
        return {"message": f"run {number} is stopping"}

    def run_table(self) -> dict[str, Any]:
        """Command "runs": every run of this session and of earlier ones, newest first."""
        revision = self.revisions["runs"]
        return {"revision": revision, "runs": [in_table(run) for run in reversed(self._runs.all())]}

    def run_detail(self, number: int) -> dict[str, Any]:
        """Command "run_detail": one run with its loss curve, its log and, once an arm has ended, what it changed."""
        run = self._runs.get(number)
        row = in_table(run)
        kept = ("number", "title", "status", "started", "seconds", "share", "doing", "error")
        curves = [
            {"arm": arm, "loss": list(curve["loss"]), "validation": list(curve["validation"])}
            for arm, curve in list(run.curves.items())
        ]
        return {
            **{name: row[name] for name in kept},
            "reason": run.plan.reason,
            "traceback": run.traceback,
            "log": run.log[-_LOG_SHOWN:],
            "targets": self._targets(run.plan),
            "curves": curves,
            "results": None
            if run.is_going or not run.predictions
            else table(self._comparison(run), self._catalogue.items(), run.plan, self._unit),
        }

    # -- comparing -------------------------------------------------------------------------

    def _comparison(self, run: Run) -> Comparison:
        """Before and after on every slice of the list, remembered until the list or the run changes."""
        items = self._catalogue.items()
        key = (run.number, len(run.predictions), *(item.key for item in items))
        if key not in self._compared:
            self._compared = {other: kept for other, kept in self._compared.items() if other[0] != run.number}
            # By key, as two slices may have one name.
            self._compared[key] = run.comparison([item.slice.renamed(item.key) for item in items])
        return self._compared[key]

    def changed(
        self,
        number: int,
        arm: str = PLAN,
        of: str = "all",
        slice: str | None = None,
        change: str = "fixed",
        offset: int = 0,
        limit: int = 60,
    ) -> dict[str, Any]:
        """Command "changed": examples that a run has fixed or broken, or left wrong."""
        run = self._runs.get(number)
        after = run.predictions.get(arm)
        if after is None:
            raise Refusal(f"run {number} has no result called {arm!r}.")
        chosen = np.ones(self._evaluation.n_examples, dtype=bool)
        if of == "slice":
            if slice is None:
                raise Refusal("there is no slice to show: choose one.")
            chosen = self._catalogue.get(slice).slice.is_member
        return changed_examples(self._evaluation, after, chosen, change, offset, limit)


def _kind(source: Any) -> str | None:
    return None if source is None else str(source.kind)
