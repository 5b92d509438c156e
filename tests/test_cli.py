import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

import failviz
from failviz import cli


def test_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0 and capsys.readouterr().out.strip() == f"failviz {failviz.__version__}"
    project = (cli.Path(failviz.__file__).parent.parent / "pyproject.toml").read_text()
    assert f'version = "{failviz.__version__}"' in project


def test_a_taken_port_is_said_clearly(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert cli.main(["demo", "--port", str(port)]) == 1
    assert f"port {port} is taken" in capsys.readouterr().err
    assert cli.main(["demo", "--port", "99999"]) == 1
    assert cli.main(["demo", "--port", "8974", "--folder", "/proc/none"]) == 1
    assert "cannot be made" in capsys.readouterr().err


def test_demo_opens_jupyterlab_on_a_copy_of_the_quickstart(monkeypatch, capsys, tmp_path):
    started = []
    monkeypatch.chdir(tmp_path)  # a demo never changes the notebooks of a checkout
    ends = [sys.executable, "-c", ""]
    real = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda command: started.append(command) or real(ends))
    monkeypatch.setenv("BROWSER", "none")
    assert cli.main(["demo", "--port", "8973"]) == 0
    (command,) = started
    assert command[:3] == [sys.executable, "-m", "jupyterlab"] and "--ServerApp.open_browser=False" in command
    assert f"--ServerApp.root_dir={tmp_path / 'failviz-demo'}" in command
    assert f"--LabApp.workspaces_dir={tmp_path / 'failviz-demo' / '.jupyter-workspaces'}" in command
    assert (tmp_path / "failviz-demo" / cli.QUICKSTART).exists()
    assert "http://127.0.0.1:8973/lab/tree/01-quickstart.ipynb?token=" in capsys.readouterr().out


LAB = """
import signal, sys, time
asked = []
def interrupted(*_):
    asked.append(1)
    if len(asked) == 2 and sys.argv[1] == "ends":
        sys.exit(0)
signal.signal(signal.SIGINT, interrupted)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("ready", flush=True)
while True:
    time.sleep(0.05)
"""
"""Takes Ctrl-C as JupyterLab does: asks at the first, ends at the second; or never."""

DEMO = """
import pathlib, subprocess, sys
from failviz import cli
real = subprocess.Popen
cli.PATIENCE = 0.5
cli.notebooks_folder = lambda folder: pathlib.Path("failviz-demo")
subprocess.Popen = lambda command: real([sys.executable, "-c", sys.argv[1], sys.argv[2]])
sys.exit(cli.run_demo(int(sys.argv[3])))
"""


@pytest.mark.parametrize(
    "signals, lab",
    [(["SIGTERM"], "ends"), (["SIGINT", "SIGINT"], "ends"), (["SIGINT", "SIGTERM"], "ends"), (["SIGINT"] * 2, "stays")],
)
def test_jupyterlab_ends_with_the_command_that_started_it_and_is_asked_first(signals, lab):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-u", "-c", DEMO, LAB, lab, port]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as demo:
        try:
            while demo.stdout.readline() != "ready\n":
                assert demo.poll() is None
            for number, name in enumerate(signals):
                if number:
                    time.sleep(0.5)
                    assert demo.poll() is None  # one Ctrl-C ends nothing
                if name == "SIGINT":  # as a terminal does, to all of its processes
                    os.killpg(demo.pid, signal.SIGINT)
                else:
                    os.kill(demo.pid, signal.SIGTERM)
            assert demo.wait(timeout=30) == 0
            with pytest.raises(ProcessLookupError):  # JupyterLab is gone too
                os.killpg(demo.pid, 0)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(demo.pid, signal.SIGKILL)


@pytest.mark.parametrize("code, status", [(0, 0), (3, 3), (-2, 0), (-15, 0), (-9, 137), (-11, 139)])
def test_only_a_person_ends_jupyterlab_without_a_failure(code, status):
    assert cli._status(code) == status


def test_a_copied_notebook_is_never_overwritten(tmp_path):
    folder = cli.notebooks_folder(tmp_path / "mine")
    notebook = folder / cli.QUICKSTART
    assert notebook.exists()
    notebook.write_text("my own")
    cli.notebooks_folder(folder)
    assert notebook.read_text() == "my own"
