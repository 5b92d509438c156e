"""Take the pictures of the README: the quickstart's Explorer in JupyterLab, light and dark.

`make screenshots` runs this; it writes docs/explorer-light.png and docs/explorer-dark.png.
With --out FOLDER it also takes narrow ones, to be looked at.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "browser"))

from lab import Lab, ask, chromium, run_all  # noqa: E402 (found through the path above)

READY = "[data-failviz='ready']"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    parser.add_argument("--widths", type=int, nargs="+", default=[1440])
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, Lab(Path(folder)) as lab, chromium() as browser:
        shutil.copyfile(ROOT / "notebooks" / "01-quickstart.ipynb", lab.folder / "01-quickstart.ipynb")
        page = lab.open(browser, "01-quickstart.ipynb", width=chosen.widths[0], height=1100)
        if not run_all(page):
            sys.exit("a cell of the quickstart failed: run the notebook by hand to see which.")
        client = lab.kernel()
        ask(client, "explorer.selection = None; explorer.step = 16; explorer.wait_for_layout(120)")
        client.stop_channels()
        for width in chosen.widths:
            page.set_viewport_size({"width": width, "height": 1100})
            for theme in ("Light", "Dark"):
                page.evaluate(
                    "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})",
                    f"JupyterLab {theme}",
                )
                explorer = page.locator(READY).first
                explorer.scroll_into_view_if_needed()
                page.wait_for_timeout(4000)  # pictures arrive; the layout settles
                name = f"explorer-{theme.lower()}" + ("" if width == 1440 else f"-{width}")
                explorer.screenshot(path=chosen.out / f"{name}.png")
                print(chosen.out / f"{name}.png")


if __name__ == "__main__":
    main()
