# SPDX-License-Identifier: MIT
"""Architecture: facts, cache sizes, projections, layers and their attention."""

from case import BrowserCase
from selenium.webdriver.common.keys import Keys
from server import command, row, rows

TEXT = "The tower was built in 1889 and is the tallest in the city."
# What matrices() of api.js makes of these bytes, which arrive in pieces.
READ = """
  const message = header => {
    const text = JSON.stringify({arrays: [], ...header});
    const bytes = new TextEncoder().encode(text.padEnd(Math.ceil((8 + text.length) / 8) * 8 - 8));
    return [...new TextEncoder().encode("KVM1"), bytes.length, 0, 0, 0, ...bytes];
  };
  const bytes = [%s].flat(), piece = %d;
  const body = new ReadableStream({start(to) {
    for (let i = 0; i < bytes.length; i += piece) to.enqueue(new Uint8Array(bytes.slice(i, i + piece)));
    to.close();
  }});
  return (async () => {
    const {matrices} = await import("/api.js");
    const {fetch} = window;
    const told = [];
    window.fetch = async () => new Response(body);
    try {
      const got = await matrices("attention", {}, {onProgress: progress => told.push(progress.done)});
      return [told, got.name, [...got.arrays.a.data], got.arrays.a.shape];
    } catch (error) {
      return [told, error.message, error.status];
    } finally {
      window.fetch = fetch;
    }
  })();"""
CACHE_TYPES = ["f32", "f16", "bf16", "f8", "int8", "int4", "int2"]


class Architecture(BrowserCase):
    def setUp(self):
        super().setUp()
        self.page.open(self.server, "architecture")
        self.page.wait("the facts", lambda: self.page.shown("fact-layers"))
        self.info = command("models", "info", "demo", "--lengths", "512,1024,2048")

    def test_the_facts_are_those_of_models_info(self):
        depends_on_the_machine = {"free_bytes"}
        for key, value in self.info["summary"].items():
            if key in depends_on_the_machine:
                continue
            shown = self.page.raw(f"fact-{key}")
            if isinstance(value, str):
                self.assertEqual(shown, value, key)
            else:
                self.assert_close(float(shown), value, key)
        self.assertEqual(self.page.raw("architecture-attention"), "GQA")

    def test_the_cache_cards_follow_from_the_geometry(self):
        facts = self.info["summary"]
        per_token = 2 * facts["layers"] * facts["kv_heads"] * facts["head_dim"] * 2
        self.assertEqual(per_token, facts["bytes_per_token"])
        self.assert_value("kv-bytes-per-token", per_token)
        self.assert_value("kv-bytes-2048", 2048 * per_token)
        self.assert_value("kv-weights", facts["weights_bytes"])
        self.assert_value("kv-share", 2048 * per_token / facts["weights_bytes"])
        self.assert_value("kv-longest", facts["context"])
        self.assertTrue(self.page.shown("kv-warning"), "the cache is nearly as large as the weights")

    def test_lengths_are_those_of_models_info_in_every_type(self):
        for dtype in CACHE_TYPES:
            self.page.choose("length-dtype", dtype)
            for tokens in (512, 1024):
                self.assert_value(f"length-{tokens}", row(self.info, "projection_dtypes", tokens=tokens, dtype=dtype)["bytes"])
        self.assertEqual(len(self.page.all('[data-testid="length-bars"] .bar-value')), 2, "up to the context")

    def test_the_projections_are_those_of_models_info(self):
        shown = self.page.read('[data-testid="architecture-projections"] .bar-value', "data-value")
        self.assertEqual([int(each) for each in shown], [each["parameters"] for each in rows(self.info, "projections")])

    def test_layers_as_a_stack_a_grid_and_in_detail(self):
        for view in ("stack", "grid", "detailed"):
            self.page.choose("layer-view", view)
            names = self.page.read('[data-testid="layer-tower"] button', "aria-label")
            self.assertEqual(names, [f"Layer {layer}" for layer in range(4)], view)
        self.assertIn("cache: 128 numbers a token", self.page.text("layer-0"))
        self.page.click("layer-2")
        self.page.wait("layer 2", lambda: self.page.value("selected-layer-name") == 2)
        self.assertEqual(
            (self.page.value("selected-query-heads"), self.page.value("selected-kv-heads"), self.page.value("selected-head-dim")),
            (8, 4, 16),
        )
        self.assert_value("selected-bytes", 256)

    def test_progress_is_told_layer_by_layer(self):
        self.page.js(
            """window.told = [];
            const text = document.querySelector('[data-testid="layers-job-progress-text"]');
            new MutationObserver(() => told.push(text.textContent))
              .observe(text, {childList: true, characterData: true, subtree: true});"""
        )
        self.page.enter("layers-text", TEXT)
        self.page.click("layers-run")
        self.page.wait("the maps", lambda: len(self.page.all('[data-testid="layer-maps"] .mini')) == 4)
        told = [text for text in self.page.js("return told") if text.startswith("reading the text, layer by layer:")]
        self.assertEqual(told, [f"reading the text, layer by layer: {n} of 4 ({25 * n} %)" for n in range(1, 5)])

    def test_matrices_in_pieces_and_what_goes_wrong_on_the_way(self):
        progress = 'message({progress: {what: "x", done: 1, total: 2}})'
        array = '{name: "a", dtype: "uint8", shape: [1, 3]}'
        maps = f'message({{name: "maps", arrays: [{array}]}}), [7, 8, 9, 0, 0, 0, 0, 0]'
        late = 'message({error: {code: "too_many", message: "later", status: 429}})'
        for piece in (1, 7, 1000):
            read = lambda *messages, piece=piece: self.page.js(READ % (", ".join(messages), piece))
            self.assertEqual(read(progress, maps), [[1], "maps", [7, 8, 9], [1, 3]])
            self.assertEqual(read(progress, late), [[1], "later", 429])
            told, error, _ = read(progress, "[75]")
            self.assertEqual(told, [1])
            self.assertIn("broke before it was done", error)

    def test_the_heads_of_any_layer_are_those_of_analyze(self):
        self.page.enter("layers-text", TEXT)
        analyzed = command("analyze", "--prompt", TEXT, "--focus", "attention,tokens")
        for layer in (3, 0):
            self.page.click(f"layer-{layer}")
            self.page.wait(
                f"layer {layer}",
                lambda layer=layer: self.page.value("selected-layer-name") == layer
                and len(self.page.all('[data-testid="selected-layer-heads"] .mini')) == 8,
            )
            for head in range(8):
                self.assert_close(
                    self.page.value(f"selected-head-{head}", "data-sink"),
                    row(analyzed, "attention_heads", layer=layer, head=head)["sink_mass"],
                    f"layer {layer}, head {head}",
                )

    def test_all_layers_are_those_of_analyze(self):
        analyzed = command("analyze", "--prompt", TEXT, "--focus", "attention,tokens")
        self.page.enter("layers-text", TEXT, (Keys.CONTROL, Keys.ENTER))
        self.page.wait("the maps", lambda: self.page.all('[data-testid="layer-map-3"]'))
        layers = rows(analyzed, "attention_layers")
        for layer in layers:
            testid = f"layer-map-{layer['layer']}"
            self.assert_close(self.page.value(testid, "data-entropy"), layer["entropy"], testid)
            self.assert_close(self.page.value(testid, "data-first"), layer["first_mass"], testid)
        for testid, measure in (("layers-entropy", "entropy"), ("layers-first", "first_mass"), ("layers-small", "small_share")):
            self.assert_value(testid, sum(layer[measure] for layer in layers) / len(layers))
        most = max(layers, key=lambda layer: layer["first_mass"])["layer"]
        self.assertIn(f"layer {most} rests most", self.page.find("panel-architecture").text)

    def test_a_map_is_enlarged_and_leads_to_its_layer(self):
        self.page.click("layers-run")
        self.page.wait("the maps", lambda: self.page.all('[data-testid="layer-map-1"]'))
        self.page.click("layer-map-1")
        self.assertTrue(self.page.shown("enlarged"))
        self.assertIn("Layer 1", self.page.text("enlarged-name"))
        self.page.press(Keys.ESCAPE)
        self.page.wait("the page without it", lambda: not self.page.shown("enlarged"))
        self.page.click("layer-map-1")
        self.page.click("enlarged-choose")
        self.page.wait("layer 1", lambda: self.page.value("selected-layer-name") == 1)

    def test_a_text_that_is_too_long_is_an_error_on_the_page(self):
        self.expect("status of 4")
        self.page.paste("layers-text", "word " * 2000)
        self.page.click("layers-run")
        self.page.wait_text("layers-job-error", "tokens")
