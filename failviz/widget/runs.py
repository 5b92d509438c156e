"""Retraining runs of one Explorer session: started, watched, cancelled, kept.

One run at a time. The person's code runs once per arm of the plan; each arm's predictions are on disk as soon as it
ends (`failviz/runlog.py`), models and Evaluations stay in memory for the notebook.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any

from failviz._progress import without_bars
from failviz.annotations import Annotations
from failviz.evaluation import Evaluation
from failviz.interventions.comparison import compare
from failviz.interventions.plan import PLAN, RetrainPlan
from failviz.runlog import RunLog, RunRecord
from failviz.widget import routes
from failviz.widget.protocol import Refusal
from failviz.widget.routes import Route
from failviz.widget.run import Run, RunCancelled, RunContext

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 2.0


class Runs:
    """All runs about one Evaluation: those of earlier kernels from the file, those of this one alive.

    Parameters
    ----------
    evaluation : Evaluation
        What new models are judged on.
    annotations : Annotations
        In whose file the runs are kept.
    """

    def __init__(self, evaluation: Evaluation, annotations: Annotations):
        self._evaluation = evaluation
        self._log = RunLog(annotations.place if annotations.saved else ":memory:")
        self._lock = threading.RLock()
        self._listeners: list[Callable[[], None]] = []
        self._mine: dict[int, Run] = {}
        self._others: dict[int, Run] = {record.number: self._run(record) for record in self._log.runs()}
        self._looked = time.monotonic()

    def all(self) -> list[Run]:
        """Oldest first."""
        with self._lock:
            self._look_around()
            both = {**self._others, **self._mine}
            return [both[number] for number in sorted(both)]

    def get(self, number: int) -> Run:
        with self._lock:
            found = self._mine.get(number)
        found = found or next((run for run in self.all() if run.number == number), None)
        if found is None:
            raise Refusal(f"there is no run {number} here.")
        return found

    @property
    def current(self) -> Run | None:
        """The run of this kernel that goes on now."""
        with self._lock:
            return next((run for run in self._mine.values() if run.is_going), None)

    def start(self, plan: RetrainPlan, route: Route, *, targets: Sequence[str] = (), inline: bool = False) -> Run:
        """Begin a run and return; `inline` waits for its end here, as a cell does."""
        if plan.is_empty:
            raise Refusal("the plan changes nothing: add some examples, or weigh some, first.")
        if self._evaluation.labels is None or self._evaluation.predictions is None:
            raise Refusal(
                "what a retraining changed cannot be told: the Explorer's examples need labels and predictions."
            )
        with self._lock:
            if (going := self.current) is not None:
                raise Refusal(f"run {going.number} is still going on: wait for it, or cancel it first.")
            number = self._log.begin(plan.to_dict(), targets=list(targets))
            at = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
            run = self._run(RunRecord(number, at, "queued", None, plan.to_dict(), targets=list(targets)))
            self._mine[number] = run
        self._tell()
        if inline:
            self._carry_out(run, route, inline=True)
            return run
        try:
            routes.start(lambda: self._carry_out(run, route, inline=False), on_main=route.on_main)
        except Exception as error:
            run.error = _one_line(error)
            self._end(run, "failed", None)
            raise
        return run

    def throw_out(self, pool: str, target: str, ids: Sequence[str]) -> None:
        """Remember what a person has thrown out of the plans for a target; a file that is gone loses nothing else."""
        if list(ids) != self.thrown_out(pool, target):
            self._log.throw_out(pool, target, ids)

    def thrown_out(self, pool: str, target: str) -> list[str]:
        return self._log.thrown_out(pool, target)

    def on_change(self, callback: Callable[[], None], *, remove: bool = False) -> None:
        """Call `callback()` when a run begins, moves or ends, in the thread where it does."""
        if remove:
            self._listeners = [listener for listener in self._listeners if listener != callback]
        else:
            self._listeners.append(callback)

    @classmethod
    def shared(cls, evaluation: Evaluation, annotations: Annotations) -> Runs:
        """The Runs of this file in this process, or, of annotations that are not saved, those kept with them.

        Two Explorers then watch the same ones, and one run goes on at a time.
        """
        with _SHARING:
            if not annotations.saved:
                found = _IN_MEMORY.get(annotations)
                if found is None:
                    found = _IN_MEMORY[annotations] = cls(evaluation, annotations)
                return found
            file = (os.path.realpath(annotations.place), os.stat(annotations.place).st_ino)
            kept = _OF_FILE.get(file)
            if kept is None:
                kept = _OF_FILE[file] = cls(evaluation, annotations)
            return kept

    def _look_around(self) -> None:
        """Take in what other kernels have begun or ended; at most every two seconds, as this reads the file."""
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        changed = [
            number
            for number, status in self._log.statuses().items()
            if number not in self._mine and (number not in self._others or self._others[number].status != status)
        ]
        if changed:
            self._others.update({record.number: self._run(record) for record in self._log.runs(changed)})

    # -- one run ---------------------------------------------------------------------------

    def _run(self, record: RunRecord) -> Run:
        return Run(record, self._evaluation, lambda: self._log.predictions(record.number))

    def _carry_out(self, run: Run, route: Route, *, inline: bool) -> None:
        begun, status = time.monotonic(), "failed"
        ended: BaseException | None = None
        try:
            with routes.printing_to(run.say, also_shown=inline), without_bars(), routes.on_interrupt(run.cancel):
                self._set(run, "running")
                for place, (arm, plan) in enumerate(run.plan.arms.items()):
                    self._carry_out_arm(run, route, arm, plan, (place, len(run.plan.arms)))
            status = "done"
        except RunCancelled:
            status = "cancelled"
        except KeyboardInterrupt as error:
            status, ended = "cancelled", error
        except BaseException as error:  # SystemExit too: it would take the kernel along
            run.error = _one_line(error)
            run.traceback = "".join(_of_the_person(error))
            ended = None if isinstance(error, Exception) else error
        finally:
            self._end(run, status, time.monotonic() - begun)
        if inline and ended is not None:
            raise ended

    def _carry_out_arm(self, run: Run, route: Route, arm: str, plan: RetrainPlan, place: tuple[int, int]) -> None:
        run.arm, run.doing = arm, "starting" if place[1] == 1 else f"{arm}: starting"
        context = RunContext(run, arm, place, self._tell)
        context.progress(0.0)
        model, after = _result(route.call(plan, context, arm != PLAN), route)
        run.share = (place[0] + 1) / place[1]  # what is there is kept, even when Cancel was pressed meanwhile
        others = [known for other in self._mine.values() for known in other.models.values()]
        if model is not None and any(model is known for known in others):
            raise ValueError(
                "this model was returned before, by another arm or run, so it was trained on top of it: train a copy, "
                "as failviz.retrain does (copy.deepcopy(model))."
            )
        run.models[arm], run.evaluations[arm] = model, after
        try:
            compare(self._evaluation, {arm: after})
        except ValueError as error:
            raise ValueError(
                f"{error} The model is kept in explorer.runs; evaluate it on the Explorer's own examples, under the "
                "same ids (evaluate's ids=)."
            ) from None
        order = after.rows_of(self._evaluation.ids)
        assert after.predictions is not None
        run._predictions = {**run._predictions, arm: after.predictions[order]}
        run.has_results = True
        self._saving(run, lambda: self._log.keep_arm(run.number, arm, run._predictions[arm]))
        self._set(run, "running")

    def _set(self, run: Run, status: str) -> None:
        run.status = status
        self._saving(run, lambda: self._log.note(run.number, status, **_facts(run)))
        self._tell()

    def _end(self, run: Run, status: str, seconds: float | None) -> None:
        run.seconds, run.arm, run.doing = seconds, None, None
        run.share = 1.0 if status == "done" else run.share
        run.status = status
        try:
            self._saving(run, lambda: self._log.end(run.number, status, seconds=seconds, **_facts(run)))
        finally:
            run._over.set()
            self._tell()

    def _saving(self, run: Run, write: Callable[[], None]) -> None:
        """A file that cannot be written is said and logged; the run goes on, in memory."""
        try:
            write()
        except Exception as error:
            run.say(f"{error}\n")
            logger.warning("run %s: %s", run.number, error)

    def _tell(self) -> None:
        for listener in list(self._listeners):
            try:
                listener()
            except Exception:  # who only watches must not stop who runs
                logger.exception("a listener to runs failed")


_OF_FILE: weakref.WeakValueDictionary[tuple[str, int], Runs] = weakref.WeakValueDictionary()
_IN_MEMORY: weakref.WeakKeyDictionary[Annotations, Runs] = weakref.WeakKeyDictionary()
_SHARING = threading.Lock()


def _facts(run: Run) -> dict[str, Any]:
    return {
        "targets": run.targets,
        "error": run.error,
        "traceback": run.traceback,
        "log": run.log,
        "curves": run.curves,
    }


def _result(returned: Any, route: Route) -> tuple[Any, Evaluation]:
    """(model or None, Evaluation) of what the retraining code returned."""
    parts: Sequence[Any] = returned if isinstance(returned, tuple | list) else [returned]
    evaluations = [part for part in parts if isinstance(part, Evaluation)]
    if len(evaluations) != 1 or len(parts) > 2:
        what = "ended in" if route.kind == "cell" else "returned"
        raise ValueError(
            f"the retraining {route.kind} must give the new model's Evaluation on the Explorer's examples, alone or as "
            f"(model, evaluation), and it {what} {_described(returned)}: add failviz.evaluate(model, test_set)."
        )
    models = [part for part in parts if part is not evaluations[0]]
    return (models[0] if models else None), evaluations[0]


def _described(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _of_the_person(error: BaseException) -> list[str]:
    """The traceback from where the person's code begins: the frames of the runner tell them nothing."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename in (__file__, routes.__file__):
        trace = trace.tb_next
    return traceback.format_exception(type(error), error, trace if trace is not None else error.__traceback__)
