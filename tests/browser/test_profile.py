# SPDX-License-Identifier: MIT
"""Cache Profile: bytes, tiers and blocks, with the numbers of kvviz profile."""

import tempfile
from pathlib import Path

import server
from browser import LIMIT
from case import BrowserCase
from models import fixture_with_tokenizer
from selenium.webdriver.common.keys import Keys
from server import command, row, rows

TEXT = "The tower was built in 1889 and is the tallest building in the city, and every year many people come to see it."
TIERS = "HBM:80GB:3.35TB/s,RAM:256GiB:63GB/s,disk:2TB:7GB/s"


class Profile(BrowserCase):
    def setUp(self):
        super().setUp()
        self.page.open(self.server, "profile")
        self.page.wait("a first result", lambda: self.page.shown("profile-cache"))

    def analyze(self, click=True):
        """Until another result has come."""
        self.page.js("document.querySelector('[data-testid=profile-cache]').dataset.old = 'yes'")
        if click:
            self.page.wait("that it may be clicked", lambda: self.page.find("profile-run").is_enabled())
            self.page.click("profile-run")
        self.page.wait(
            "another result",
            lambda: self.page.all('[data-testid="profile-cache"]:not([data-old])') and self.page.find("profile-run").is_enabled(),
        )

    def assert_profile(self, profiled, tiers):
        facts = profiled["summary"]
        self.assert_value("profile-cache", facts["cache_bytes"])
        self.assert_value("profile-per-token", facts["bytes_per_token"])
        self.assert_value("profile-per-token-layer", facts["bytes_per_token_layer"])
        self.assert_value("breakdown-keys", facts["cache_bytes"] / 2)
        self.assert_value("breakdown-values", facts["cache_bytes"] / 2)
        self.assert_value("context-now", facts["tokens"])
        self.assert_value("context-max", facts["context"])
        for layer in rows(profiled, "cache_layers"):
            self.assert_value(f"layer-bytes-{layer['layer']}", layer["bytes"])
        for i, tier in enumerate(tiers):
            want = row(profiled, "placement", placement="age", tier=tier)
            self.assert_value(f"tier-{i}-blocks", want["blocks"])
            self.assert_value(f"tier-{i}-bytes", want["bytes"])
            self.assert_value(f"tier-{i}-seconds", want["bytes"] / want["bytes_per_second"], absolute=1e-15)

    def test_the_defaults_are_counted_at_once(self):
        profiled = command("profile", "--tokens", "512", "--weights", "f16", "--tier", TIERS)
        self.assert_profile(profiled, ["HBM", "RAM", "disk"])
        info = command("models", "info", "demo")["summary"]
        self.assert_value("profile-weights-bytes", info["weights_bytes"])
        self.assert_value("profile-share", profiled["summary"]["cache_bytes"] / info["weights_bytes"])
        total = sum(self.page.value(f"breakdown-{part}") for part in ("keys", "values", "weights", "activations"))
        self.assert_value("breakdown-total", total)

    def test_other_sizes_and_types(self):
        for tokens, dtype, batch, block in ((1000, "int4", 2, 32), (64, "f32", 1, 16), (131072, "f8", 1, 16)):
            self.page.choose("profile-dtype", dtype)
            self.page.enter("profile-batch", str(batch))
            self.page.enter("profile-block", str(block))
            self.page.enter("profile-tokens", str(tokens))
            self.analyze()
            self.page.wait("its size", lambda tokens=tokens: self.page.value("context-now") == tokens)
            profiled = command(
                "profile",
                "--tokens",
                str(tokens),
                "--dtype",
                dtype,
                "--batch",
                str(batch),
                "--block",
                str(block),
                "--weights",
                "f16",
                "--tier",
                TIERS,
            )
            self.page.wait("its type", lambda: abs(self.page.value("profile-cache") - profiled["summary"]["cache_bytes"]) < 1)
            self.assert_profile(profiled, ["HBM", "RAM", "disk"])
            self.assertEqual(self.page.shown("context-over"), tokens > 1024)

    def test_enter_submits(self):
        self.page.enter("profile-tokens", "777", Keys.ENTER)
        self.page.wait("777 tokens", lambda: self.page.value("context-now") == 777)

    def test_the_cursor_goes_back_only_if_a_run_was_asked_for(self):
        self.page.enter("profile-tokens", "10", Keys.TAB)
        self.page.wait_text("profile-error", "Tokens: got 10")
        self.assertEqual(self.page.focused(), "profile-dtype")
        self.page.click("profile-run")
        self.page.wait("the cursor", lambda: self.page.focused() == "profile-tokens")

    def test_small_tiers_are_filled_by_capacity(self):
        self.page.choose("profile-preset", "example")
        self.analyze(click=False)
        self.page.wait("blocks in every tier", lambda: all(self.page.value(f"tier-{i}-blocks") > 0 for i in range(3)))
        given = ",".join(
            ":".join(self.page.raw(f"tier-{i}-{part}", "value") for part in ("name", "capacity", "bandwidth")) for i in range(3)
        )
        self.assert_profile(command("profile", "--tokens", "512", "--tier", given), ["HBM", "RAM", "disk"])
        self.assertEqual(sum(self.page.value(f"tier-{i}-blocks") for i in range(3)), 128)

    def test_the_example_takes_the_weights_out_and_another_machine_puts_them_back(self):
        weights = self.page.find("profile-weights")
        for ticked in (True, False):
            self.page.tick("profile-weights", ticked)
            self.page.choose("profile-preset", "example")
            self.assertFalse(weights.is_selected())
            self.page.choose("profile-preset", "desktop")
            self.assertEqual(weights.is_selected(), ticked)

    def test_the_map_has_the_colours_of_the_tiers(self):
        self.page.wait("the first tier alone", lambda: self.page.drawn("block-map", "tier-0") > 1000)
        self.assertEqual(self.page.drawn("block-map", "tier-1") + self.page.drawn("block-map", "tier-2"), 0)
        self.page.choose("profile-preset", "example")
        self.page.wait("all three", lambda: all(self.page.drawn("block-map", f"tier-{i}") > 500 for i in range(3)))
        shares = [self.page.value(f"tier-{i}-blocks") / 128 for i in range(3)]
        areas = [self.page.drawn("block-map", f"tier-{i}") for i in range(3)]
        for share, area in zip(shares, areas):
            self.assertAlmostEqual(area / sum(areas), share, delta=0.02)

    def test_a_tier_of_ones_own(self):
        self.page.tick("profile-weights", False)  # for they would not fit
        self.page.enter("tier-0-capacity", "100KiB")
        self.page.enter("tier-0-name", "fast")
        self.analyze()
        self.page.wait("the tier", lambda: "fast" in self.page.text("tier-row-0") and self.page.value("tier-0-capacity-bytes") == 102400)
        self.assertEqual(self.page.raw("profile-preset", "value"), "own")
        self.assert_profile(
            command("profile", "--tokens", "512", "--tier", "fast:100KiB:3.35TB/s,RAM:256GiB:63GB/s,disk:2TB:7GB/s"),
            ["fast", "RAM", "disk"],
        )

    def test_growth_is_that_of_the_projection(self):
        profiled = command("profile", "--tokens", "512", "--weights", "f16", "--tier", TIERS)
        self.assertEqual(len(self.page.all('[data-testid="scaling"] tbody tr')), 2, "512 and 1,024 are within the context")
        for tokens in (512, 1024):
            self.assert_value(f"scaling-cache-{tokens}", row(profiled, "projection", tokens=tokens)["bytes"])
            self.assertGreater(self.page.value(f"scaling-total-{tokens}"), self.page.value(f"scaling-cache-{tokens}"))

    def test_with_a_text_blocks_have_what_was_measured(self):
        self.page.choose("profile-preset", "example")
        self.analyze(click=False)
        self.page.enter("profile-text", TEXT, (Keys.CONTROL, Keys.ENTER))
        self.page.wait("the measured blocks", lambda: "hitter" in self.page.find("panel-profile").text)
        measured = reads_and_attention(TEXT)
        self.assertEqual(self.page.value("context-now"), measured["tokens"])
        layers, blocks = measured["reads"].shape
        self.page.press(Keys.ARROW_DOWN, at=self.page.find("block-map"))
        for layer in range(layers):
            for block in range(blocks):
                self.page.wait(
                    f"layer {layer}, block {block}",
                    lambda layer=layer, block=block: self.page.text("block-details").startswith(f"Layer {layer}, block {block} "),
                )
                details = self.page.text("block-details")
                self.assertIn(f"in demand at a step: {measured['reads'][layer, block]:.2f} of ", details)
                self.assertIn(f"Attention a step: {measured['attention'][layer, block]:.4f}", details)
                self.assertRegex(details, r"Status: (Normal|Heavy hitter|Attention sink)")
                if block == 0:
                    self.assertIn("Status: Attention sink" if self.sinks_of(layer) else "Status:", details)
                self.page.press(*([Keys.ARROW_RIGHT] if block + 1 < blocks else [Keys.ARROW_DOWN] + [Keys.ARROW_LEFT] * block))

    def sinks_of(self, layer):
        return self.server.matrices("attention/layers", {"text": TEXT, "bins": 8})["layers"][layer]["sinks"]

    def test_the_pointer_shows_a_block(self):
        self.page.hover("block-map", 60, 10)
        self.page.wait("the tip", lambda: self.page.shown("block-tooltip"))
        tip = self.page.text("block-tooltip")
        self.assertIn("Layer 0, block 0", tip)
        self.assertIn("Tokens 0–15", tip)
        self.assertIn("Tier: HBM", tip)
        self.assertIn("Size: 4 KiB", tip)

    def test_a_block_has_the_size_of_what_its_layer_holds(self):
        """Of a token each layer takes 2 x 2 heads x 12 numbers x 2 bytes; layer 0 holds the last 6, layer 1 all."""
        with tempfile.TemporaryDirectory() as parent:
            server = self.serve("--model", str(fixture_with_tokenizer("gemma2", Path(parent) / "gemma2"))).wait_ready()
            self.page.open(server, "profile")
            self.page.enter("profile-tokens", "120", Keys.ENTER)
            self.page.wait("120 tokens", lambda: self.page.value("context-now") == 120)
            self.page.press(Keys.ARROW_DOWN, at=self.page.find("block-map"))
            self.assertRegex(self.page.text("block-details"), "nothing is held .* Size: 0 B")
            self.page.press(*[Keys.ARROW_RIGHT] * 7)
            self.assertIn("Tokens 112–119 · Tier: HBM · Size: 576 B", self.page.text("block-details"))
            self.page.press(Keys.ARROW_DOWN)
            self.assertIn("Size: 768 B", self.page.text("block-details"))
            self.page.press(*[Keys.ARROW_LEFT] * 7)
            self.assertIn("Tokens 0–15 · Tier: HBM · Size: 1.50 KiB", self.page.text("block-details"))

    def test_mistakes_are_named(self):
        self.expect("status of 4")
        self.page.enter("tier-0-capacity", "much")
        self.page.click("profile-run")
        self.page.wait_text("profile-error", "much")
        self.page.choose("profile-preset", "h100")
        self.page.wait("no error", lambda: not self.page.shown("profile-error"))
        self.page.enter("profile-tokens", "5", Keys.ENTER)
        self.page.wait_text("profile-error", "Tokens: got 5")
        self.page.enter("profile-tokens", "512")
        self.page.paste("profile-text", "word " * 5000)
        self.page.click("profile-run")
        self.page.wait_text("profile-error", "tokens", limit=LIMIT)


def reads_and_attention(text):
    """How often the blocks were read, as `kvviz profile --access` has it of a run of `kvviz simulate`."""
    import subprocess
    import h5py

    with tempfile.TemporaryDirectory() as folder:

        def run(*arguments):
            subprocess.run(
                [server.KVVIZ, *arguments, "--no-plots", "--quiet", "--out", folder],
                cwd=folder,
                env=server.environment(folder),
                check=True,
                capture_output=True,
                timeout=60,
            )

        run("simulate", "--prompt", text, "--policy", "full")
        run("profile", "--access", f"{folder}/results/simulate.h5")
        with h5py.File(Path(folder) / "results/profile.h5") as file:
            blocks = {"reads": file["profile/block_reads"][()], "attention": file["profile/block_attention"][()]}
    return {**blocks, "tokens": int(command("analyze", "--prompt", text, "--focus", "tokens")["summary"]["tokens"])}
