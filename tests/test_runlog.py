"""Runs survive what kernels do not: they are in the file when they start, and marked when nobody saw their end."""

import subprocess
import sys

import numpy as np
import pytest

from failviz.annotations import Annotations
from failviz.runlog import RunLog


@pytest.fixture
def place(tmp_path):
    path = tmp_path / "session.sqlite"
    Annotations(path).close()
    return str(path)


def test_a_run_is_in_the_file_from_its_start(place):
    log = RunLog(place)
    number = log.begin({"name": "more sneakers"})
    log.note(number, "running", log="half way\n", curves={"plan": {"loss": [1.0, 0.5], "validation": []}})
    log.keep_arm(number, "plan", np.array([2, 0, 1]))
    other = RunLog(place)
    [run] = other.runs()
    assert (run.number, run.status, run.seconds, run.plan) == (number, "running", None, {"name": "more sneakers"})
    assert run.log == "half way\n"
    assert run.curves["plan"]["loss"] == [1.0, 0.5]
    assert other.predictions(number)["plan"].tolist() == [2, 0, 1]
    log.end(number, "failed", seconds=1.5, error="ValueError: x", traceback="Traceback ...\n", log="", curves={})
    [run] = other.runs()
    assert (run.status, run.seconds, run.error, run.traceback) == ("failed", 1.5, "ValueError: x", "Traceback ...\n")


def test_arms_keep_their_order_and_numbers_are_never_used_twice(place):
    log = RunLog(place)
    first = log.begin({"name": "a"})
    for arm in ("plan", "random", "loss"):
        log.keep_arm(first, arm, np.zeros(3))
    assert list(log.predictions(first)) == ["plan", "random", "loss"]
    assert log.begin({"name": "b"}) == first + 1
    assert log.predictions(first + 1) == {}


def test_a_run_whose_process_died_is_interrupted_when_the_file_is_opened_again(place):
    code = (
        "import os, sys; from failviz.runlog import RunLog; log = RunLog(sys.argv[1]); "
        "number = log.begin({'name': 'x'}); log.note(number, 'running', log='begun'); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, place]).returncode == 9
    [run] = RunLog(place).runs()
    assert (run.status, run.seconds, run.log) == ("interrupted", None, "begun")


def test_a_run_of_a_process_that_lives_goes_on(place):
    mine = RunLog(place)
    number = mine.begin({"name": "x"})
    code = "import sys; from failviz.runlog import RunLog; print(RunLog(sys.argv[1]).runs()[0].status)"
    done = subprocess.run([sys.executable, "-c", code, place], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "queued"
    mine.end(number, "done", seconds=0.1)


def test_runs_and_annotations_share_a_file_and_leave_each_other_alone(place):
    notes, log = Annotations(place), RunLog(place)
    key = notes.draw(["a"], "mine")
    number = log.begin({"name": "x"})
    notes.undo()
    assert [run.number for run in log.runs()] == [number]
    notes.redo()
    assert list(notes.entries) == [key]
    notes.close()


def test_what_cannot_be_written_is_said(place):
    log = RunLog(place)
    log.close()
    with pytest.raises(OSError, match="the run was not saved to"):
        log.begin({"name": "x"})


def test_memory_keeps_nothing():
    RunLog(":memory:").begin({"name": "x"})
    assert RunLog(":memory:").runs() == []
