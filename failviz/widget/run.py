"""One retraining run, and the `ctx` through which the person's code reports and is stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from failviz.evaluation import Evaluation
from failviz.interventions.changes import Comparison
from failviz.interventions.comparison import compare
from failviz.interventions.plan import RetrainPlan
from failviz.runlog import GOING, RunRecord

_BUMP_SECONDS = 0.2
_LONGEST_LOG = 200_000
_MOST_POINTS = 400


class RunCancelled(BaseException):
    """Raised by `ctx.progress` once a run is cancelled; no Exception, so that code which catches those lets it pass."""


class Run:
    """One retraining, going on or over.

    Attributes
    ----------
    number : int
    plan : RetrainPlan
    status : {"queued", "running", "done", "cancelled", "failed", "interrupted"}
    models, evaluations : dict by arm
        What the retraining code returned in this kernel; empty for runs of an earlier one.
    predictions : dict of {arm: int64 array (n,)}
        Of the new models on the Explorer's examples.
    targets : list of str
        Keys, on the Explorer's list, of the slices it is meant to mend.
    error, traceback : str or None
    log : str
        What the retraining code printed.
    """

    def __init__(self, record: RunRecord, evaluation: Evaluation, predictions: Callable[[], dict[str, np.ndarray]]):
        self.number, self.started, self.status, self.seconds = (
            record.number,
            record.started,
            record.status,
            record.seconds,
        )
        self.plan, self.targets = RetrainPlan.from_dict(record.plan), record.targets
        self.has_results = record.has_results
        self.error, self.traceback, self.log, self.curves = record.error, record.traceback, record.log, record.curves
        self.models: dict[str, Any] = {}
        self.evaluations: dict[str, Evaluation] = {}
        self.share: float | None = None
        self.doing: str | None = None
        self.arm: str | None = None
        self._evaluation, self._read, self._predictions = evaluation, predictions, dict[str, np.ndarray]()
        self._over = threading.Event()
        self._stop = threading.Event()
        if record.status not in GOING:
            self._over.set()

    @property
    def predictions(self) -> dict[str, np.ndarray]:
        if not self._predictions:
            self._predictions = self._read()
        return self._predictions

    @property
    def is_going(self) -> bool:
        return self.status in GOING

    @property
    def arms(self) -> list[str]:
        """Arms of the plan, in the order in which they run."""
        return list(self.plan.arms)

    def cancel(self) -> None:
        """Ask it to stop at its next report of progress."""
        self._stop.set()

    @property
    def is_stopping(self) -> bool:
        return self.is_going and self._stop.is_set()

    def say(self, text: str) -> None:
        """Add to the log; what is very old goes."""
        self.log = (self.log + text)[-_LONGEST_LOG:]

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is over; False when time ran out."""
        return self._over.wait(timeout)

    def comparison(self, slices: Any = ()) -> Comparison:
        """Before and after on the Explorer's examples, for the arms that finished."""
        if not self.predictions:
            raise ValueError(f"run {self.number} has no result to compare: it is {self._ended}.")
        return compare(self._evaluation, self.predictions, slices, used=self.plan)

    def forget(self) -> None:
        """Let go of the models and Evaluations of this run; what they predicted is kept."""
        self.models.clear()
        self.evaluations.clear()

    def __repr__(self) -> str:
        return f"Run {self.number}: {self.plan.name}, {self._ended}"

    @property
    def _ended(self) -> str:
        return f"{self.status} ({self.error.removesuffix('.')})" if self.error else self.status


class RunContext:
    """What the retraining code is given as `ctx`: where it reports progress, says things, and is cancelled."""

    def __init__(self, run: Run, arm: str, place: tuple[int, int], told: Callable[[], None]):
        self.arm = arm
        self._run, self._place, self._told, self._last = run, place, told, 0.0

    @property
    def cancelled(self) -> bool:
        """Whether the person has pressed Cancel."""
        return self._run._stop.is_set()

    def progress(
        self, at: Any = None, words: str | None = None, *, loss: float | None = None, validation: float | None = None
    ) -> None:
        """Report progress; stops the run when it was cancelled. Give it to `failviz.retrain` as `on_progress`.

        Parameters
        ----------
        at : float in [0, 1], or what `failviz.retrain` and `failviz.evaluate` report as progress
        words : str, optional
            What is being done.
        loss, validation : float, optional
            Points of the loss curve.
        """
        if self.cancelled:
            raise RunCancelled
        if at is not None and not isinstance(at, int | float):
            words = words or at.words
            if not getattr(at, "is_judging", False):  # else the points of the batch before come again
                loss = at.loss if loss is None else loss
                validation = at.validation_loss if validation is None else validation
            at = at.share
        index, count = self._place
        if at is not None:
            if not 0 <= at <= 1:
                raise ValueError(f"ctx.progress takes a share between 0 and 1, not {at}.")
            self._run.share = (index + float(at)) / count
        if words is not None:
            self._run.doing = words if count == 1 else f"{self.arm}: {words}"
        curve = self._run.curves.setdefault(self.arm, {"loss": [], "validation": []})
        for name, value in (("loss", loss), ("validation", validation)):
            if value is not None and np.isfinite(value):
                curve[name].append(float(value))
                if len(curve[name]) > _MOST_POINTS:  # every other one stays: half as fine, as long
                    del curve[name][1::2]
        if time.monotonic() - self._last >= _BUMP_SECONDS:
            self._last = time.monotonic()
            self._told()

    def log(self, *words: object) -> None:
        """Write a line into the run's log."""
        self._run.say(" ".join(map(str, words)) + "\n")
