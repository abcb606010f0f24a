# SPDX-License-Identifier: MIT
"""Pictures of every tab, dark and light, as serve_<tab>.png and serve_<tab>_light.png."""

from browser import DESKTOP, TABS
from case import shared_page, shared_server
from filled import FILL, FROM

MOST_BYTES = 300_000
SETTLE = """
  document.activeElement.blur();
  scrollTo(0, 0);
  if (arguments[0]) document.querySelector(`[data-testid=${arguments[0]}]`).scrollIntoView({behavior: "instant"});
  return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));"""


def take(folder):
    folder.mkdir(parents=True, exist_ok=True)
    page, server = shared_page(), shared_server()
    page.size(*DESKTOP)
    page.open(server)
    for tab in TABS:
        FILL[tab](page)
        for theme in ("light", "dark"):
            if page.js("return document.documentElement.dataset.theme") != theme:
                page.click("theme-switch")
            page.js(SETTLE, FROM.get(tab))
            file = folder / f"serve_{tab}{'_light' if theme == 'light' else ''}.png"
            file.write_bytes(page.driver.get_screenshot_as_png())
            size = file.stat().st_size
            print(f"{file}: {size:,} bytes")
            if size > MOST_BYTES:
                raise SystemExit(f"{file} has {size:,} bytes; at most {MOST_BYTES:,}")
