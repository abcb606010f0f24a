# SPDX-License-Identifier: MIT
"""The frame of the page: tabs, header, footer, theme, keyboard."""

import subprocess

import server
from browser import TABS
from case import BrowserCase
from selenium.webdriver.common.keys import Keys


class Shell(BrowserCase):
    def setUp(self):
        super().setUp()
        self.page.open(self.server)

    def open_panels(self):
        return [tab for tab in TABS if self.page.shown(f"panel-{tab}")]

    def test_tabs_open_their_panels(self):
        names = self.page.read("[role=tab]")
        self.assertEqual(names, ["Model Hub", "Architecture", "Live Stream", "Eviction Sim", "Cache Profile"])
        self.assertEqual(self.open_panels(), ["hub"])
        for tab, name in zip(TABS, names):
            self.page.tab(tab)
            self.assertEqual(self.open_panels(), [tab])
            self.assertIn(name, self.page.driver.title)
            chosen = self.page.read("[role=tab][aria-selected=true]", "id")
            self.assertEqual(chosen, [f"tab-{tab}"])

    def test_another_tab_begins_at_its_top(self):
        self.page.tab("eviction")
        self.page.wait("the long guide", lambda: self.page.all('[data-testid="guide-h2o"]'))
        self.page.js("scrollTo(0, document.documentElement.scrollHeight)")
        self.assertGreater(self.page.js("return scrollY"), 200)
        self.page.js("document.querySelector('[data-testid=tab-architecture]').click()")  # without scrolling to the tabs
        self.page.wait("the top", lambda: self.page.shown("panel-architecture") and self.page.js("return scrollY") == 0)

    def test_arrow_keys_move_through_the_tabs(self):
        self.page.press(Keys.ARROW_RIGHT, at=self.page.find("tab-hub"))
        self.assertEqual((self.open_panels(), self.page.focused()), (["architecture"], "tab-architecture"))
        self.page.press(Keys.ARROW_LEFT, Keys.ARROW_LEFT)
        self.assertEqual((self.open_panels(), self.page.focused()), (["profile"], "tab-profile"))
        self.page.press(Keys.HOME)
        self.assertEqual((self.open_panels(), self.page.focused()), (["hub"], "tab-hub"))
        self.page.press(Keys.END)
        self.assertEqual((self.open_panels(), self.page.focused()), (["profile"], "tab-profile"))

    def test_a_reload_keeps_the_tab(self):
        self.page.tab("eviction")
        self.page.reload()
        self.assertEqual(self.open_panels(), ["eviction"])

    def test_header_and_footer_say_what_runs(self):
        said = subprocess.run([server.KVVIZ, "--version"], capture_output=True, text=True, check=True).stdout.split()
        version = next(word for word in said if word[0].isdigit())
        self.assertIn(version, self.page.text("footer-version"))
        self.assertEqual(self.page.text("model-indicator-text"), "demo")
        self.page.wait_text("connection-text", "Connected")

    def test_the_theme_is_kept(self):
        before = self.page.js("return document.documentElement.dataset.theme")
        back = self.page.js("return getComputedStyle(document.body).backgroundColor")
        self.page.click("theme-switch")
        after = self.page.js("return document.documentElement.dataset.theme")
        self.assertEqual({before, after}, {"dark", "light"})
        self.assertNotEqual(self.page.js("return getComputedStyle(document.body).backgroundColor"), back)
        self.page.reload()
        self.assertEqual(self.page.js("return document.documentElement.dataset.theme"), after)

    def test_the_first_tab_stop_skips_to_the_content(self):
        self.page.open(self.server, "eviction")
        self.page.press(Keys.TAB)
        skip = self.page.driver.switch_to.active_element
        self.assertEqual(skip.get_attribute("class"), "skip")
        self.assertGreaterEqual(skip.rect["x"], 0)
        skip.send_keys(Keys.ENTER)
        self.assertEqual(self.page.js("return document.activeElement.id"), "main")
        self.assertEqual(self.open_panels(), ["eviction"], "the tab that was open")

    def test_words_are_explained_where_they_are_used(self):
        word = next(each for each in self.page.all(".term") if each.is_displayed())
        word.click()
        self.assertTrue(self.page.shown("word-box"))
        self.assertEqual(word.get_attribute("aria-expanded"), "true")
        self.page.press(Keys.ESCAPE)
        self.assertFalse(self.page.shown("word-box"))
