"""Take the pictures of the README: the Explorer in JupyterLab, light and dark.

`make screenshots` runs this; it writes docs/explorer-*.png (the quickstart's Explorer) and docs/compare-*.png (that of
02-fix-it, after its retraining). With --out FOLDER and --widths it also takes narrow ones, and the Retrain view, to be
looked at.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "browser"))

from lab import Lab, ask, chromium, run_all  # noqa: E402 (found through the path above)

READY = "[data-failviz='ready']"
WIDE = 1440


def opened(lab: Lab, browser: Any, name: str, first: str) -> Any:
    """A page on which this notebook has run, scrolled to its Explorer (the cell that begins with `first`)."""
    shutil.copyfile(ROOT / "notebooks" / name, lab.folder / name)
    page = lab.open(browser, name, width=WIDE, height=1100)
    if not run_all(page):
        sys.exit(f"a cell of {name} failed: run the notebook by hand to see which.")
    page.evaluate(
        """first => {
            const notebook = window.jupyterapp.shell.currentWidget.content;
            const at = notebook.widgets.findIndex(cell => cell.model.sharedModel.getSource().startsWith(first));
            notebook.activeCellIndex = at;
            return notebook.scrollToItem(at, 'start');
        }""",
        first,
    )
    return page


def take(page: Any, out: Path, name: str, widths: list[int]) -> None:
    """Pictures of the Explorer on the page, in both themes."""
    for width in widths:
        page.set_viewport_size({"width": width, "height": 1100})
        for theme in ("Light", "Dark"):
            page.evaluate(
                "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", f"JupyterLab {theme}"
            )
            explorer = page.locator(READY).first
            explorer.scroll_into_view_if_needed()
            page.wait_for_timeout(4000)  # pictures arrive; the layout settles
            path = out / f"{name}-{theme.lower()}{'' if width == WIDE else f'-{width}'}.png"
            explorer.screenshot(path=path)
            print(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    parser.add_argument("--widths", type=int, nargs="+", default=[WIDE])
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Lab(Path(folder)) as lab, chromium() as browser:
        page = opened(lab, browser, "01-quickstart.ipynb", "explorer = failviz.Explorer")
        client = lab.kernel()
        ask(client, "explorer.selection = None; explorer.step = 16; explorer.wait_for_layout(120)")
        take(page, chosen.out, "explorer", chosen.widths)
        client.stop_channels()
        page.close()

        page = opened(lab, browser, "02-fix-it.ipynb", "explorer = failviz.Explorer")
        client = lab.kernel()
        ask(client, "explorer.active_slice = 'sneaker: hardest'; explorer.view = 'compare'")
        take(page, chosen.out, "compare", chosen.widths)
        if chosen.out != ROOT / "docs":
            ask(client, "explorer.view = 'retrain'")
            take(page, chosen.out, "retrain", chosen.widths)
        client.stop_channels()


if __name__ == "__main__":
    main()
