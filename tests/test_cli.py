import shutil
import socket
import subprocess
import sys

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
    monkeypatch.setattr(subprocess, "call", lambda command: started.append(command) or 0)
    monkeypatch.setenv("BROWSER", "none")
    assert cli.main(["demo", "--port", "8973"]) == 0
    (command,) = started
    assert command[:3] == [sys.executable, "-m", "jupyterlab"] and "--ServerApp.open_browser=False" in command
    assert f"--ServerApp.root_dir={tmp_path / 'failviz-demo'}" in command
    assert (tmp_path / "failviz-demo" / cli.QUICKSTART).exists()
    assert "http://127.0.0.1:8973/lab/tree/01-quickstart.ipynb?token=" in capsys.readouterr().out


def test_jupyterlab_ends_with_the_command_that_started_it(monkeypatch, tmp_path):
    import os
    import signal

    ended = []

    class Running(subprocess.Popen):
        def kill(self):
            ended.append(self.pid)
            super().kill()

        def wait(self, timeout=None):
            if not ended:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().wait(timeout)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(subprocess, "Popen", Running)
    monkeypatch.setattr(sys, "executable", shutil.which("sleep"))
    monkeypatch.setattr(cli, "notebooks_folder", lambda folder: tmp_path)
    started = subprocess.call
    monkeypatch.setattr(subprocess, "call", lambda command: started([command[0], "60"]))
    assert cli.run_demo(8975) == 0
    assert len(ended) == 1 and signal.getsignal(signal.SIGTERM) is before


def test_a_copied_notebook_is_never_overwritten(tmp_path):
    folder = cli.notebooks_folder(tmp_path / "mine")
    notebook = folder / cli.QUICKSTART
    assert notebook.exists()
    notebook.write_text("my own")
    cli.notebooks_folder(folder)
    assert notebook.read_text() == "my own"
