"""The loop as its user meets it: a plan on the screen, the button, progress, Cancel, a broken run, and what came of it
in the kernel; with a function and with a cell, with and without subshells."""

import json

import nbformat
import pytest
from lab import Lab, ask, run_all, wait_for_kernel, wait_until

pytestmark = pytest.mark.browser
READY = "[data-failviz='ready']"

SETUP = """
import failviz, time
from failviz import datasets
scenes = datasets.load_fashion_scenes()
model, encoder = datasets.load_demo_classifier(), datasets.load_demo_encoder()
val_set, test_set = scenes.val.take(range(1200)), scenes.test.take(range(800))
pool_set, train_set = scenes.pool.take(range(1500)), scenes.train.take(range(600))
validation = failviz.evaluate(model, val_set, encoders=encoder)
test = failviz.evaluate(model, test_set, encoders=encoder)
pool = failviz.evaluate(model, pool_set, encoders=encoder)
directions = failviz.FailureDirections(space="scenes-clip", random_state=0).fit(validation)
"""
EXPLORER = """
explorer = failviz.Explorer(test, directions, pool=pool, layout="pca")
explorer.active_slice = "sneaker: hardest"
mode = "work"

def work(plan, ctx):
    if mode == "slow":
        for i in range(600):
            ctx.progress(i / 600, f"step {i}", loss=1 / (i + 1))
            time.sleep(0.05)
    if mode == "broken":
        raise ValueError("the <b>code</b> is broken")
    better = failviz.retrain(model, plan, train_set, pool_set, epochs=1, replay=300, lr=5e-4, on_progress=ctx.progress)
    return better, failviz.evaluate(better, test_set)

explorer
"""
FUNCTION = """
@explorer.on_retrain
def fix(plan, ctx):
    print("fixing", len(plan.additions))
    return work(plan, ctx)
"""
CELL = """%%failviz_retrain again
print("fixing in the cell", len(plan.additions))
result = work(plan, ctx)
result
"""


def write_notebook(folder):
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in (SETUP, EXPLORER, FUNCTION)]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "retraining.ipynb")


@pytest.fixture(scope="module")
def opened(lab, browser):
    write_notebook(lab.folder)
    page = lab.open(browser, "retraining.ipynb", height=1200)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    assert run_all(page), "a cell failed"
    client = lab.kernel()
    yield page, client, errors
    client.stop_channels()
    page.close()


def explorer_of(page):
    page.evaluate(
        """() => {
            const notebook = window.jupyterapp.shell.currentWidget.content;
            notebook.activeCellIndex = 1;
            return notebook.scrollToItem(1, 'start');
        }"""
    )
    page.wait_for_selector(READY, timeout=60_000)
    return page.locator(READY).first


def press_retrain(page, client, budget=12, control=False):
    """Show the plan and press the button; the number of the run that follows."""
    explorer = explorer_of(page)
    explorer.locator("[data-testid=view-retrain]").click()
    explorer.locator("[data-testid=budget-input]").fill(str(budget))
    explorer.locator("[data-testid=control-checkbox]").set_checked(control)
    page.wait_for_function(
        "n => document.querySelector('[data-testid=plan-count]')?.textContent.trim().startsWith(`${n} `)", arg=budget
    )
    number = int(ask(client, "print(len(explorer.runs))")) + 1
    explorer.locator("[data-testid=retrain-button]").click()
    explorer.locator(f"[data-testid=run-panel][data-run='{number}']").wait_for()
    return explorer, number


def wait_for_status(page, explorer, number, status, seconds=90):
    explorer.locator(f"[data-testid=run-panel][data-run='{number}'][data-status='{status}']").wait_for(
        timeout=1000 * seconds
    )


def test_a_plan_is_looked_through_and_thrown_out_pictures_make_room(opened):
    page, client, _ = opened
    explorer = explorer_of(page)
    explorer.locator("[data-testid=fix-this]").click()
    explorer.locator("[data-testid=budget-input]").fill("10")
    tiles = explorer.locator("[data-testid=plan-example]")
    page.wait_for_function("() => document.querySelectorAll('[data-testid=plan-example]').length === 10")
    tiles.first.locator("img").wait_for()
    assert tiles.first.locator("img").evaluate("image => image.complete && image.naturalWidth") > 0
    before = json.loads(ask(client, "import json; print(json.dumps(list(explorer.plan.additions)))"))
    tiles.first.hover()
    tiles.first.locator("[data-testid=throw-out]").click()
    wait_until(page, client, f"{before[0]!r} in explorer.plan.additions", False)
    after = json.loads(ask(client, "print(json.dumps(list(explorer.plan.additions)))"))
    assert after[:9] == before[1:] and len(after) == 10
    explorer.locator("[data-testid=take-back]").click()
    wait_until(page, client, "list(explorer.plan.additions)", before)


def test_the_button_retrains_and_both_halves_show_what_changed(opened):
    page, client, errors = opened
    explorer, number = press_retrain(page, client, budget=12, control=True)
    wait_for_status(page, explorer, number, "done", seconds=150)
    assert "sneaker" in explorer.locator("[data-testid=run-summary]").inner_text()
    assert explorer.locator("[data-testid=loss-curve]").count() == 1
    kept = (
        "[sorted(explorer.runs[-1].models), type(explorer.runs[-1].models['plan']).__name__, explorer.runs[-1].status]"
    )
    assert json.loads(ask(client, f"import json; print(json.dumps({kept}))")) == [
        ["plan", "random"],
        "SceneClassifier",
        "done",
    ]
    assert ask(client, "print(explorer.runs[-1].log)").split() == ["fixing", "12", "fixing", "12"]

    explorer.locator("[data-testid=see-changes]").click()
    row = explorer.locator("[data-testid=compare-row][data-group=overall]")
    row.wait_for()
    shown = row.inner_text()
    overall = "[c for c in explorer.runs[-1].comparison(directions) if c.group == 'overall' and c.arm == 'plan'][0]"
    fixed = int(ask(client, f"c = {overall}; print(c.fixed)"))
    assert "800" in shown and any(word in shown for word in ("better", "worse", "no clear change"))
    wide = page.viewport_size
    page.set_viewport_size({**wide, "width": 900})  # both arms fit, in the room of the list
    explorer.locator("[data-testid=slice-list]").wait_for(state="hidden")
    assert (
        row.evaluate(
            "row => { const box = row.closest('table').parentElement; return box.scrollWidth - box.clientWidth; }"
        )
        == 0
    )
    page.set_viewport_size(wide)
    explorer.locator("[data-testid=slice-list]").wait_for()
    names = explorer.locator("[data-testid=compare-row][data-group=slice]").count()
    assert names == int(ask(client, "print(len(explorer.slices))"))
    explorer.locator("[data-testid=compare-row][data-group=slice]").first.click()
    explorer.get_by_role("radio", name="All", exact=True).click()
    page.wait_for_function(
        "n => document.querySelector('[data-testid=changed-fixed]')?.textContent.includes(n)", arg=str(fixed)
    )
    if fixed:
        explorer.locator("[data-testid=changed-tile]").first.wait_for()
    assert errors == []


def test_progress_is_seen_and_cancel_stops_it(opened):
    page, client, _ = opened
    ask(client, "mode = 'slow'")
    explorer, number = press_retrain(page, client)
    wait_for_status(page, explorer, number, "running")
    page.wait_for_function(
        "() => /step [1-9]/.test(document.querySelector('[data-testid=run-doing]')?.textContent ?? '')"
    )
    assert explorer.locator("[data-testid=retrain-button]").is_disabled()  # one run at a time
    explorer.locator("[data-testid=cancel-run]").click()
    wait_for_status(page, explorer, number, "cancelled")
    wait_until(page, client, "explorer.runs[-1].status", "cancelled")


def test_a_broken_run_shows_the_persons_lines_and_leaves_the_session_whole(opened):
    page, client, errors = opened
    ask(client, "mode = 'broken'")
    explorer, number = press_retrain(page, client)
    wait_for_status(page, explorer, number, "failed")
    assert "the <b>code</b> is broken" in explorer.locator("[data-testid=run-error]").inner_text()
    explorer.locator("[data-testid=run-traceback] summary").click()
    assert "raise ValueError" in explorer.locator("[data-testid=run-traceback]").inner_text()
    explorer.locator("[data-testid=view-map]").click()
    explorer.locator("[data-testid=scatter]").wait_for()
    assert errors == []


def test_a_cell_takes_the_place_of_the_function_and_runs_again(opened):
    page, client, _ = opened
    ask(client, "mode = 'work'; explorer.plan = None")
    page.evaluate(
        """async source => {
            const panel = window.jupyterapp.shell.currentWidget, commands = window.jupyterapp.commands;
            panel.content.activeCellIndex = panel.content.widgets.length - 1;
            await commands.execute('notebook:insert-cell-below');
            panel.content.activeCell.model.sharedModel.setSource(source);
            await commands.execute('notebook:run-cell');
        }""",
        CELL,
    )
    explorer = explorer_of(page)
    explorer.locator("[data-testid=view-retrain]").click()
    page.wait_for_function("() => document.querySelector('[data-testid=route-note]')?.textContent.includes('again')")
    explorer, number = press_retrain(page, client, budget=6)
    wait_for_status(page, explorer, number, "done", seconds=150)
    assert ask(client, "print(explorer.runs[-1].log)").strip() == "fixing in the cell 6"
    assert ask(client, "print(result[0] is explorer.runs[-1].models['plan'])") == "True"


def test_runs_come_back_after_a_reload(opened):
    page, client, _ = opened
    n_runs = int(ask(client, "print(len(explorer.runs))"))
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    page.reload()
    page.wait_for_function("() => window.jupyterapp !== undefined", timeout=120_000)
    page.evaluate("async () => { await window.jupyterapp.restored; }")
    wait_for_kernel(page)
    explorer = explorer_of(page)
    explorer.locator("[data-testid=view-compare]").click()
    explorer.locator("[data-testid=run-item]").first.wait_for()
    assert explorer.locator("[data-testid=run-item]").count() == n_runs


@pytest.fixture(scope="module")
def without_subshells(tmp_path_factory):
    settings = {"kernels-settings": {"commsOverSubshells": "disabled"}}
    with Lab(tmp_path_factory.mktemp("plain-lab"), settings=settings) as running:
        write_notebook(running.folder)
        yield running


def test_without_subshells_the_button_and_cancel_work_as_well(without_subshells, browser):
    page = without_subshells.open(browser, "retraining.ipynb", height=1200)
    try:
        assert run_all(page), "a cell failed"
        client = without_subshells.kernel()
        explorer, number = press_retrain(page, client, budget=6)
        wait_for_status(page, explorer, number, "done", seconds=150)
        wait_until(page, client, "explorer.runs[-1].status", "done")
        ask(client, "mode = 'slow'")
        explorer, number = press_retrain(page, client, budget=6)
        wait_for_status(page, explorer, number, "running")
        explorer.locator("[data-testid=cancel-run]").click()
        wait_for_status(page, explorer, number, "cancelled")
        client.stop_channels()
    finally:
        page.close()
