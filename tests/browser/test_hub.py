# SPDX-License-Identifier: MIT
"""Model Hub: what can be loaded, loading, unloading, and the quick attention test."""

from browser import TABS
from case import BrowserCase
from hub import SHIPPED
from models import FIXTURES
from selenium.webdriver.common.keys import Keys
from server import command, row, rows

OTHER_TABS = TABS[1:]
TEXT = "The tower was built in 1889 and is the tallest in the city."
LOADED = {
    "architecture": "architecture",
    "layers": "layers",
    "heads": "heads",
    "kv-heads": "kv_heads",
    "hidden": "hidden",
    "vocabulary": "vocabulary",
    "context": "context",
    "parameters": "parameters",
    "per-token": "bytes_per_token",
}


class Model(BrowserCase):
    def setUp(self):
        super().setUp()
        self.page.open(self.server)

    def tearDown(self):
        super().tearDown()
        if self.server.ask("model")["state"] != "ready" or self.server.ask("model")["model"]["dtype"] != "f32":
            self.server.load()

    def assert_loaded(self, dtype):
        facts = command("models", "info", "demo", "--dtype", "f32")["summary"]  # the cache is in f32, whatever the weights are in
        for ours, theirs in LOADED.items():
            self.assertEqual(self.page.raw(f"loaded-{ours}"), str(facts[theirs]), ours)
        self.assertEqual(self.page.text("loaded-dtype"), dtype)
        weights = command("models", "info", "demo", "--dtype", dtype)["summary"]["weights_bytes"]
        more = 1 if dtype == "f32" else 1.01  # norms stay in f32
        self.assertTrue(weights <= self.page.value("loaded-weights") <= more * weights, self.page.raw("loaded-weights"))
        self.assertEqual(self.page.text("loaded-device"), "cpu")

    def test_the_loaded_model_is_that_of_models_info_and_stays_after_a_reload(self):
        self.page.wait("the loaded model", lambda: self.page.text("loaded-id") == "demo")
        self.assert_loaded("f32")
        self.page.reload()
        self.page.wait("the loaded model", lambda: self.page.text("loaded-id") == "demo")
        self.assert_loaded("f32")

    def test_a_model_is_chosen_and_its_card_read(self):
        self.page.wait("the list of models", lambda: self.page.all("[data-list=local]"))
        card = next(each for each in self.page.all("[data-list=local]") if each.get_attribute("data-model") == "demo")
        self.assertIn("ships with kvviz", card.text)
        card.click()
        self.page.wait_text("info-id", "demo")
        self.assertEqual(card.get_attribute("aria-pressed"), "true")
        size = sum(path.stat().st_size for path in SHIPPED.iterdir())
        self.assertEqual(self.page.text("info-bytes"), f"{size / 2**20:.2f} MiB")

    def test_unloading_covers_the_other_tabs_and_loading_uncovers_them(self):
        self.page.click("unload-model")
        self.page.wait("no model", lambda: self.page.shown("loaded-none"))
        self.assertIsNone(self.server.ask("model")["model"])
        self.assertEqual(self.page.text("model-indicator-text"), "No model loaded")
        self.assertFalse(self.page.shown("quick-test"))
        self.assertFalse(self.page.find("unload-model").is_enabled())
        for tab in OTHER_TABS:
            self.page.tab(tab)
            self.assertTrue(self.page.shown(f"need-model-{tab}"), tab)
            self.page.click(f"need-model-{tab}-button")
            self.page.wait("the hub", lambda: self.page.shown("panel-hub"))
        self.page.click("load-model")
        self.page.wait("the model", lambda: self.page.all('[data-testid="loaded-id"]'))
        self.page.wait_text("hub-status", "Ready: demo")
        self.assert_loaded("f32")
        for tab in OTHER_TABS:
            self.page.tab(tab)
            self.assertFalse(self.page.shown(f"need-model-{tab}"), tab)

    def test_what_another_client_loads_is_noticed(self):
        self.page.click("unload-model")
        self.page.wait("no model", lambda: self.page.shown("loaded-none"))
        self.server.load()
        self.page.wait("the model", lambda: self.page.all('[data-testid="loaded-id"]'))
        self.assertEqual(self.page.text("model-indicator-text"), "demo")

    def test_a_precision_is_chosen(self):
        self.page.choose("load-dtype", "bf16")
        self.page.click("load-model")
        self.page.wait("bf16", lambda: self.page.text("loaded-dtype") == "bf16")
        self.assert_loaded("bf16")
        self.page.click("load-model")  # a second load while a model is there, which the original locked up at
        self.page.wait_text("hub-status", "Ready")

    def test_a_device_that_is_not_there_is_an_error_on_the_page(self):
        self.expect("status of 4")
        self.page.choose("load-device", "mps")
        self.page.click("load-model")
        self.page.wait_text("load-error", "mps")
        self.assertIn("Error", self.page.text("hub-status"))
        self.assertEqual(self.page.text("loaded-id"), "demo", "the model that was there stays")

    def test_a_load_that_fails_is_told_beside_what_is_loaded(self):
        server = self.serve("--model", str(FIXTURES / "bloom"))
        self.page.wait("the failure", lambda: "error" in server.ask("model"))
        self.page.open(server)
        self.page.wait_text("hub-status", "Idle: no model is loaded. The last load failed: [tokenizer] no tokenizer")
        server.load()
        self.page.wait("the model", lambda: self.page.text("hub-status") == "Ready: demo")
        server.load("bloom")  # fails
        self.page.reload()
        self.page.wait_text("hub-status", "Ready: demo. The last load failed: [tokenizer] no tokenizer")
        self.page.click("unload-model")
        self.page.wait("nothing more of it", lambda: self.page.text("hub-status") == "Idle: no model is loaded")

    def test_an_offline_search_says_so(self):
        self.expect("status of 422")
        self.page.enter("search-query", "gpt2", Keys.ENTER)
        self.page.wait_text("search-error", "HF_HUB_OFFLINE")

    def test_the_quick_actions_lead_to_the_tabs(self):
        for tab in OTHER_TABS:
            self.page.tab("hub")
            self.page.click(f"quick-{tab}")
            self.page.wait(tab, lambda tab=tab: self.page.shown(f"panel-{tab}"))


class QuickTest(BrowserCase):
    def setUp(self):
        super().setUp()
        self.page.open(self.server)
        self.analyzed = command("analyze", "--prompt", TEXT, "--focus", "attention,tokens")

    def run_test(self, layer, heads="all", head=None):
        self.page.enter("test-layer", str(layer))
        self.page.choose("test-heads", heads)
        if head is not None:
            self.page.enter("test-head", str(head))
        self.page.js("document.querySelector('[data-testid=test-facts]').replaceChildren()")
        self.page.enter("test-text", TEXT, Keys.ENTER)
        self.page.wait("the result", lambda: self.page.all('[data-testid="test-layer-shown"]'))

    def assert_head(self, layer, head):
        want = row(self.analyzed, "attention_heads", layer=layer, head=head)
        self.assertEqual((self.page.value("test-layer-shown"), self.page.value("test-head-shown")), (layer, head))
        self.assert_value("test-sink-mass", want["sink_mass"])
        self.assert_value("test-entropy", want["entropy"])
        self.assert_value("test-distance", want["distance"])

    def test_minus_one_is_the_last_layer(self):
        self.run_test(-1)
        self.assertEqual(self.page.value("test-heads-shown"), 8)
        self.assert_head(3, 0)

    def test_layer_0_is_layer_0_and_every_head_can_be_shown(self):
        self.run_test(0)
        for head in range(8):
            self.page.choose("test-shown", head)
            self.assert_head(0, head)

    def test_one_head(self):
        self.run_test(1, "one", 0)
        self.assert_head(1, 0)
        self.run_test(2, "one", 7)
        self.assert_head(2, 7)

    def test_the_mean_over_heads(self):
        self.run_test(0, "mean")
        heads = rows(self.analyzed, "attention_heads", layer=0)
        for testid, measure in (("test-sink-mass", "sink_mass"), ("test-entropy", "entropy"), ("test-distance", "distance")):
            self.assert_value(testid, sum(head[measure] for head in heads) / len(heads))

    def test_the_tokens_are_the_models(self):
        self.run_test(0)
        texts = [token["text"] for token in self.analyzed["tables"]["tokens"]["rows"]]
        shown = self.page.read('[data-testid="test-tokens"] .chip')
        self.assertEqual(
            [text.replace("␣", "") for text in shown], [text.replace("▁", "").replace("␣", "").replace(" ", "") for text in texts]
        )
        self.assertEqual(self.page.value("test-tokens-shown"), len(texts))

    def test_mistakes_are_named(self):
        self.expect("status of 4")
        self.page.enter("test-layer", "4", Keys.ENTER)
        self.page.wait_text("test-error", "Layer: got 4")
        self.page.enter("test-layer", "0")
        self.page.paste("test-text", "word " * 2000)
        self.page.click("test-run")
        self.page.wait_text("test-error", "tokens")
