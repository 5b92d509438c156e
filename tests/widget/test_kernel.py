"""The Explorer in a real kernel, spoken to as JupyterLab does: over a subshell, past a busy cell, after a reload."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from widget_kernel import Kernel, real_kernel

SETUP = """
import sys, time
sys.path.insert(0, {here!r})
from widget_cases import *
from failviz import projection
projection.EmbedInChild.__call__ = lambda self, reduced, *_: (time.sleep(0.2), reduced[:, 1::-1])[1]
evaluation = make_evaluation()
explorer = Explorer(evaluation, make_slice(evaluation), ":memory:", layout="tsne")
print(explorer.comm.comm_id, flush=True)
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with real_kernel(SETUP.format(here=str(Path(__file__).parent))) as running:
        yield running


def test_the_better_layout_is_announced_from_its_thread(kernel: Kernel) -> None:
    subshell = kernel.subshell()
    kernel.ask(subshell, "a-1", "layout")
    assert kernel.reply("a-1")["result"] == {"n": 120, "method": "PCA", "final": False, "revision": 1}
    announced = {"slices": 0, "layout": 1, "runs": 0}
    if not any(data.get("state", {}).get("revisions") == announced for data in kernel.heard):
        kernel.until(lambda m: m["content"].get("data", {}).get("state", {}).get("revisions") == announced)


def test_requests_are_answered_while_a_cell_runs(kernel: Kernel, tmp_path: Path) -> None:
    subshell = kernel.subshell()
    kernel.run("explorer.step = 3")
    flag = tmp_path / "go on"
    kernel.client.execute(f"from pathlib import Path\nwhile not Path({str(flag)!r}).exists(): time.sleep(0.02)")
    kernel.ask(subshell, "b-1", "open")
    kernel.ask(subshell, "b-2", "thumbnails", rows=[1, 2], size=32)
    try:
        assert kernel.reply("b-1")["result"]["n"] == 120
        assert len(kernel.reply("b-2")["result"]["items"]) == 2
    finally:
        flag.touch()


def test_a_reloaded_page_is_answered(kernel: Kernel) -> None:
    before = kernel.subshell()
    kernel.ask(before, "c-1", "selection")
    assert kernel.reply("c-1")["result"]["count"] == 0
    kernel.control("delete_subshell_request", subshell_id=before)
    after = kernel.subshell()
    kernel.ask(after, "c-2", "selection")
    assert kernel.reply("c-2")["result"]["count"] == 0
