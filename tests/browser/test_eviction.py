# SPDX-License-Identifier: MIT
"""Eviction Sim: policies on a text, with the numbers of kvviz simulate."""

import re
import tempfile
from pathlib import Path

from case import BrowserCase
from models import fixture_with_tokenizer
from selenium.webdriver.common.keys import Keys
from server import command, row, rows

TEXT = (
    "The tower was built in 1889 and is the tallest building in the city, and every year many people come to see it "
    "from the other side of the river, where the old town begins."
)
LEGACY = ["full", "lru", "window", "streaming_llm", "h2o"]
# what the page shows: the table of kvviz simulate and its column
MEASURES = {
    "ppl": ("simulate", "ppl"),
    "delta": ("simulate", "delta_ppl"),
    "kl": ("simulate", "kl"),
    "agreement": ("simulate", "top1_agreement"),
    "recall": ("simulate", "recall"),
    "hit-rate": ("simulate", "demand_hit_rate"),
    "bytes": ("simulate", "resident_bytes"),
    "cached": ("simulate", "final_entries"),
    "evictions": ("simulate_counters", "evictions"),
    "hits": ("simulate_counters", "hits"),
    "misses": ("simulate_counters", "misses"),
    "sinks": ("simulate_counters", "retained_sinks"),
    "heavy": ("simulate_counters", "retained_heavy"),
}


class Eviction(BrowserCase):
    def setUp(self):
        super().setUp()
        self.page.open(self.server, "eviction")
        self.page.wait("the policies", lambda: self.page.all('[data-testid="policy-h2o"]'))
        self.page.paste("eviction-text", TEXT)

    def wait_result(self, policies):
        self.page.wait("the result", lambda: self.page.raw("eviction-result", "data-policies") == ",".join(policies), limit=60)

    def compare(self):
        self.page.click("eviction-compare")
        self.wait_result(self.ticked())

    def ticked(self):
        return [box.removeprefix("policy-") for box in self.page.read('[data-testid="policy-list"] input:checked', "id")]

    def assert_policy(self, simulated, policy):
        for key, (table, column) in MEASURES.items():
            want = row(simulated, table, policy=policy)[column]
            self.assert_close(self.page.value(f"{key}-{policy}"), want, f"{key} of {policy}", relative=1e-4, absolute=1e-6)
        want = row(simulated, "simulate", policy=policy)
        if want["delta_ppl_se"] is None:  # of so few predictions there is none
            self.assertIn(self.page.raw(f"delta-{policy}", "data-se"), ("", None))
        else:
            self.assert_close(
                self.page.value(f"delta-{policy}", "data-se"),
                want["delta_ppl_se"],
                f"standard error of {policy}",
                relative=1e-4,
                absolute=1e-6,
            )
        self.assertIn(f"({100 * want['bound']:.1f} %)", self.page.text(f"recall-{policy}"))

    def test_the_defaults_compare_the_five_policies_below_the_length_of_the_text(self):
        self.assertEqual(self.ticked(), LEGACY)
        self.compare()
        simulated = command("simulate", "--prompt", TEXT, "--budget", "0.25", "--policy", ",".join(LEGACY))
        for policy in LEGACY:
            self.assert_policy(simulated, policy)
        self.assertEqual(self.page.value("eviction-tokens"), simulated["summary"]["tokens"])
        self.assertLess(self.page.value("eviction-budget-tokens"), simulated["summary"]["tokens"])
        self.assertEqual(len({self.page.raw(f"ppl-{policy}") for policy in LEGACY}), 5, "policies differ on the default settings")
        self.assertIn(f"after token {simulated['summary']['tokens'] - 1}", self.page.text("snapshot-step-value"))

    def test_budget_in_tokens_with_sinks_and_a_recent_window(self):
        self.page.choose("eviction-budget-unit", "tokens")
        self.page.enter("eviction-budget", "16")
        self.page.enter("eviction-sinks", "2")
        self.page.enter("eviction-recent", "6")
        for policy in LEGACY:
            self.page.tick(f"policy-{policy}", policy in ("h2o", "streaming_llm"))
        self.compare()
        simulated = command(
            "simulate", "--prompt", TEXT, "--budget", "16", "--sinks", "2", "--recent", "6", "--policy", "streaming_llm,h2o"
        )
        for policy in ("streaming_llm", "h2o"):
            self.assert_policy(simulated, policy)

    def test_one_policy_alone_has_its_two_cards(self):
        self.page.choose("eviction-policy", "tova")
        self.page.enter("eviction-budget", "40")
        self.page.click("eviction-run")
        self.wait_result(["tova"])
        simulated = command("simulate", "--prompt", TEXT, "--budget", "0.4", "--policy", "tova")
        self.assert_policy(simulated, "tova")
        for key, (table, column) in {
            "hits": MEASURES["hits"],
            "misses": MEASURES["misses"],
            "evictions": MEASURES["evictions"],
            "sinks": MEASURES["sinks"],
            "heavy": MEASURES["heavy"],
            "processed": ("simulate_counters", "processed"),
            "hit-rate": ("simulate_counters", "hit_rate"),
            "cached": MEASURES["cached"],
            "bytes": MEASURES["bytes"],
        }.items():
            self.assert_value(f"single-{key}", row(simulated, table, policy="tova")[column])
        cached = row(simulated, "simulate", policy="tova")["final_entries"]
        self.assertEqual(self.page.value("single-blocks"), -(-cached // 16))

    def test_every_policy_can_be_ticked_and_run(self):
        names = [each["name"] for each in self.server.ask("policies")["policies"]]
        boxes = self.page.read('[data-testid="policy-list"] input', "id")
        self.assertEqual(len(boxes), len(names))
        self.page.paste("eviction-text", "The tower was built in 1889 and is the tallest.")
        for half in (boxes[:9], boxes[9:]):
            for box in boxes:
                self.page.tick(box, box in half)
            self.page.click("eviction-compare")
            self.page.wait(
                "all of them",
                lambda half=half: len(self.page.all('[data-testid="eviction-table"] tbody tr')) == len(half)
                and self.page.find(half[0].replace("policy-", "row-").replace("h2o-", "h2o:")),
                limit=60,
            )

    def test_the_timeline_is_what_was_held(self):
        self.compare()
        count = int(self.page.value("eviction-tokens"))
        budget = int(self.page.value("eviction-budget-tokens"))
        self.assertEqual(self.page.value("timeline-full", "data-evicted"), 0)
        most = budget + 1  # the newest key is attended to before one leaves
        for policy in ("window", "streaming_llm"):
            self.assertEqual(self.page.value(f"timeline-{policy}", "data-evicted"), count - most, policy)
        self.page.choose("snapshot-policy", "window")
        gone = '[data-testid="snapshot-tokens"] .chip.gone:not([hidden])'
        for step in (count - 1, budget - 1, budget, 30):
            self.page.slide("snapshot-step", step)
            held = min(step + 1, most)
            self.page.wait(
                f"{held} keys of {step + 1}",
                lambda held=held, step=step: (self.page.value("snapshot-held"), len(self.page.all(gone))) == (held, step + 1 - held),
            )
        self.page.choose("snapshot-policy", "streaming_llm")
        self.page.slide("snapshot-step", count - 1)
        first = '[data-testid="snapshot-tokens"] .chip:nth-child(-n+4)'
        self.page.wait("the first four", lambda: not any("gone" in kind for kind in self.page.read(first, "class")))

    def test_the_line_of_the_sink_ends_in_window_and_goes_on_in_streaming_llm(self):
        self.compare()
        self.page.slide("snapshot-step", 0)  # or the mark of the step would hide the last column
        self.page.wait("the drawings", lambda: self.page.drawn("timeline-full", "sink") > 50)
        at_the_end = {policy: self.page.drawn(f"timeline-{policy}", "sink", part=0.2) for policy in LEGACY}
        self.assertEqual(at_the_end["window"], 0)
        self.assertGreater(self.page.drawn("timeline-window", "sink"), 0)
        self.assertGreater(at_the_end["streaming_llm"], 20)
        self.assertEqual(at_the_end["streaming_llm"], at_the_end["full"])

    def test_the_guide_has_all_policies(self):
        guided = [each.removeprefix("guide-") for each in self.page.read('[data-testid^="guide-"]', "data-testid")]
        self.assertEqual(sorted(guided), sorted(each["name"] for each in self.server.ask("policies")["policies"]))
        self.assertIn("endless chat", self.page.text("best-for-streaming_llm"))

    def test_a_budget_of_less_than_one_percent(self):
        self.page.enter("eviction-budget", "0.45", Keys.ENTER)
        self.wait_result(LEGACY)
        self.assert_value("eviction-budget-tokens", 1)

    def test_control_enter_runs(self):
        self.page.press((Keys.CONTROL, Keys.ENTER), at=self.page.find("eviction-text"))
        self.wait_result(LEGACY)

    def test_enter_runs_from_every_number(self):
        for field, number in (("budget", "50"), ("sinks", "2"), ("recent", "4")):
            self.page.js("document.querySelector('[data-testid=eviction-result]').dataset.policies = ''")
            self.page.enter(f"eviction-{field}", number, Keys.ENTER)
            self.wait_result(LEGACY)
            self.assert_value("eviction-budget-tokens", self.page.value("eviction-tokens") / 2, absolute=1)

    def test_a_budget_that_holds_the_whole_text_evicts_nothing(self):
        self.page.choose("eviction-budget-unit", "tokens")
        self.page.enter("eviction-budget", "1000")
        self.compare()
        for policy in LEGACY:
            self.assertEqual(self.page.value(f"evictions-{policy}"), 0)
            self.assert_value(f"delta-{policy}", 0, absolute=1e-3)
        self.assertIn("nothing had to leave", self.page.text("eviction-finding"))
        self.assertNotIn("begun to evict", self.page.text("eviction-table"))

    def test_mistakes_are_named(self):
        self.expect("status of 4")
        self.page.enter("eviction-budget", "0")
        self.page.click("eviction-compare")
        self.page.wait_text("simulate-error", "Budget")
        self.page.enter("eviction-budget", "25")
        for policy in LEGACY:
            self.page.tick(f"policy-{policy}", False)
        self.page.click("eviction-compare")
        self.page.wait_text("simulate-error", "No policy")
        self.page.tick("policy-h2o", True)
        self.page.paste("eviction-text", "word " * 5000)
        self.page.click("eviction-compare")
        self.page.wait_text("simulate-error", "tokens")
        self.assertTrue(re.search(r"[\d,]{4,} tokens", self.page.text("simulate-error")), "it says how many")
        self.page.paste("eviction-text", "")
        self.page.click("eviction-compare")
        self.page.wait("another error", lambda: not re.search(r"[\d,]{4,} tokens", self.page.text("simulate-error")))

    def start_a_long_run(self):
        sample = self.server.ask("samples")["samples"][0]["text"]
        self.page.paste("eviction-text", sample)
        for box in self.page.read('[data-testid="policy-list"] input', "id")[:16]:
            self.page.tick(box, True)
        self.page.click("eviction-compare")
        self.page.wait("that it runs", lambda: self.server.ask("health")["running"] == 1)

    def test_the_tour_says_what_the_run_has_shown(self):
        self.assertIn("62.", self.story(self.server))
        self.assertIn("most of the damage is gone", self.page.text("tour-eviction"))
        with tempfile.TemporaryDirectory() as parent:
            server = self.serve("--model", str(fixture_with_tokenizer("llama", Path(parent) / "llama"))).wait_ready()
            story = self.story(server, "abcdefghijklmnopqrstuvwxyz" * 2)
            self.assertNotIn("most of the damage is gone", story)
            self.assertIn("it is not the first tokens that are missed most", story)

    def story(self, server, text=None):
        """What step 2 says."""
        self.page.open(server, "eviction", tours=True)
        self.page.wait("the policies", lambda: self.page.all('[data-testid="policy-h2o"]'))
        if text is not None:
            self.page.paste("eviction-text", text)
        self.page.click("tour-eviction-action")
        self.page.wait("step 2", lambda: self.page.value("tour-eviction-step") == 2, limit=60)
        return self.page.text("tour-eviction")

    def test_a_long_run_is_cancelled(self):
        self.start_a_long_run()
        self.assertFalse(self.page.find("eviction-compare").is_enabled())
        self.page.click("simulate-cancel")
        self.page.wait_text("simulate-error", "Cancelled")
        self.page.wait("that it has ended", lambda: self.server.ask("health")["running"] == 0, limit=30)
        self.assertEqual(self.page.raw("eviction-result", "data-policies"), "")
        self.assertTrue(self.page.find("eviction-compare").is_enabled())

    def test_a_run_ends_with_its_model(self):
        self.start_a_long_run()
        self.page.tab("hub")
        self.page.click("unload-model")
        self.page.wait("no model", lambda: self.page.shown("loaded-none"))
        self.page.click("load-model")
        self.page.wait("the model", lambda: self.page.all('[data-testid="loaded-id"]'))
        self.page.tab("eviction")
        self.page.wait_text("simulate-error", "The model changed while this ran; run it again.")
        self.page.wait("that it has ended", lambda: self.server.ask("health")["running"] == 0, limit=30)
        self.assertEqual(self.page.raw("eviction-result", "data-policies"), "")

    def test_the_picture_has_a_point_a_policy(self):
        self.compare()
        simulated = command("simulate", "--prompt", TEXT, "--budget", "0.25", "--policy", ",".join(LEGACY))
        for each in rows(simulated, "simulate"):
            self.assert_close(self.page.value(f"point-{each['policy']}", "data-bytes"), each["resident_bytes"], each["policy"])
            self.assert_close(
                self.page.value(f"point-{each['policy']}", "data-delta"), each["delta_ppl"], each["policy"], relative=1e-4, absolute=1e-6
            )
