# SPDX-License-Identifier: MIT
"""Model Hub with a hub: search, cards, access tokens, downloads."""

from case import BrowserCase
from hub import GATED, MARKUP, Hub
from selenium.webdriver.common.keys import Keys

TOKEN = "hf_abcdefghijklmnopqrstuvwxyz"


class HubOnline(BrowserCase):
    def setUp(self):
        super().setUp()
        self.hub = Hub()
        self.addCleanup(self.hub.stop)

    def open(self, **changes):
        self.server = self.serve(changes={**self.hub.changes, **changes}).wait_ready()
        self.page.open(self.server)

    def search(self, query="er"):
        self.page.enter("search-query", query, Keys.ENTER)
        self.page.wait("what was found", lambda: self.page.all("[data-list=hub]"))

    def card(self, model):
        return next(card for card in self.page.all("[data-list=hub]") if card.get_attribute("data-model") == model)

    def test_a_search_lists_what_the_hub_answers(self):
        self.open()
        self.search("tower")
        asked = self.hub.queries[-1]
        self.assertEqual((asked["search"], asked["limit"], asked["sort"], asked["filter"]), ("tower", "20", "downloads", "text-generation"))
        own = self.card("own/er")
        self.assertIn("4,321 downloads", own.text)
        self.assertIn("5 likes", own.text)
        self.assertIn("gated", self.card(GATED).text)
        self.assertNotIn("gated", own.text)
        self.page.tick("search-text-generation", False)
        self.page.click("search-button")
        self.page.wait("another question", lambda: len(self.hub.queries) == 2)
        self.assertNotIn("filter", self.hub.queries[-1])

    def test_the_card_of_a_model(self):
        self.open()
        self.search()
        self.card("own/er").click()
        self.page.wait_text("info-id", "own/er")
        shown = {key: self.page.text(f"info-{key}") for key in ("author", "downloads", "likes", "pipeline", "license")}
        self.assertEqual(shown, {"author": "own", "downloads": "4,321", "likes": "5", "pipeline": "text-generation", "license": "mit"})
        tags = [tag.text for tag in self.page.all('[data-testid="info-tags"] li')]
        self.assertEqual(tags, [f"tag{i}" for i in range(8)])
        self.assertFalse(self.page.shown("info-gated"))

    def test_markup_in_a_card_is_text(self):
        self.open()
        self.search()
        self.card(GATED).click()
        self.page.wait_text("info-id", GATED)
        self.assertEqual(self.page.text("info-author"), MARKUP)
        self.assertEqual(self.page.text("info-pipeline"), MARKUP)
        self.assertEqual(self.page.text("info-license"), MARKUP)
        self.assertEqual(self.page.all('[data-testid="info-tags"] li')[0].text, f"{MARKUP}0")
        self.assertTrue(self.page.shown("info-gated"))
        self.assertEqual(self.page.all("main img"), [])
        self.assertIsNone(self.page.js("return window.hit ?? null"))

    def begin_download(self):
        """Half of the model comes, the rest when the hub goes on."""
        self.open()
        self.hub.hold.set()
        self.search()
        self.card("own/er").click()
        self.page.wait_text("info-id", "own/er")
        self.page.click("load-model")
        self.page.wait_text("load-progress-text", "downloading: ")

    def test_a_download_shows_how_far_it_is_and_the_model_is_there_then(self):
        self.begin_download()
        self.page.wait("half of it", lambda: 0.4 < float(self.page.find("load-progress").get_attribute("value") or 0) < 0.7)
        self.assertIn("Loading own/er: downloading", self.page.text("hub-status"))
        self.assertEqual(self.page.text("loaded-id"), "demo", "the model before it stays until then")
        self.hub.goes_on.set()
        self.page.wait("the model", lambda: self.page.text("loaded-id") == "own/er")
        self.page.wait_text("hub-status", "Ready: own/er")
        self.assertEqual(self.page.text("model-indicator-text"), "own/er")
        self.page.wait(
            "it among the local ones", lambda: "own/er" in [card.get_attribute("data-model") for card in self.page.all("[data-list=local]")]
        )

    def test_a_download_is_cancelled(self):
        self.begin_download()
        self.page.click("load-cancel")
        self.page.wait_text("load-error", "Cancelled")
        self.server.wait_ready()
        self.assertEqual(self.server.ask("model")["model"]["id"], "demo")
        self.assertEqual(self.page.text("loaded-id"), "demo")
        self.hub.goes_on.set()

    def test_a_gated_model_says_what_to_do_and_a_token_is_used_once_and_not_shown(self):
        self.expect("status of 422")
        self.open()
        self.search()
        self.card(GATED).click()
        self.page.wait_text("info-id", GATED)
        self.page.click("load-model")
        self.page.wait_text("load-error", "gated")
        self.page.enter("hub-token", TOKEN)
        self.assertEqual(self.page.raw("hub-token", "type"), "password")
        self.page.click("load-model")
        self.page.wait("that it was sent", lambda: f"Bearer {TOKEN}" in self.hub.tokens)
        self.page.wait_text("load-error", "gated")
        self.assertNotIn(TOKEN, self.page.driver.page_source)
        self.assertFalse(
            self.page.js("return JSON.stringify([localStorage, sessionStorage, document.cookie]).includes(arguments[0])", TOKEN)
        )

    def test_a_token_of_this_machine_is_masked(self):
        self.open(HF_TOKEN=TOKEN)
        self.page.wait_text("token-state", "HF_TOKEN")
        masked = self.page.text("token-masked")
        self.assertTrue(masked.startswith(TOKEN[:3]) and masked.endswith(TOKEN[-4:]), masked)
        self.assertNotIn(TOKEN[4:-4], self.page.driver.page_source)
