"""The map by WebGL2 and by canvas: the same page with and without a graphics card, and one that is lost on the way."""

from contextlib import contextmanager

import nbformat
import pytest
from lab import CHROMIUM_FLAGS, chromium_path, run_all

pytestmark = pytest.mark.browser
READY = "[data-failviz='ready']"

CODE = """
import numpy as np, failviz
rng = np.random.default_rng(0)
labels = np.arange(600) % 2
rows = rng.normal(size=(600, 4)) + 4 * labels[:, None]
wrong = rng.random(600) < np.where(rows[:, 1] > 1, 0.4, 0.1)
evaluation = failviz.Evaluation(rows, labels=labels, predictions=np.where(wrong, 1 - labels, labels),
                                class_names=["boot", "bag"])
explorer = failviz.Explorer(evaluation, annotations=":memory:", layout="pca")
explorer
"""


@pytest.fixture(scope="module")
def notebook(lab):
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    cells = [nbformat.v4.new_code_cell(CODE.strip())]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), lab.folder / "renderers.ipynb")
    return "renderers.ipynb"


NAMED_LIKE_A_CARD = """
const ask = WebGL2RenderingContext.prototype.getParameter;
WebGL2RenderingContext.prototype.getParameter = function (name) {
    return name === 0x9246 ? "a graphics card" : ask.call(this, name);  // UNMASKED_RENDERER_WEBGL
};
"""
"""Software rendering, which the map would leave alone by its name."""


@contextmanager
def map_in(lab, browser, notebook, *flags, script=None):
    """The Explorer in a browser with these flags, and the errors of its page."""
    ours = [flag for flag in CHROMIUM_FLAGS if flag != "--disable-gpu"]
    other = browser.browser_type.launch(executable_path=chromium_path(), args=[*ours, *flags], headless=True)
    try:
        page = lab.open(other, notebook, script=script)
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        assert run_all(page)
        page.wait_for_selector(READY, timeout=60_000)
        yield page, errors
    finally:
        other.close()


def drawn_colours(page):
    """How many colours the map shows: one where nothing is drawn."""
    import io

    from PIL import Image

    picture = Image.open(io.BytesIO(page.locator(f"{READY} canvas").first.screenshot())).convert("RGB")
    return len(picture.getcolors(1 << 24))


def renderer(page, name):
    page.wait_for_selector(f"{READY}[data-renderer='{name}']", timeout=30_000)


def test_webgl_draws_the_map_and_a_lost_card_falls_back_to_canvas(lab, browser, notebook):
    flags = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")
    with map_in(lab, browser, notebook, *flags, script=NAMED_LIKE_A_CARD) as (page, errors):
        renderer(page, "webgl2")
        page.wait_for_timeout(500)
        assert drawn_colours(page) > 20
        page.evaluate(
            f"""() => document.querySelector("{READY} canvas").getContext("webgl2")
                .getExtension("WEBGL_lose_context").loseContext()"""
        )
        renderer(page, "canvas2d")
        page.wait_for_timeout(500)
        assert drawn_colours(page) > 20
        assert errors == []


def test_without_webgl_the_canvas_draws_the_map(lab, browser, notebook):
    with map_in(lab, browser, notebook, "--disable-3d-apis") as (page, errors):
        renderer(page, "canvas2d")
        page.wait_for_timeout(500)
        assert drawn_colours(page) > 20
        assert errors == []
