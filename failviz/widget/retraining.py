"""Retraining from a notebook and from the screen: the code, its runs, and what they changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from failviz.annotations import Annotations
from failviz.interventions.changes import Comparison
from failviz.interventions.plan import PLAN, RetrainPlan
from failviz.widget.planning import Planning
from failviz.widget.protocol import Cancelled, Refusal
from failviz.widget.remedies import OWN
from failviz.widget.results import changed_examples, in_table, table
from failviz.widget.routes import Route, function_route
from failviz.widget.run import Run

_LOG_SHOWN = 20_000


class Retraining(Planning):
    """The Explorer's part that runs and compares retrainings, for a notebook and for the two views."""

    _annotations: Annotations
    _compared: dict[tuple[Any, ...], Comparison]
    revisions: Any
    comm: Any
    _bump: Callable[[str], None]

    # -- from a notebook -------------------------------------------------------------------

    def on_retrain(self, function: Callable[..., Any] | None = None, *, on_main: bool = False) -> Any:
        """Decorate the function that the Retrain button runs, in a thread of its own, once per arm of the plan.

        It is called with `plan`, a RetrainPlan, and `ctx`: `ctx.progress` goes to `failviz.retrain` and
        `failviz.evaluate` as `on_progress` (that is where Cancel reaches them), `ctx.log` writes a line into the log,
        as `print` does. It returns the new model's Evaluation on this Explorer's examples, or (model, evaluation). A
        model that it trains in place would start the next arm from the last one, so train a copy, as `failviz.retrain`
        does. Models stay in `explorer.runs` until `run.forget()`.

        Parameters
        ----------
        function : callable (plan, ctx), optional
        on_main : bool, default False
            Run on the kernel's main thread, for code that must be there; other cells then wait for it.

        Examples
        --------
        >>> from failviz import Evaluation, Explorer
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

    def take_cell(self, route: Route) -> Run | None:
        """Make a cell what the button runs, and run it here and now if the notebook has set a plan."""
        self._set_route(route)
        plan = self._remedies.own  # what only lies on the screen waits for the button
        return None if plan is None else self._runs.start(plan, route, targets=self._keys(plan), inline=True)

    @property
    def plan(self) -> RetrainPlan | None:
        """The plan set here, else the one on the screen; what `start_run` and a retraining cell follow.

        A plan set here is offered in the Retrain view, too, as "From the notebook"; None forgets both.
        """
        return self._remedies.own or self._drawn

    @plan.setter
    def plan(self, plan: RetrainPlan | None) -> None:
        self._remedies.own = None if plan is None else self._fitting(plan)
        if plan is None:
            self._drawn = None
        self._bump("runs")

    def _fitting(self, plan: RetrainPlan) -> RetrainPlan:
        """The plan, refused where it was made for other data than this Explorer's."""
        if not isinstance(plan, RetrainPlan):
            raise TypeError(f"plan must be a RetrainPlan, not {type(plan).__name__}: see interventions.select.")
        plan.require(pool=self._remedies.pool, train=self._remedies.train)
        return plan

    def start_run(self, plan: RetrainPlan | None = None, *, wait: bool = False) -> Run:
        """Run the retraining code with a plan (default: `explorer.plan`), as the button does.

        With `wait`, come back when it is over.

        Raises
        ------
        ValueError
            No code, no plan, an empty one, one for other data, or a run still going on.
        RuntimeError
            With `wait`, when the run failed: with its error and traceback.
        """
        chosen = self.plan if plan is None else self._fitting(plan)
        if chosen is None:
            raise ValueError("there is no plan: draw one up in the Retrain view, or set explorer.plan.")
        if self._route is None:
            raise ValueError("there is no retraining code: decorate a function with @explorer.on_retrain.")
        run = self._runs.start(chosen, self._route, targets=self._keys(chosen))
        if wait:
            run.wait()
            if run.status == "failed":
                raise RuntimeError(f"run {run.number} failed: {run.error}\n\n{run.traceback}")
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

    # -- running ---------------------------------------------------------------------------

    def press_retrain(self, should_stop: Callable[[], bool] = lambda: False, **choices: Any) -> dict[str, Any]:
        """Command "run": draw the plan up and run the person's code with it."""
        plan = self._planned(**choices)
        if self._route is None:
            raise Refusal("there is no retraining code yet: decorate a function with @explorer.on_retrain.")
        if should_stop():
            raise Cancelled
        self._drawn = plan
        items = [] if choices["remedy"] == OWN else self._remedies.targets(choices["target"], choices["slice"])
        keys = [item.key for item in items if item.slice.name in plan.targets] or self._keys(plan)
        run = self._runs.start(plan, self._route, targets=keys)
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

    def run_detail(self, number: int, should_stop: Callable[[], bool] = lambda: False) -> dict[str, Any]:
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
            "targets": self._targets(run.targets),
            "curves": curves,
            "results": self._results(run) if run.has_results and not run.is_going else None,
        }

    # -- comparing -------------------------------------------------------------------------

    def _results(self, run: Run) -> dict[str, Any]:
        comparison = self._comparison(run)
        return table(comparison, self._catalogue.items(), run.targets, self._unit, self._evaluation)

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
