"""The quickstart as its user meets it: real JupyterLab, real browser, and the kernel asked what came back."""

import json

import pytest
from lab import ask, run_all, wait_for_kernel, wait_until

pytestmark = pytest.mark.browser
READY = "[data-failviz='ready']"


def explorer_of(page):
    """The Explorer on screen, ready; scrolled to, as JupyterLab draws cells only when they come into view."""
    page.evaluate(
        """() => {
            const notebook = window.jupyterapp.shell.currentWidget.content;
            const at = notebook.widgets.findIndex(cell => /^explorer = failviz\\.Explorer/.test(
                cell.model.sharedModel.getSource()));
            notebook.activeCellIndex = at;
            return notebook.scrollToItem(at, 'start');
        }"""
    )
    page.wait_for_selector(READY, timeout=60_000)
    return page.locator(READY).first


@pytest.fixture(scope="module")
def quickstart(lab, browser):
    page = lab.open(browser, "01-quickstart.ipynb")
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    assert run_all(page), "a cell of the quickstart failed"
    client = lab.kernel()
    yield page, client, errors
    client.stop_channels()
    page.close()


def test_the_explorer_shows_what_the_notebook_found(quickstart):
    page, client, _ = quickstart
    explorer = explorer_of(page)
    names = explorer.locator("[data-testid=slice-item]").all_inner_texts()
    assert len(names) == int(ask(client, "print(len(explorer.slices))"))
    assert any("sneakers on grass" in name for name in names)  # named by a cell of the notebook
    assert "accuracy" in explorer.locator("[data-testid=summary]").inner_text()
    assert explorer.get_attribute("data-renderer") in ("webgl2", "canvas2d")
    assert explorer.get_attribute("data-selected") == "50"  # selected by a cell of the notebook
    thumb = explorer.locator("[data-testid=hand-thumbs] img").first
    thumb.wait_for()
    assert thumb.evaluate("image => image.complete && image.naturalWidth") > 0


def test_stepping_with_the_keyboard_moves_the_step_in_the_kernel(quickstart):
    page, client, _ = quickstart
    explorer = explorer_of(page)
    ask(client, "explorer.step = 10")
    page.wait_for_selector("[data-failviz][data-step='10']")
    slider = explorer.locator("[data-testid=step-slider]")
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    wait_until(page, client, "explorer.step", 13)
    page.keyboard.press("ArrowLeft")
    wait_until(page, client, "explorer.step", 12)
    strip = explorer.locator("[data-testid=strip] img")
    strip.nth(4).wait_for()  # at least five pictures around the step


def test_a_linked_ipywidgets_slider_drives_the_step(quickstart):
    page, client, _ = quickstart
    ask(
        client,
        "import ipywidgets; outside = ipywidgets.IntSlider(max=20)\n"
        "tie = ipywidgets.link((outside, 'value'), (explorer, 'step')); outside.value = 4",
    )
    page.wait_for_selector("[data-failviz][data-step='4']")
    explorer_of(page).locator("[data-testid=step-forward]").click()
    wait_until(page, client, "outside.value", 5)


def test_a_lasso_selects_in_the_kernel(quickstart):
    page, client, _ = quickstart
    explorer = explorer_of(page)
    ask(client, "explorer.selection = None")
    page.wait_for_selector("[data-failviz][data-selected='0']")
    explorer.locator("[data-testid=lasso-toggle]").click()
    scatter = explorer.locator("[data-testid=scatter]")
    scatter.scroll_into_view_if_needed()
    box = scatter.bounding_box()
    across, down = box["width"], box["height"]
    corners = [(0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75), (0.25, 0.27)]
    page.mouse.move(box["x"] + corners[0][0] * across, box["y"] + corners[0][1] * down)
    page.mouse.down()
    for x, y in corners[1:]:
        page.mouse.move(box["x"] + x * across, box["y"] + y * down, steps=8)
    page.mouse.up()
    page.wait_for_function("() => Number(document.querySelector('[data-failviz]').dataset.selected) > 0")
    shown = int(explorer.get_attribute("data-selected"))
    wait_until(page, client, "len(explorer.selection)", shown)
    assert 0 < shown < 4000
    # They are the points inside: every one of them lies in the middle half of the map, as drawn.
    spread = json.loads(
        ask(
            client,
            "import json, numpy as np; facts, (points,) = explorer.map_positions()\n"
            "at = np.frombuffer(points, '<u2').reshape(-1, 2)[test.rows_of(explorer.selection)].astype(float)\n"
            "print(json.dumps([float(v) for v in (*at.min(0), *at.max(0))]))",
        )
    )
    assert spread[2] - spread[0] < 0.75 * 65535 and spread[3] - spread[1] < 0.75 * 65535


def test_naming_a_lasso_is_saved_and_comes_back_after_a_reload(quickstart):
    page, client, errors = quickstart
    explorer = explorer_of(page)
    explorer.locator("[data-testid=new-slice]").click()
    explorer.locator("[data-testid=name-input]").fill("the middle <b>of</b> the map")
    explorer.locator("[data-testid=save-button]").click()
    item = explorer.locator("[data-testid=slice-item]", has_text="the middle <b>of</b> the map")
    item.wait_for()
    names = "explorer.annotations.to_frame()['name'].tolist()"
    assert "the middle <b>of</b> the map" in json.loads(ask(client, f"import json; print(json.dumps({names}))"))
    n_members = int(ask(client, "print([len(s) for s in explorer.slices if s.name.startswith('the middle')][0])"))
    assert n_members == int(ask(client, "print(len(explorer.selection))"))

    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    page.reload()
    page.wait_for_function("() => window.jupyterapp !== undefined", timeout=120_000)
    page.evaluate("async () => { await window.jupyterapp.restored; }")
    wait_for_kernel(page)
    explorer = explorer_of(page)
    explorer.locator("[data-testid=slice-item]", has_text="the middle").wait_for()
    assert int(explorer.get_attribute("data-selected")) == n_members  # the kernel lives, so does the selection

    explorer.locator("[data-testid=undo-button]").click()
    explorer.locator("[data-testid=slice-item]", has_text="the middle").wait_for(state="detached")
    assert "the middle <b>of</b> the map" not in ask(client, f"print({names})")
    explorer.locator("[data-testid=redo-button]").click()
    explorer.locator("[data-testid=slice-item]", has_text="the middle").wait_for()
    assert errors == []


def test_what_cannot_be_saved_is_said_and_stays_in_the_form(quickstart):
    page, client, _ = quickstart
    explorer = explorer_of(page)
    explorer.locator("[data-testid=slice-item]").nth(2).click()
    ask(
        client,
        "import os; place = explorer.annotations.place; os.rename(place, place + '.away')",
    )
    try:
        explorer.locator("[data-testid=name-input]").fill("cannot be kept")
        explorer.locator("[data-testid=save-button]").click()
        message = explorer.locator("[data-testid=save-error]")
        message.wait_for()
        assert "nothing was saved" in message.inner_text()
        assert explorer.locator("[data-testid=name-input]").input_value() == "cannot be kept"
    finally:
        ask(client, "os.rename(place + '.away', place)")
    explorer.locator("[data-testid=save-button]").click()
    explorer.locator("[data-testid=slice-item]", has_text="cannot be kept").wait_for()


def test_keys_pressed_in_the_widget_do_not_reach_the_notebook(quickstart):
    page, _, _ = quickstart
    explorer = explorer_of(page)
    cells = "() => window.jupyterapp.shell.currentWidget.content.widgets.length"
    before = page.evaluate(cells)
    explorer.locator("[data-testid=slice-item]").first.click()
    for key in "ddxab":
        page.keyboard.press(key)
    assert page.evaluate(cells) == before


def test_it_nests_in_boxes_and_two_views_agree(quickstart):
    page, client, _ = quickstart
    page.evaluate(
        """async () => {
            const panel = window.jupyterapp.shell.currentWidget;
            const commands = window.jupyterapp.commands;
            panel.content.activeCellIndex = panel.content.widgets.length - 1;
            await commands.execute('notebook:insert-cell-below');
            panel.content.activeCell.model.sharedModel.setSource(
                'import ipywidgets\\nnested = ipywidgets.Tab([ipywidgets.HBox([explorer])])\\nnested');
            await commands.execute('notebook:run-cell');
        }"""
    )
    nested = page.locator(f".widget-tab {READY}")
    nested.wait_for(timeout=60_000)
    assert nested.bounding_box()["width"] > 500
    ask(client, "explorer.step = 7")
    page.wait_for_selector(".widget-tab [data-failviz][data-step='7']")
