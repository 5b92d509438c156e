"""A real kernel, spoken to as JupyterLab does: over a subshell, with the widget's messages kept."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty
from typing import Any

import pytest


class Kernel:
    """A kernel client that keeps what the widget's comm sends."""

    def __init__(self, manager: Any, client: Any, setup: str):
        self.manager, self.client = manager, client
        self.heard: list[dict[str, Any]] = []
        self.comm = self.run(setup).strip()

    def control(self, kind: str, **content: Any) -> dict[str, Any]:
        self.client.control_channel.send(self.client.session.msg(kind, content))
        return self.client.get_control_msg(timeout=20)["content"]

    def subshell(self) -> str:
        return str(self.control("create_subshell_request")["subshell_id"])

    def ask(self, subshell: str | None, identity: str, command: str, **args: Any) -> None:
        content = {"id": identity, "command": command, "args": args}
        data = {"comm_id": self.comm, "data": {"method": "custom", "content": content}}
        message = self.client.session.msg("comm_msg", data)
        if subshell is not None:
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


@contextmanager
def real_kernel(setup: str) -> Iterator[Kernel]:
    """A kernel in which `setup` has made a widget and printed the id of its comm."""
    manager = pytest.importorskip("jupyter_client.manager")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONWARNINGS", "default")
        running, client = manager.start_new_kernel(kernel_name="python3")
    try:
        yield Kernel(running, client, setup)
    finally:
        client.stop_channels()
        running.shutdown_kernel(now=True)
