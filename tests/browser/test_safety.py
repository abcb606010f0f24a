# SPDX-License-Identifier: MIT
"""Markup from outside is text, and nothing of it runs."""

import json
import re
import shutil
import tempfile
from pathlib import Path

from case import BrowserCase
from hub import SHIPPED
from models import write_tokenizer
from selenium.webdriver.common.keys import Keys

IMAGE = "<img src=x onerror=window.hit=1>"
SCRIPT = "<script>window.hit=1</script>"
EVIL = f"{IMAGE}{SCRIPT}"

FORGE = f"""
  const real = window.fetch;
  window.fetch = async (path, options) => {{
    const answer = await real(path, options);
    if (!/models$|models.search|models.info|api.model$/.test(String(path).split("?")[0])) return answer;
    const text = (await answer.text()).replaceAll('"demo"', {json.dumps(json.dumps(EVIL))});
    return new Response(text, {{status: answer.status, headers: answer.headers}});
  }};"""


def model_with_markup(folder):
    """The shipped weights with a tokenizer in which one token is markup."""
    for name in ("config.json", "model.safetensors"):
        shutil.copy(SHIPPED / name, folder)
    write_tokenizer(folder, 2048, added=EVIL)


class Markup(BrowserCase):
    def assert_harmless(self):
        self.assertIsNone(self.page.js("return window.hit ?? null"))
        self.assertEqual(self.page.all("main img, main script"), [])

    def test_in_a_text_on_every_tab(self):
        self.page.open(self.server)
        self.page.enter("test-text", f"A {EVIL}", Keys.ENTER)
        self.page.wait("tokens", lambda: self.page.all('[data-testid="test-tokens"] .chip'))
        self.assert_harmless()
        self.page.tab("architecture")
        self.page.enter("layers-text", EVIL, (Keys.CONTROL, Keys.ENTER))
        self.page.wait("maps", lambda: self.page.all('[data-testid="layer-map-0"]'))
        self.assert_harmless()
        self.page.tab("stream")
        self.page.enter("stream-text", EVIL)
        self.page.slide("stream-interval", 50)
        self.page.click("stream-start")
        self.page.wait("tokens", lambda: len(self.page.all('[data-testid="stream-tokens"] .chip')) > 5)
        self.assert_harmless()
        self.page.tab("eviction")
        self.page.enter("eviction-text", EVIL)
        self.page.click("eviction-run")
        self.page.wait("a result", lambda: self.page.raw("eviction-result", "data-policies"))
        self.assert_harmless()

    def test_in_a_single_token(self):
        with tempfile.TemporaryDirectory() as parent:
            folder = Path(parent) / EVIL.replace("/", "")
            folder.mkdir()
            model_with_markup(folder)
            server = self.serve("--model", str(folder)).wait_ready()
            self.page.open(server)
            self.assertNotRegex(server.ask("model")["model"]["id"], "[<>]")
            self.page.enter("test-text", f"a{EVIL}b", Keys.ENTER)
            self.page.wait("tokens", lambda: len(self.page.all('[data-testid="test-tokens"] .chip')) == 3)
            chip = self.page.all('[data-testid="test-tokens"] .chip')[1]
            self.assertIn(EVIL.replace(" ", "␣"), chip.get_attribute("title"))
            self.assertTrue(chip.text.startswith("<img"))
            self.assert_harmless()
            self.page.tab("stream")
            self.page.paste("stream-text", f"{EVIL}abcdef")
            self.page.slide("stream-interval", 50)
            self.page.click("stream-start")
            self.page.wait("a sentence about it", lambda: "<img" in self.page.text("stream-finding"))
            self.page.press(Keys.ARROW_UP, at=self.page.find("stream-map"))
            self.assertTrue(self.page.shown("stream-map-tooltip"))
            self.assert_harmless()
            self.page.tab("eviction")
            self.page.paste("eviction-text", f"{EVIL}abcdefghijklmnop")
            self.page.click("eviction-run")
            self.page.wait("a result", lambda: self.page.raw("eviction-result", "data-policies"))
            self.page.hover("timeline-streaming_llm", 80, 10)
            self.assert_harmless()

    def test_in_the_id_of_a_model(self):
        """The server lets no such id through; the page must not rely on it."""
        self.expect("models/info.*status of 404")
        forged = self.page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": FORGE})
        try:
            self.page.open(self.server)
            self.page.wait("the forged id", lambda: EVIL in self.page.find("loaded-model").text)
            self.page.wait("the forged id", lambda: EVIL in self.page.find("local-models").text)
            self.page.wait("the forged card", lambda: EVIL in self.page.text("info-id"))
            self.assertEqual(self.page.text("model-indicator-text"), EVIL)
            self.assert_harmless()
        finally:
            self.page.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", forged)

    def test_in_a_name_of_a_tier_and_an_error_of_the_server(self):
        self.expect("status of 4")
        self.page.open(self.server, "profile")
        self.page.wait("a result", lambda: self.page.shown("profile-cache"))
        self.page.enter("tier-0-capacity", EVIL)
        self.page.click("profile-run")
        self.page.wait("an error that repeats it", lambda: "<img" in self.page.text("profile-error"))
        self.page.enter("tier-0-capacity", "80GB")
        self.page.enter("tier-0-name", EVIL)
        self.page.click("profile-run")
        self.page.wait(
            "the name, or an error",
            lambda: "<img" in self.page.text("tier-row-0")
            or (self.page.shown("profile-error") and "<img" in self.page.text("profile-error")),
        )
        self.assert_harmless()

    def test_the_policy_of_content_would_stop_it_and_this_test_would_see_it(self):
        self.page.open(self.server)
        self.page.js("const box = document.createElement('div'); box.innerHTML = arguments[0]; document.body.append(box)", IMAGE)
        violations = []
        self.page.wait(
            "the violation",
            lambda: violations.extend(entry for entry in self.page.log() if re.search("Content Security Policy", entry["message"]))
            or violations,
        )
        self.assertIsNone(self.page.js("return window.hit ?? null"))
        self.page.js("document.querySelector('body > div:last-child').remove()")
        self.expect("Content Security Policy", "status of 404")
