"""Screenshots of the dev page: `python dev/shots.py [name=query ...]` beside `npm run dev`."""

import os
import sys

from playwright.sync_api import sync_playwright

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
BASE = f"http://127.0.0.1:{os.environ.get('PORT', '8765')}/"
WIDTHS = [int(width) for width in os.environ.get("WIDTHS", "1400,900,650").split(",")]
THEMES = os.environ.get("THEMES", "light,dark").split(",")


def main() -> None:
    pages = [pair.split("=", 1) for pair in sys.argv[1:]] or [["map", ""]]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        for name, query in pages:
            for width in WIDTHS:
                for theme in THEMES:
                    page = browser.new_page(viewport={"width": width, "height": 900})
                    page.on(
                        "console",
                        lambda message: (
                            print("console:", message.text) if message.type in ("error", "warning") else None
                        ),
                    )
                    page.on("pageerror", lambda error: print("page error:", error))
                    page.goto(f"{BASE}?theme={theme}&{query}")
                    page.wait_for_selector("[data-failviz=ready], [data-failviz=error]")
                    page.wait_for_timeout(700)
                    page.screenshot(path=f"/tmp/js-{name}-{width}-{theme}.png", full_page=True)
                    page.close()
        browser.close()


main()
