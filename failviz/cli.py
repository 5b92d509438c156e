"""The command line: `failviz demo` opens the quickstart, `failviz --version` says which one this is."""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from failviz import __version__

QUICKSTART = "01-quickstart.ipynb"
PATIENCE = 10
"""Seconds for JupyterLab to end after a second Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="failviz", description="Find, name and fix what a classifier gets wrong.")
    parser.add_argument("--version", action="version", version=f"failviz {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    demo = commands.add_parser("demo", help="open the quickstart notebook in JupyterLab")
    demo.add_argument("--port", type=int, default=8888, help="port of JupyterLab on this machine (default 8888)")
    demo.add_argument("--folder", type=Path, help="where to put your copy of the notebooks (default: ./failviz-demo)")
    chosen = parser.parse_args(arguments)
    try:
        return run_demo(chosen.port, chosen.folder)
    except DemoError as error:
        print(f"failviz demo: {error}", file=sys.stderr)
        return 1


class DemoError(Exception):
    """Why the demo cannot start, in a sentence."""


def run_demo(port: int, folder: Path | None = None) -> int:
    """Open your copy of the quickstart in JupyterLab and stay until it ends."""
    if not port_is_free(port):
        raise DemoError(f"port {port} is taken: choose another, --port {port + 1} (make demo PORT={port + 1}).")
    root = notebooks_folder(folder)
    token = secrets.token_hex(12)
    address = f"http://127.0.0.1:{port}/lab/tree/{QUICKSTART}?token={token}"
    browser = os.environ.get("BROWSER")
    command = [
        *(sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={root}"),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        *(f"--IdentityProvider.token={token}", f"--LabApp.default_url=/lab/tree/{QUICKSTART}"),
        f"--LabApp.app_settings_dir={Path(__file__).parent / 'lab_settings'}",  # asks no question on the first start
        f"--LabApp.workspaces_dir={root / '.jupyter-workspaces'}",  # and leaves the person's own layout alone
        *("--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"),
        *("--ServerApp.log_level=WARN", "--ServerApp.open_browser=" + str(browser != "none")),
    ]
    if browser and browser != "none":
        command.append(f"--ServerApp.browser={browser}")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--ServerApp.allow_root=True")
    print(f"failviz quickstart, ready in a few seconds: {address}\nPress Ctrl-C twice to stop.", flush=True)
    asked: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: _interrupt(asked, number))
    try:
        with subprocess.Popen(command) as lab:
            return _waited(lab, asked)
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(asked: list[int], number: int) -> None:
    asked.append(number)
    raise KeyboardInterrupt


def _waited(lab: subprocess.Popen, asked: list[int]) -> int:
    """Until JupyterLab ends, or must: at SIGTERM, or at the second Ctrl-C, which goes to both. At the first it asks."""
    n_asked = 0
    while n_asked < 2 and not asked:
        try:
            return _status(lab.wait())
        except KeyboardInterrupt:
            n_asked += 1
    try:
        if asked:
            lab.terminate()
        return _status(lab.wait(PATIENCE))
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        lab.kill()
        return 0


def _status(code: int) -> int:
    """As a shell says it: 0 where a person ended it, 128 and its number for any other signal."""
    return 0 if code in (-signal.SIGINT, -signal.SIGTERM) else 128 - code if code < 0 else code


def port_is_free(port: int) -> bool:
    """Whether something could listen on this port of 127.0.0.1."""
    if not 0 < port < 65536:
        raise DemoError(f"a port lies between 1 and 65535, not {port}.")
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def notebooks_folder(folder: Path | None) -> Path:
    """A folder with your own copy of the notebooks; one that is there already is kept as you left it."""
    try:
        import jupyterlab  # noqa: F401 (only asked whether it is there)
    except ImportError:
        raise DemoError("JupyterLab is not installed. Install it: pip install 'failviz[demo]'.") from None
    package = Path(__file__).parent
    packaged = package / "notebooks" if (package / "notebooks").exists() else package.parent / "notebooks"
    target = Path(folder or "failviz-demo").resolve()
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DemoError(f"the folder {target} cannot be made ({error.strerror}): choose another, --folder.") from None
    for notebook in sorted(packaged.glob("*.ipynb")):
        if (target / notebook.name).exists():
            print(f"Your own {notebook.name} in {target} is kept; remove it to start from a fresh one.")
        else:
            shutil.copyfile(notebook, target / notebook.name)
    return target


if __name__ == "__main__":
    sys.exit(main())
