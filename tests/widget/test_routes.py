"""How a person's retraining code runs: its names, its prints, its errors."""

import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from failviz.widget import magic, routes


def shell(**names: Any) -> Any:
    return SimpleNamespace(user_ns=dict(names), transform_cell=lambda source: source)


def test_a_cell_finds_plan_and_ctx_and_its_last_expression_is_the_result() -> None:
    notebook = shell(model=3)
    route = routes.cell_route("better = model + plan\nctx.append('said')\nbetter, 'evaluation'", "fix", notebook)
    said: list[str] = []
    assert route.call(4, said, False) == (7, "evaluation")
    assert said == ["said"]
    assert notebook.user_ns["better"] == 7  # the notebook can go on with what the cell made


def test_a_control_arm_leaves_the_names_of_the_notebook_alone() -> None:
    notebook = shell(model=3)
    route = routes.cell_route("better = model + plan\nbetter", "fix", notebook)
    assert route.call(4, None, False) == 7
    assert route.call(100, None, True) == 103
    assert notebook.user_ns["better"] == 7


@pytest.mark.parametrize("source", ["x = 1", "", "def f():\n    return 1"])
def test_a_cell_without_a_result_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="must end in its result"):
        routes.cell_route(source, "fix", shell())


def test_a_cell_that_is_no_python_is_refused_at_once() -> None:
    with pytest.raises(SyntaxError):
        routes.cell_route("better = = 1", "fix", shell())


def test_only_this_threads_prints_are_heard(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[str] = []
    with routes.printing_to(heard.append, also_shown=False):
        print("mine")
        other = threading.Thread(target=lambda: print("another's"))
        other.start()
        other.join()
        print("an error", file=sys.stderr)
    print("later")
    assert "".join(heard) == "mine\nan error\n"
    assert capsys.readouterr().out == "another's\nlater\n"


def test_captures_that_end_out_of_order_leave_the_stream_usable(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = ([], [])
    one, two = (routes.printing_to(heard.append, also_shown=False) for heard in (first, second))
    one.__enter__()
    two.__enter__()
    one.__exit__(None, None, None)
    two.__exit__(None, None, None)
    print("shown")
    assert capsys.readouterr().out == "shown\n"


@pytest.mark.parametrize("line", ["a b", "--nonsense", "--explorer"])
def test_the_magics_line_is_checked(line: str) -> None:
    with pytest.raises(ValueError, match=r"it takes \[name\] \[--explorer VARIABLE\] \[--main\]"):
        magic.run_cell(shell(), line, "1")


def test_the_magic_says_which_variable_is_no_explorer() -> None:
    with pytest.raises(ValueError, match="model is no Explorer"):
        magic.run_cell(shell(model=3), "--explorer model", "1")


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(TypeError, match=r"takes a function of \(plan, ctx\), not int"):
        routes.function_route(3)  # type: ignore[arg-type]


def test_functions_of_other_cells_see_the_plan_of_their_arm() -> None:
    notebook = shell()
    exec("def train():\n    return plan", notebook.user_ns)
    route = routes.cell_route("made = train()\nmade", "fix", notebook)
    assert route.call("the plan", None, False) == "the plan"
    assert route.call("at random", None, True) == "at random"
    assert notebook.user_ns["made"] == "the plan"


def test_the_notebooks_own_plan_is_given_back() -> None:
    notebook = shell(plan="mine")
    route = routes.cell_route("1 / plan", "fix", notebook)
    with pytest.raises(ZeroDivisionError):
        route.call(0, None, False)
    assert notebook.user_ns["plan"] == "mine" and "ctx" not in notebook.user_ns


def test_what_another_cell_says_during_a_control_stays_said() -> None:
    notebook = shell()
    notebook.user_ns["elsewhere"] = lambda: notebook.user_ns.update(said=1)
    routes.cell_route("elsewhere()\nmade = 2\nmade", "fix", notebook).call(None, None, True)
    assert notebook.user_ns["said"] == 1 and "made" not in notebook.user_ns
