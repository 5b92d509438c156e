"""The Retrain and Compare views without a browser: what is offered, planned, run, kept and compared."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from widget_cases import GrassFinder, Wire, after_retraining, make_evaluation, make_pool, make_slice

from failviz.annotations import Annotations
from failviz.evaluation import Evaluation
from failviz.interventions import Progress, RetrainPlan, select
from failviz.widget import Explorer, runs
from failviz.widget.protocol import Refusal
from failviz.widget.run import RunCancelled


def choices(explorer: Explorer, **changes: Any) -> dict[str, Any]:
    usual = {"target": "slice", "slice": explorer.active_slice, "remedy": "direction", "budget": 10}
    return {**usual, "thrown_out": [], "control": True, **changes}


@pytest.fixture
def bare(evaluation: Evaluation, open_explorer: Callable[..., Explorer]) -> Explorer:
    """With a finder and a pool, and no code to retrain with."""
    return open_explorer(evaluation, GrassFinder(), pool=make_pool())


# -- what is offered -----------------------------------------------------------------------


def offered(explorer: Explorer, **args: Any) -> dict[str, str | None]:
    reply = explorer.remedies(**{"target": "slice", "slice": explorer.active_slice, **args})
    return {remedy["key"]: remedy["why"] for remedy in reply["remedies"]}


def test_every_remedy_says_why_it_cannot_be_had(bare: Explorer, open_explorer: Callable[..., Explorer]) -> None:
    whys = offered(bare)
    assert [key for key, why in whys.items() if why is None] == ["direction", "nearest", "confidence", "loss", "random"]
    assert "upweight" not in whys  # without the training examples
    only_slices = open_explorer(bare.evaluation, make_slice(bare.evaluation), pool=make_pool())
    assert "the fitted finder itself" in str(offered(only_slices)["direction"])
    bare.selection = ["img-1", "img-3"]
    drawn = bare.create_slice("mine")["key"]
    assert "You drew this group" in str(offered(bare, slice=drawn)["direction"])
    assert offered(bare, slice=drawn)["nearest"] is None
    nothing = open_explorer(bare.evaluation, GrassFinder())
    reply = nothing.remedies("slice", nothing.active_slice)
    assert "pool=" in reply["problem"]
    assert all(not remedy["available"] for remedy in reply["remedies"])


def test_a_pool_of_other_classes_or_without_labels_is_refused(open_explorer: Callable[..., Explorer]) -> None:
    evaluation = make_evaluation()
    with pytest.raises(ValueError, match="pool has other classes"):
        open_explorer(evaluation, pool=make_pool(class_names=["cat", "dog"]))
    with pytest.raises(ValueError, match="pool has no labels"):
        open_explorer(evaluation, pool=make_pool(labels=None))
    with pytest.raises(TypeError, match="train must be an Evaluation, not list"):
        open_explorer(evaluation, train=[1])


def run_to_its_end(explorer: Explorer, plan: RetrainPlan) -> Any:
    """A run whatever becomes of it; `start_run(wait=True)` raises when it fails."""
    run = explorer.start_run(plan)
    assert run.wait(20)
    return run


# -- planning ------------------------------------------------------------------------------


def test_a_plan_shows_what_it_would_add_and_thrown_out_ones_make_room(bare: Explorer) -> None:
    first = bare.draw_up(**choices(bare))
    rows = [example["row"] for example in first["examples"]]
    assert (first["n"], len(rows), first["by_label"]) == (10, 10, [{"name": "sneaker", "count": 10}])
    scores = make_slice(make_pool()).scores
    assert rows == np.argsort(-scores, kind="stable")[:10].tolist()
    assert bare.plan is not None and list(bare.plan.controls[0].additions) != list(bare.plan.additions)
    second = bare.draw_up(**choices(bare, thrown_out=rows[:2]))
    assert [example["row"] for example in second["examples"]][:8] == rows[2:]
    assert (second["n"], second["n_thrown_out"]) == (10, 2)


def test_look_alikes_are_sought_from_half_the_group_and_judged_on_the_other(bare: Explorer) -> None:
    bare.draw_up(**choices(bare, remedy="nearest"))
    plan = bare.plan
    assert plan is not None and plan.used_hash == bare.evaluation.hash
    members = set(bare.in_hand.members)  # type: ignore[union-attr]
    assert set(plan.used_ids) < members
    assert abs(len(plan.used_ids) - len(members) / 2) <= 1


def test_upweight_counts_the_training_examples_of_the_group(open_explorer: Callable[..., Explorer]) -> None:
    train = make_evaluation(80, 9, ids=[f"train-{i}" for i in range(80)])
    explorer = open_explorer(make_evaluation(), GrassFinder(), train=train)
    drawn_up = explorer.draw_up(**choices(explorer, remedy="upweight", budget=None))
    assert drawn_up["examples"] == []
    assert explorer.plan is not None
    assert set(explorer.plan.weights) == set(make_slice(train).members)


def test_all_confirmed_slices_share_the_budget(bare: Explorer) -> None:
    assert bare.slice_table()["slices"][0]["status"] == "confirmed"
    assert bare.remedies("confirmed", None)["n_confirmed"] == 1
    assert bare.draw_up(**choices(bare, target="confirmed", slice=None))["n"] == 10


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"budget": 10_000}, "10,000 are asked for, and there are 100 examples"),
        ({"budget": None}, "say how many"),
        ({"remedy": "prayer"}, "no remedy 'prayer'"),
        ({"slice": "f9"}, "There is no slice 'f9' here"),
        ({"slice": None}, "no slice in hand"),
        ({"thrown_out": [500]}, "no row 500 in the pool"),
        ({"remedy": "upweight"}, "train="),
    ],
)
def test_bad_choices_come_back_as_one_sentence(bare: Explorer, changes: dict[str, Any], words: str) -> None:
    for command in ("plan", "run"):
        reply = Wire(bare).ask(command, choices(bare, **changes))
        assert words in reply["error"]["message"]
        assert "\n" not in reply["error"]["message"]


def test_a_plan_for_other_data_is_refused(bare: Explorer) -> None:
    other = select(make_pool(seed=77), by="random", budget=3)
    with pytest.raises(ValueError, match="made for another pool"):
        bare.plan = other
    with pytest.raises(TypeError, match="plan must be a RetrainPlan, not dict"):
        bare.plan = {}  # type: ignore[assignment]
    bare.plan = select(make_pool(), by="random", budget=3)
    with pytest.raises(ValueError, match="no retraining code"):
        bare.start_run()


# -- running -------------------------------------------------------------------------------


def test_the_button_without_code_says_what_to_do(bare: Explorer) -> None:
    assert "@explorer.on_retrain" in Wire(bare).ask("run", choices(bare))["error"]["message"]


def test_a_run_carries_out_every_arm_and_keeps_what_came(explorer: Explorer) -> None:
    [run] = explorer.runs
    assert (run.status, run.arms) == ("done", ["plan", "random"])
    assert set(run.evaluations) == {"plan", "random"}
    assert run.evaluations["plan"].error_rate < explorer.evaluation.error_rate
    row = explorer.run_table()["runs"][0]
    assert (row["number"], row["n_added"], row["share"], row["error"]) == (run.number, 20, 1.0, None)
    detail = explorer.run_detail(run.number)
    assert detail["curves"][0] == {"arm": "plan", "loss": [0.7], "validation": [0.6]}
    assert detail["targets"] == [{"key": explorer.active_slice, "name": "sneaker, hardest"}]
    json.dumps(detail, allow_nan=False)


def test_the_code_runs_beside_the_notebook_and_its_prints_go_to_the_log(
    bare: Explorer, capsys: pytest.CaptureFixture[str]
) -> None:
    threads = []

    @bare.on_retrain
    def fix(plan: RetrainPlan, ctx: Any) -> Any:
        threads.append(threading.current_thread())
        print("from the code")
        ctx.log("and", 3, "words")
        return "the model", after_retraining(bare.evaluation, 3)

    run = run_to_its_end(bare, select(bare._remedies.pool, by="random", budget=3))
    assert run.status == "done"
    assert threads[0] is not threading.main_thread()
    assert run.log == "from the code\nand 3 words\n"
    assert run.models == {"plan": "the model"}
    print("afterwards")
    assert capsys.readouterr().out == "afterwards\n"


def test_cancel_reaches_the_code_at_its_next_report(bare: Explorer) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    @bare.on_retrain
    def fix(plan: RetrainPlan, ctx: Any) -> Any:
        for batch in range(1000):
            ctx.progress(Progress(epoch=1, n_epochs=1, batch=batch + 1, n_batches=1000, loss=1.0))
            begun.set()
            assert goes_on.wait(20)
        raise AssertionError("not cancelled")

    wire = Wire(bare)
    number = wire.ask("run", choices(bare))["result"]["number"]
    assert begun.wait(20)
    again = wire.ask("run", choices(bare))["error"]["message"]
    assert again == f"run {number} is still going on: wait for it, or cancel it first."
    assert wire.ask("stop_run", {"number": number})["result"]["message"] == f"run {number} is stopping"
    assert bare.run_table()["runs"][0]["doing"] == "stopping"
    goes_on.set()
    [run] = bare.runs
    assert run.wait(20)
    assert run.status == "cancelled"
    assert run.traceback is None
    assert wire.ask("stop_run", {"number": number})["result"]["message"] == f"run {number} is over already"
    assert bare.run_detail(number)["results"] is None
    assert wire.ask("run", choices(bare))["result"]["number"] == number + 1  # the next one may start
    bare.runs[-1].cancel()
    assert bare.runs[-1].wait(20)


def test_who_waits_for_a_run_hears_that_it_failed(bare: Explorer) -> None:
    bare.on_retrain(lambda plan, ctx: 1 / 0)
    with pytest.raises(RuntimeError, match="run 1 failed: ZeroDivisionError: division by zero"):
        bare.start_run(select(make_pool(), by="random", budget=3), wait=True)
    assert "failed (ZeroDivisionError: division by zero)" in repr(bare.runs[-1])
    with pytest.raises(ValueError, match=r"no result to compare: it is failed \(ZeroDivisionError"):
        bare.runs[-1].comparison()


def test_code_that_catches_exceptions_cannot_swallow_a_cancellation() -> None:
    assert not issubclass(RunCancelled, Exception)


def test_a_failure_shows_the_persons_own_lines_and_leaves_the_session_whole(bare: Explorer) -> None:
    @bare.on_retrain
    def fix(plan: RetrainPlan, ctx: Any) -> Any:
        print("so far so good")
        raise ZeroDivisionError("the code\nis broken")

    run = run_to_its_end(bare, select(bare._remedies.pool, by="random", budget=3))
    assert (run.status, run.error) == ("failed", "ZeroDivisionError: the code is broken")
    assert 'raise ZeroDivisionError("the code\\nis broken")' in str(run.traceback)
    assert "runs.py" not in str(run.traceback)
    assert run.log == "so far so good\n"
    with pytest.raises(ValueError, match="has no result to compare: it is failed"):
        run.comparison()
    assert Wire(bare).ask("slices")["result"]["slices"]


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (lambda e: None, "it returned nothing: add failviz.evaluate"),
        (lambda e: "a model", "it returned a str"),
        (lambda e: (after_retraining(e, 1), after_retraining(e, 2)), "it returned a tuple"),
        (lambda e: make_pool(), "lacks the example with id 'img-0'"),
        (lambda e: e.take(np.arange(5)), "lacks the example with id 'img-5'"),
    ],
)
def test_a_result_that_is_none_is_said(bare: Explorer, result: Callable[..., Any], words: str) -> None:
    bare.on_retrain(lambda plan, ctx: result(bare.evaluation))
    run = run_to_its_end(bare, select(bare._remedies.pool, by="random", budget=3))
    assert run.status == "failed"
    assert words in str(run.error)


def test_runs_come_back_in_the_next_session_and_can_be_compared(
    tmp_path: Path, open_explorer: Callable[..., Explorer]
) -> None:
    evaluation = make_evaluation()
    notes = Annotations(tmp_path / "a.sqlite", evaluation)
    explorer = open_explorer(evaluation, GrassFinder(), notes, pool=make_pool())
    explorer.on_retrain(lambda plan, ctx: after_retraining(evaluation, 8))
    run = explorer.start_run(select(make_pool(), by="loss", budget=4, controls=["random"]), wait=True)
    before = explorer.run_detail(run.number)["results"]
    explorer.close()
    notes.close()
    runs._OF_FILE.clear()  # as in a new kernel

    again = Annotations(tmp_path / "a.sqlite", evaluation)
    later = open_explorer(evaluation, GrassFinder(), again, pool=make_pool())
    [kept] = later.runs
    assert (kept.number, kept.status, kept.plan) == (run.number, "done", run.plan)
    assert later.run_detail(kept.number)["results"] == before
    assert kept.evaluations == {}
    again.close()


def test_two_explorers_of_one_session_watch_the_same_run(
    bare: Explorer, open_explorer: Callable[..., Explorer]
) -> None:
    other = open_explorer(bare.evaluation, GrassFinder(), bare.annotations, pool=make_pool())
    bare.on_retrain(lambda plan, ctx: after_retraining(bare.evaluation, 8))
    seen = other.revisions["runs"]
    run = run_to_its_end(bare, select(make_pool(), by="random", budget=3))
    assert other.runs == [run]
    assert other.revisions["runs"] > seen


# -- comparing -----------------------------------------------------------------------------


def test_the_table_says_what_changed_for_whom(explorer: Explorer) -> None:
    results = explorer.run_detail(explorer.runs[-1].number)["results"]
    assert results["arms"] == ["plan", "random"]
    rows = {row["name"]: row for row in results["rows"]}
    assert list(rows)[:2] == ["all images", "sneaker, hardest"]  # overall, then what the plan was made for
    overall = rows["all images"]["cells"][0]
    assert (overall["fixed"], overall["broken"]) == (10, 1)
    assert overall["change"] == pytest.approx(-9 / 120)
    assert rows["sneaker, hardest"]["is_target"]
    assert rows["my group"]["held_out"] is False and rows["my group"]["caution"]
    assert {row["group"] for row in results["rows"]} == {"overall", "slice", "class"}


def test_the_changed_examples_are_those_that_changed(explorer: Explorer) -> None:
    number, key = explorer.runs[-1].number, explorer.active_slice
    fixed = explorer.changed(number, "plan", "all", None, "fixed")
    assert fixed["total"] == 10
    first = fixed["examples"][0]
    assert first["after"] == first["label"] != first["prediction"]
    assert explorer.changed(number, "plan", "all", None, "broken")["total"] == 1
    within = explorer.changed(number, "plan", "slice", key, "fixed")["total"]
    left = explorer.changed(number, "plan", "slice", key, "still wrong")["total"]
    assert within + left == int(explorer.in_hand.is_member[explorer.evaluation.errors].sum())  # type: ignore[union-attr]
    page = explorer.changed(number, "plan", "all", None, "fixed", offset=8, limit=60)
    assert len(page["examples"]) == 2
    with pytest.raises(Refusal, match="no result called 'loss'"):
        explorer.changed(number, "loss")
    with pytest.raises(Refusal, match="no run 99"):
        explorer.changed(99)


# -- what must not go wrong ----------------------------------------------------------------


def test_code_that_exits_is_a_failed_run_with_its_traceback(bare: Explorer) -> None:
    @bare.on_retrain
    def fix(plan: RetrainPlan, ctx: Any) -> Any:
        raise SystemExit("no GPU")

    run = run_to_its_end(bare, select(make_pool(), by="random", budget=3))
    assert (run.status, run.error) == ("failed", "SystemExit: no GPU")
    assert 'SystemExit("no GPU")' in str(run.traceback)


def test_a_broken_character_in_the_log_locks_nothing(tmp_path: Path, open_explorer: Callable[..., Explorer]) -> None:
    evaluation = make_evaluation()
    notes = Annotations(tmp_path / "a.sqlite", evaluation)
    explorer = open_explorer(evaluation, GrassFinder(), notes, pool=make_pool())

    @explorer.on_retrain
    def fix(plan: RetrainPlan, ctx: Any) -> Any:
        print("caf\udce9")
        return after_retraining(evaluation, 3)

    run = explorer.start_run(select(make_pool(), by="random", budget=3), wait=True)
    assert run.status == "done"
    notes.draw(["img-1"], "still open for labels")
    assert explorer.run_detail(run.number)["log"] == "caf\udce9\n"
    notes.close()


def test_a_file_that_vanishes_in_a_run_costs_the_record_and_not_the_result(
    tmp_path: Path, open_explorer: Callable[..., Explorer]
) -> None:
    evaluation = make_evaluation()
    notes = Annotations(tmp_path / "a.sqlite", evaluation)
    explorer = open_explorer(evaluation, GrassFinder(), notes, pool=make_pool())

    @explorer.on_retrain
    def fix(plan: RetrainPlan, ctx: Any) -> Any:
        (tmp_path / "a.sqlite").unlink()
        return "model", after_retraining(evaluation, 3)

    run = explorer.start_run(select(make_pool(), by="random", budget=3), wait=True)
    assert run.status == "done" and run.models == {"plan": "model"}
    assert "was removed; make a new Explorer to go on" in run.log
    notes.close()


def test_a_model_is_kept_even_when_its_evaluation_does_not_fit(bare: Explorer) -> None:
    bare.on_retrain(lambda plan, ctx: ("hours of work", make_pool()))
    run = run_to_its_end(bare, select(make_pool(), by="random", budget=3))
    assert run.status == "failed" and "under the same ids" in str(run.error)
    assert run.models == {"plan": "hours of work"}
    run.forget()
    assert run.models == {}


def test_one_model_for_two_arms_is_refused(bare: Explorer) -> None:
    model = object()
    bare.on_retrain(lambda plan, ctx: (model, after_retraining(bare.evaluation, 3)))
    run = run_to_its_end(bare, select(make_pool(), by="loss", budget=3, controls=["random"]))
    assert run.status == "failed" and "train a copy" in str(run.error)
    assert run.has_results  # the plan's own arm was whole
    assert bare.run_detail(run.number)["results"]["arms"] == ["plan"]
    assert bare.run_table()["runs"][0]["has_results"]


def test_cancelling_after_the_code_has_returned_keeps_its_result(bare: Explorer) -> None:
    @bare.on_retrain
    def fix(plan: RetrainPlan, ctx: Any) -> Any:
        bare.runs[-1].cancel()
        return after_retraining(bare.evaluation, 3)

    run = run_to_its_end(bare, select(make_pool(), by="random", budget=3))
    assert run.status == "done" and set(run.predictions) == {"plan"}


def test_who_watches_cannot_stop_who_runs(bare: Explorer) -> None:
    def broken(change: Any) -> None:
        raise RuntimeError("an observer is broken")

    bare.on_retrain(lambda plan, ctx: after_retraining(bare.evaluation, 3))
    bare.observe(broken, "revisions")
    run = run_to_its_end(bare, select(make_pool(), by="random", budget=3))
    bare.unobserve(broken, "revisions")
    assert run.status == "done"


def test_examples_without_labels_are_refused_before_anything_runs(open_explorer: Callable[..., Explorer]) -> None:
    evaluation = make_evaluation(labels=None)
    pool = make_pool()
    explorer = open_explorer(evaluation, pool=pool)
    assert "is not known" in explorer.remedies()["problem"]
    explorer.on_retrain(lambda plan, ctx: 1 / 0)
    with pytest.raises(Refusal, match="need labels and predictions"):
        explorer.start_run(select(pool, by="random", budget=3))
    assert explorer.runs == []


def test_one_run_at_a_time_even_when_the_annotations_were_opened_twice(
    tmp_path: Path, open_explorer: Callable[..., Explorer]
) -> None:
    evaluation, goes_on = make_evaluation(), threading.Event()
    both = [Annotations(tmp_path / "a.sqlite", evaluation) for _ in range(2)]
    first, second = (open_explorer(evaluation, GrassFinder(), notes, pool=make_pool()) for notes in both)

    def fix(plan: RetrainPlan, ctx: Any) -> Any:
        goes_on.wait(20)
        return after_retraining(evaluation, 3)

    for explorer in (first, second):
        explorer.on_retrain(fix)
    plan = select(make_pool(), by="random", budget=3)
    run = first.start_run(plan)
    with pytest.raises(Refusal, match="still going on"):
        second.start_run(plan)
    goes_on.set()
    assert run.wait(20)
    for notes in both:
        notes.close()


def test_what_was_thrown_out_is_there_in_the_next_session(
    tmp_path: Path, open_explorer: Callable[..., Explorer]
) -> None:
    evaluation = make_evaluation()
    notes = Annotations(tmp_path / "a.sqlite", evaluation)
    explorer = open_explorer(evaluation, GrassFinder(), notes, pool=make_pool())
    rows = [example["row"] for example in explorer.draw_up(**choices(explorer))["examples"]][:3]
    explorer.draw_up(**choices(explorer, thrown_out=rows))
    explorer.close()
    runs._OF_FILE.clear()
    later = open_explorer(evaluation, GrassFinder(), notes, pool=make_pool())
    assert later.remedies("slice", later.active_slice)["thrown_out"] == rows
    assert later.remedies("confirmed", None)["thrown_out"] == []
    later.draw_up(**choices(later))
    assert later.remedies("slice", later.active_slice)["thrown_out"] == []
    notes.close()


def test_a_plan_of_the_notebook_is_offered_and_not_overwritten_by_the_screen(bare: Explorer) -> None:
    mine = select(make_pool(), by="loss", budget=5)
    bare.plan = mine
    bare.draw_up(**choices(bare))
    assert bare.plan is mine
    assert next(iter(offered(bare))) == "own"
    shown = bare.draw_up(**choices(bare, remedy="own", budget=None))
    assert [example["id"] for example in shown["examples"]] == list(mine.additions)
    less = bare.draw_up(**choices(bare, remedy="own", budget=None, thrown_out=[shown["examples"][0]["row"]]))
    assert less["n"] == 4
    bare.plan = None
    assert "own" not in offered(bare)
    assert "set no plan" in Wire(bare).ask("plan", choices(bare, remedy="own", budget=None))["error"]["message"]


def test_targets_stay_targets_under_a_new_name(explorer: Explorer) -> None:
    number, key = explorer.runs[-1].number, explorer.active_slice
    explorer.label_slice("sneaker, hardest", name="sneakers on grass")
    detail = explorer.run_detail(number)
    assert detail["targets"] == [{"key": key, "name": "sneakers on grass"}]
    assert [row["name"] for row in detail["results"]["rows"] if row["is_target"]] == ["sneakers on grass"]


def test_the_plan_is_compared_with_its_control_too(explorer: Explorer) -> None:
    versus = explorer.run_detail(explorer.runs[-1].number)["results"]["versus"]
    assert versus["arm"] == "random"
    assert [row["name"] for row in versus["rows"]] == ["all images", "sneaker, hardest"]
    assert versus["rows"][0]["change"] == pytest.approx(-8 / 120)


def test_look_alikes_say_what_their_rows_lack(bare: Explorer) -> None:
    bare.on_retrain(lambda plan, ctx: after_retraining(bare.evaluation, 8))
    bare.press_retrain(**choices(bare, remedy="nearest", control=False))
    run = bare.runs[-1]
    assert run.wait(20)
    n_used = len(run.plan.used_ids)
    rows = {row["name"]: row for row in bare.run_detail(run.number)["results"]["rows"]}
    assert rows["all images"]["n"] == rows["all images"]["cells"][0]["n"] == 120 - n_used
    assert rows["all images"]["caution"] == f"less {n_used:,} that chose the additions"
    assert rows["sneaker, hardest"]["n"] == len(bare.in_hand) - n_used  # type: ignore[arg-type]


def test_what_is_judged_on_is_not_trained_on(open_explorer: Callable[..., Explorer]) -> None:
    evaluation = make_evaluation()
    for name in ("pool", "train"):
        with pytest.raises(ValueError, match=f"{name} is the Evaluation on the screen"):
            open_explorer(evaluation, GrassFinder(), **{name: evaluation})
