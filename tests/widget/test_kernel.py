"""The Explorer in a real kernel, spoken to as JupyterLab does: over a subshell, past a busy cell, after a reload."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty
from typing import Any

import pytest

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


class Kernel:
    """A kernel client that keeps what the widget's comm sends."""

    def __init__(self, client: Any):
        self.client = client
        self.heard: list[dict[str, Any]] = []
        self.comm = self.run(SETUP.format(here=str(Path(__file__).parent))).strip()

    def control(self, kind: str, **content: Any) -> dict[str, Any]:
        self.client.control_channel.send(self.client.session.msg(kind, content))
        return self.client.get_control_msg(timeout=20)["content"]

    def ask(self, subshell: str, identity: str, command: str, **args: Any) -> None:
        content = {"id": identity, "command": command, "args": args}
        data = {"comm_id": self.comm, "data": {"method": "custom", "content": content}}
        message = self.client.session.msg("comm_msg", data)
        message["header"]["subshell_id"] = subshell
        self.client.shell_channel.send(message)

    def until(self, done: Callable[[dict[str, Any]], bool], seconds: float = 20) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except Empty:
                continue
            if message["header"]["msg_type"] == "comm_msg":
                self.heard.append(message["content"]["data"])
            if done(message):
                return message
        raise AssertionError(f"nothing came; the widget said {self.heard[-3:]}")

    def reply(self, identity: str) -> dict[str, Any]:
        def is_reply(message: dict[str, Any]) -> bool:
            content = message["content"].get("data", {})
            return isinstance(content, dict) and content.get("content", {}).get("id") == identity

        return self.until(is_reply)["content"]["data"]["content"]

    def run(self, code: str) -> str:
        identity, printed = self.client.execute(code), []

        def finished(message: dict[str, Any]) -> bool:
            if message["header"]["msg_type"] == "stream":
                printed.append(message["content"]["text"])
            assert message["header"]["msg_type"] != "error", message["content"]
            idle = message["content"].get("execution_state") == "idle"
            return idle and message["parent_header"].get("msg_id") == identity

        self.until(finished, 60)
        return "".join(printed)


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    manager = pytest.importorskip("jupyter_client.manager")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONWARNINGS", "default")
        running, client = manager.start_new_kernel(kernel_name="python3")
    try:
        yield Kernel(client)
    finally:
        client.stop_channels()
        running.shutdown_kernel(now=True)


def test_the_better_layout_is_announced_from_its_thread(kernel: Kernel) -> None:
    subshell = kernel.control("create_subshell_request")["subshell_id"]
    kernel.ask(subshell, "a-1", "layout")
    assert kernel.reply("a-1")["result"] == {"n": 120, "method": "PCA", "final": False, "revision": 1}
    announced = {"slices": 0, "layout": 1}
    if not any(data.get("state", {}).get("revisions") == announced for data in kernel.heard):
        kernel.until(lambda m: m["content"].get("data", {}).get("state", {}).get("revisions") == announced)


def test_requests_are_answered_while_a_cell_runs(kernel: Kernel, tmp_path: Path) -> None:
    subshell = kernel.control("create_subshell_request")["subshell_id"]
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
    before = kernel.control("create_subshell_request")["subshell_id"]
    kernel.ask(before, "c-1", "selection")
    assert kernel.reply("c-1")["result"]["count"] == 0
    kernel.control("delete_subshell_request", subshell_id=before)
    after = kernel.control("create_subshell_request")["subshell_id"]
    kernel.ask(after, "c-2", "selection")
    assert kernel.reply("c-2")["result"]["count"] == 0
