# SPDX-License-Identifier: MIT
"""No horizontal scrolling, readable text, visible focus and named controls, on every tab with something on it."""

from pathlib import Path

from browser import DESKTOP, PHONE, TABS
from case import BrowserCase
from filled import FILL
from selenium.webdriver.common.keys import Keys

LEAST_CONTRAST = 4.5
CONTRAST = (Path(__file__).parent / "contrast.js").read_text()
# What lies beyond the right edge of the window, unless it scrolls by itself.
WIDE = """
  const room = document.documentElement.clientWidth;
  const clips = e => /auto|scroll|hidden|clip/.test(getComputedStyle(e).overflowX);
  const clipped = e => e.parentElement !== null && (clips(e.parentElement) || clipped(e.parentElement));
  const beyond = e => e.getBoundingClientRect().width > 0 && e.getBoundingClientRect().right > room + 1;
  const all = [...document.querySelectorAll("body *")].filter(e => e.checkVisibility() && beyond(e) && !clipped(e));
  const who = all.slice(0, 5).map(e => e.dataset.testid ?? `${e.tagName}.${e.className}`);
  return {wide: document.documentElement.scrollWidth, room, who};"""
UNNAMED = """
  const by = e => document.getElementById(e.getAttribute("aria-labelledby"));
  const named = e => e.getAttribute("aria-label") || e.labels?.length || e.innerText?.trim() || e.title || by(e);
  const all = [...document.querySelectorAll("button, input, select, textarea, canvas, [role=img], dialog")];
  return all.filter(e => e.checkVisibility() && !named(e)).map(e => e.outerHTML.slice(0, 120));"""
FOCUS = """
  const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
  return {
    name: e.dataset.testid ?? e.className ?? e.tagName,
    body: e === document.body,
    outline: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    inside: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
  };"""


class Looks(BrowserCase):
    def test_every_tab(self):
        """One visit for all of them: filling the tabs is what takes time."""
        self.page.open(self.server)
        for tab in TABS:
            FILL[tab](self.page)
            for size in (PHONE, DESKTOP):
                self.page.size(*size)
                with self.subTest("no horizontal scrolling", tab=tab, size=size):
                    self.assert_no_wider(size)
            with self.subTest("controls have names", tab=tab):
                self.assertEqual(self.page.js(UNNAMED), [])
            for theme in ("light", "dark"):
                self.to_theme(theme)
                with self.subTest("contrast", tab=tab, theme=theme):
                    found = self.page.js(CONTRAST, LEAST_CONTRAST)
                    self.assertGreater(found["seen"], 30)
                    self.assertEqual(found["found"], [])

    def assert_no_wider(self, size):
        """After the window has changed, drawings may take a moment to follow."""
        found = {}

        def fits():
            found.update(self.page.js(WIDE))
            return found["wide"] <= found["room"]

        try:
            self.page.wait("it to fit", fits, limit=2)
        except AssertionError:
            self.fail(f"{found['wide']} px wide in {found['room']}: {found['who']}")
        self.assertEqual(found["room"], size[0])

    def to_theme(self, theme):
        if self.page.js("return document.documentElement.dataset.theme") != theme:
            self.page.click("theme-switch")

    def test_the_contrast_of_what_lies_over_the_page(self):
        self.page.open(self.server, "stream", tours=True)
        self.page.wait("the tour", lambda: self.page.shown("tour-stream"))
        next(word for word in self.page.all(".term") if word.is_displayed()).click()
        for theme in ("light", "dark"):
            self.to_theme(theme)
            self.assertEqual(self.page.js(CONTRAST, LEAST_CONTRAST)["found"], [], theme)
        self.page.tab("architecture")
        self.page.click("layers-run")
        self.page.wait("the maps", lambda: self.page.all('[data-testid="layer-map-0"]'))
        self.page.click("layer-map-0")
        self.page.wait("it enlarged", lambda: self.page.shown("enlarged"))
        self.assertEqual(self.page.js(CONTRAST, LEAST_CONTRAST)["found"], [])

    def test_focus_is_visible_wherever_the_tab_key_leads(self):
        for tab in TABS:
            self.page.open(self.server, tab)
            self.page.wait("controls", lambda: len(self.page.all("main button")) > 2)
            names = []
            for _ in range(80):
                self.page.press(Keys.TAB)
                found = self.page.js(FOCUS)
                if found["body"] or (names and found["name"] == names[0] == "skip"):
                    break
                names.append(found["name"])
                if found["name"] == "skip":
                    continue
                with self.subTest(tab=tab, control=found["name"]):
                    self.assertTrue(found["outline"], found)
                    self.assertTrue(found["inside"], found)
            self.assertGreater(len(set(names)), 8, names)

    def test_the_overlay_is_readable_and_what_lies_below_cannot_be_reached(self):
        server = self.serve("--model", "none")
        self.page.open(server, "eviction")
        self.page.wait("the overlay", lambda: self.page.shown("need-model-eviction"))
        for size in (PHONE, DESKTOP):
            self.page.size(*size)
            self.assert_no_wider(size)
        for theme in ("light", "dark"):
            self.to_theme(theme)
            self.assertEqual(self.page.js(CONTRAST, LEAST_CONTRAST)["found"], [], theme)
        self.page.js("document.activeElement.blur()")
        reached = set()
        for _ in range(15):
            self.page.press(Keys.TAB)
            reached.add(self.page.focused())
        self.assertIn("need-model-eviction-button", reached)
        self.assertNotIn("eviction-text", reached)
