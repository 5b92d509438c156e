"""Retraining in a real kernel: the cell magic, Interrupt, Cancel past a busy main thread, and a kernel that dies."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from widget_kernel import Kernel, real_kernel

SETUP = """
import json, os, sys, time
sys.path.insert(0, {here!r})
os.chdir({work!r})
from widget_cases import *
from failviz import interventions
evaluation = make_evaluation()
pool = make_pool()
plan_of_mine = interventions.select(pool, by="random", budget=5)
explorer = Explorer(evaluation, GrassFinder(), layout="pca", pool=pool)
print(explorer.comm.comm_id, flush=True)
"""
SLOW = """
for i in range(2000):
    ctx.progress(i / 2000, f"step {i}", loss=1.0)
    time.sleep(0.01)
after_retraining(evaluation, 5)
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    work = tmp_path_factory.mktemp("work")
    with real_kernel(SETUP.format(here=str(Path(__file__).parent), work=str(work))) as running:
        yield running


def last_run(kernel: Kernel) -> dict[str, Any]:
    return json.loads(kernel.run("r = explorer.run_table()['runs'][0]; print(json.dumps(r))"))


def wait_for(kernel: Kernel, status: str, seconds: float = 20) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while (run := last_run(kernel))["status"] != status:
        assert time.monotonic() < deadline, run
        time.sleep(0.1)
    return run


def choices(kernel: Kernel) -> dict[str, Any]:
    key = kernel.run("print(explorer.active_slice)").strip()
    common = {"target": "slice", "slice": key, "remedy": "random", "budget": 5}
    return {**common, "thrown_out": [], "control": False}


def test_the_magic_makes_a_cell_the_button_and_runs_it_when_there_is_a_plan(kernel: Kernel) -> None:
    cell = "%%failviz_retrain fix\nprint('in the cell')\nbetter = len(plan.additions)\nafter_retraining(evaluation, 5)"
    assert "“fix” is ready" in kernel.run(cell)
    assert kernel.run("print(explorer.remedies()['route'])").strip() == "{'kind': 'cell', 'name': 'fix'}"
    kernel.run("explorer.plan = plan_of_mine")
    printed = kernel.run(cell)
    assert "in the cell" in printed and "Run 1 is done." in printed
    assert kernel.run("print(better, explorer.runs[-1].log)").split() == ["5", "in", "the", "cell"]
    kernel.ask(kernel.subshell(), "m-1", "run", **choices(kernel))
    assert kernel.reply("m-1")["result"]["number"] == 2
    assert wait_for(kernel, "done")["number"] == 2


def test_the_button_works_without_subshells(kernel: Kernel) -> None:
    kernel.ask(None, "n-1", "run", **choices(kernel))
    number = kernel.reply("n-1")["result"]["number"]
    assert wait_for(kernel, "done")["number"] == number


def test_cancel_reaches_a_run_in_its_thread_while_the_main_thread_is_busy(kernel: Kernel, tmp_path: Path) -> None:
    kernel.run(f"explorer.plan = None\nget_ipython().run_cell_magic('failviz_retrain', 'slow', {SLOW!r})")
    subshell, asked = kernel.subshell(), choices(kernel)
    kernel.ask(subshell, "c-1", "run", **asked)
    number = kernel.reply("c-1")["result"]["number"]
    flag = tmp_path / "go on"
    kernel.client.execute(f"while not os.path.exists({str(flag)!r}): time.sleep(0.02)")
    try:
        kernel.ask(subshell, "c-2", "run", **asked)
        assert f"run {number} is still going on" in kernel.reply("c-2")["error"]["message"]
        kernel.ask(subshell, "c-3", "stop_run", number=number)
        assert kernel.reply("c-3")["result"]["message"] == f"run {number} is stopping"
        for attempt in range(100):
            kernel.ask(subshell, f"c-4-{attempt}", "run_detail", number=number)
            if kernel.reply(f"c-4-{attempt}")["result"]["status"] == "cancelled":
                break
            time.sleep(0.05)
        else:
            raise AssertionError("not cancelled")
    finally:
        flag.touch()


def test_interrupt_cancels_a_run_while_no_cell_runs(kernel: Kernel) -> None:
    kernel.ask(kernel.subshell(), "i-1", "run", **choices(kernel))
    kernel.reply("i-1")
    wait_for(kernel, "running")
    time.sleep(0.3)
    kernel.manager.interrupt_kernel()
    wait_for(kernel, "cancelled")
    assert kernel.run("print(1 + 1)").strip() == "2"


@pytest.mark.parametrize("line", ["slow --main"])
def test_interrupt_reaches_a_run_on_the_main_thread(kernel: Kernel, line: str) -> None:
    kernel.run(f"explorer.plan = None\nget_ipython().run_cell_magic('failviz_retrain', {line!r}, {SLOW!r})")
    subshell = kernel.subshell()
    asked = choices(kernel)
    kernel.ask(subshell, "j-1", "run", **asked)
    number = kernel.reply("j-1")["result"]["number"]
    status = ""
    for attempt in range(100):
        kernel.ask(subshell, f"j-2-{attempt}", "run_detail", number=number)
        status = kernel.reply(f"j-2-{attempt}")["result"]["status"]
        if status == "running":
            break
        time.sleep(0.05)
    assert status == "running"
    kernel.manager.interrupt_kernel()
    assert wait_for(kernel, "cancelled")["number"] == number


def test_interrupting_the_retraining_cell_itself_cancels_its_run(kernel: Kernel) -> None:
    identity = kernel.client.execute(
        f"explorer.plan = plan_of_mine\nget_ipython().run_cell_magic('failviz_retrain', 'slow', {SLOW!r})"
    )
    time.sleep(1.5)
    kernel.manager.interrupt_kernel()
    kernel.until(
        lambda m: m["parent_header"].get("msg_id") == identity and m["content"].get("execution_state") == "idle", 20
    )
    assert last_run(kernel)["status"] == "cancelled"


def test_a_broken_cell_shows_its_own_lines(kernel: Kernel) -> None:
    broken = "x = 1\nraise ValueError('the cell is broken')\nx"
    kernel.run(f"explorer.plan = None\nget_ipython().run_cell_magic('failviz_retrain', 'bad', {broken!r})")
    kernel.ask(kernel.subshell(), "b-1", "run", **choices(kernel))
    kernel.reply("b-1")
    run = wait_for(kernel, "failed")
    assert run["error"] == "ValueError: the cell is broken"
    trace = kernel.run("print(explorer.runs[-1].traceback)")
    assert "raise ValueError('the cell is broken')" in trace and "runs.py" not in trace


def test_a_kernel_that_dies_in_a_run_leaves_it_interrupted(tmp_path: Path) -> None:
    setup = SETUP.format(here=str(Path(__file__).parent), work=str(tmp_path))
    with real_kernel(setup) as first:
        first.run(f"get_ipython().run_cell_magic('failviz_retrain', 'slow', {SLOW!r})")
        first.ask(first.subshell(), "d-1", "run", **choices(first))
        first.reply("d-1")
        wait_for(first, "running")
        os.kill(first.manager.provisioner.pid, 9)
        with real_kernel(setup) as second:
            run = last_run(second)
            assert run["status"] == "interrupted"
            assert second.run("print(len(explorer.runs[0].plan.additions))").strip() == "5"
