"""`%%failviz_retrain`: the cell below it becomes what an Explorer's Retrain button runs."""

from __future__ import annotations

import argparse
import shlex
import sys
import weakref
from typing import Any

from failviz.widget.retraining import Retraining
from failviz.widget.routes import cell_route

NAME = "failviz_retrain"
_order: list[weakref.ref[Any]] = []


class _Refusing(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise ValueError(f"%%{NAME}: {message}; it takes [name] [--explorer VARIABLE] [--main].")


def offer(explorer: Retraining) -> None:
    """Remember the newest Explorer, and bring the magic along where there is IPython."""
    _order.append(weakref.ref(explorer))
    interactive = sys.modules.get("IPython")
    shell = interactive.get_ipython() if interactive is not None else None
    if shell is not None and NAME not in shell.magics_manager.magics["cell"]:
        register(shell)


def register(shell: Any) -> None:
    """Add the magic to an IPython shell."""

    def failviz_retrain(line: str, cell: str) -> None:
        """Make this cell what the Retrain button runs, and run it now if the notebook has set a plan.

            %%failviz_retrain [name] [--explorer VARIABLE] [--main]

        The cell finds `plan` and `ctx` among its names and ends in the new model's Evaluation, or in
        model, evaluation. `--main` keeps later runs on the main thread, where other cells wait for them.
        """
        run_cell(shell, line, cell)

    shell.register_magic_function(failviz_retrain, "cell", NAME)


def run_cell(shell: Any, line: str, cell: str) -> None:
    """What the magic does."""
    parser = _Refusing(prog=NAME, add_help=False)
    parser.add_argument("name", nargs="?", default="retrain")
    parser.add_argument("--explorer")
    parser.add_argument("--main", action="store_true")
    chosen = parser.parse_args(shlex.split(line))
    explorer = _explorer(shell, chosen.explorer)
    route = cell_route(cell, chosen.name, shell, on_main=chosen.main)
    run = explorer.take_cell(route)
    if run is None:
        print(f"“{chosen.name}” is ready: press Retrain in the Explorer, or set explorer.plan and run this cell again.")
        return
    if run.status == "failed":
        print(run.traceback, file=sys.stderr)
        raise RuntimeError(f"run {run.number} failed: {run.error}")
    print(f"Run {run.number} is {run.status}.")


def _explorer(shell: Any, name: str | None) -> Retraining:
    if name is not None:
        found = shell.user_ns.get(name)
        if not isinstance(found, Retraining):
            raise ValueError(f"%%{NAME}: {name} is no Explorer: give the variable that holds one.")
        return found
    for reference in reversed(_order):
        explorer = reference()
        if explorer is not None and explorer.comm is not None:
            return explorer
    raise ValueError(f"%%{NAME}: there is no Explorer yet: make one, failviz.Explorer(...), in a cell above.")
