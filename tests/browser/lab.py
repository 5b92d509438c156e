"""A private JupyterLab and a real Chromium, for the browser tests and `make screenshots`."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jupyter_client import BlockingKernelClient

CHROMIUM_FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--force-device-scale-factor=1",
]


def chromium_path() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    raise RuntimeError("there is no Chromium on the PATH: 'make chromium' installs it.")


@contextmanager
def chromium(*extra_flags: str) -> Iterator:
    """A headless browser (playwright's), without any download of its own."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium_path(), args=[*CHROMIUM_FLAGS, *extra_flags], headless=True
        )
        try:
            yield browser
        finally:
            browser.close()


class Lab:
    """JupyterLab on a folder of its own, which nothing on this machine can disturb."""

    def __init__(self, root: Path, environment: dict[str, str] | None = None, settings: dict[str, dict] | None = None):
        self.root = root
        self._settings = {"notification": {"fetchNews": "false"}, **(settings or {})}  # no question on the screen
        self.folder = root / "work"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.token = secrets.token_hex(8)
        self._environment = environment or {}

    def __enter__(self) -> Lab:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        quiet = self.root / "config" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
        quiet.mkdir(parents=True)
        for name, values in self._settings.items():
            (quiet / f"{name}.jupyterlab-settings").write_text(json.dumps(values))
        homes = {f"JUPYTER_{name}_DIR": str(self.root / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
        command = [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", f"--ServerApp.root_dir={self.folder}"),
            *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={self.port}", "--ServerApp.port_retries=0"),
            *(f"--IdentityProvider.token={self.token}", "--LabApp.news_url=None"),
            *("--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.extension_manager=readonly"),
            *("--LabApp.expose_app_in_browser=True", "--LanguageServerManager.autodetect=False"),
            *("--ServerApp.terminals_enabled=False", "--ServerApp.allow_root=True", "--ServerApp.log_level=ERROR"),
        ]
        self._log = open(self.root / "lab.log", "w")
        self._process = subprocess.Popen(
            command, env=os.environ | homes | self._environment, stdout=self._log, stderr=self._log
        )
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api?token={self.token}", timeout=2).close()
                return self
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.__exit__()
                    raise RuntimeError(f"JupyterLab did not start:\n{(self.root / 'lab.log').read_text()}") from None
                time.sleep(0.2)

    def __exit__(self, *exception: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def open(self, browser, notebook: str, width: int = 1440, height: int = 1000, script: str | None = None):
        """A page with this notebook open, its kernel ready and the side bar closed; a script runs in it first."""
        page = browser.new_page(viewport={"width": width, "height": height})
        if script is not None:
            page.add_init_script(script)
        # A workspace of its own: JupyterLab would otherwise restore what another test left open.
        page.goto(
            f"http://127.0.0.1:{self.port}/lab/workspaces/{secrets.token_hex(4)}/tree/{notebook}?token={self.token}"
        )
        page.wait_for_function("() => window.jupyterapp !== undefined", timeout=120_000)
        page.evaluate("async () => { await window.jupyterapp.restored; }")
        wait_for_kernel(page)
        page.evaluate("() => window.jupyterapp.shell.collapseLeft()")
        return page

    def kernel(self) -> BlockingKernelClient:
        """A client of the newest kernel, to ask it what it knows."""
        files = sorted((self.root / "runtime").glob("kernel-*.json"), key=lambda path: path.stat().st_mtime)
        client = BlockingKernelClient(connection_file=str(files[-1]))
        client.load_connection_file()
        client.start_channels()
        return client


def wait_for_kernel(page) -> None:
    page.wait_for_function(
        """() => {
            const panel = window.jupyterapp.shell.currentWidget;
            const kernel = panel?.sessionContext?.session?.kernel;
            return kernel?.connectionStatus === 'connected' && kernel.status === 'idle';
        }""",
        timeout=120_000,
    )


def run_all(page) -> bool:
    """Run every cell as the person would; False when one failed."""
    return page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")


def wait_until(page, client: BlockingKernelClient, expression: str, wanted: object, seconds: float = 20) -> None:
    """Wait until an expression in the kernel has this value, and say what it was otherwise."""
    value = None
    for _ in range(int(seconds * 5)):
        value = json.loads(ask(client, f"import json; print(json.dumps({expression}))"))
        if value == wanted:
            return
        page.wait_for_timeout(200)
    assert value == wanted, expression


def ask(client: BlockingKernelClient, code: str) -> str:
    """What this code prints in the kernel."""
    printed: list[str] = []
    failed: list[str] = []

    def collect(message: dict) -> None:
        if message["msg_type"] == "stream":
            printed.append(message["content"]["text"])
        elif message["msg_type"] == "error":
            failed.append("\n".join(message["content"]["traceback"]))

    client.execute_interactive(code, store_history=False, timeout=150, output_hook=collect)
    assert not failed, failed[0]
    return "".join(printed).strip()
