// SPDX-License-Identifier: MIT
// Quick attention test: one text, any layer, any head.
import {matrices} from "./api.js";
import {fact} from "./bars.js";
import {Chips} from "./chips.js";
import {button, field, numberInput, readNumber, select, setChoices, textInput} from "./controls.js";
import {el, fill, number} from "./dom.js";
import {count, fixed, nats, percent} from "./format.js";
import {term} from "./glossary.js";
import {HeatMap} from "./heatmap.js";
import {Job, restWhile} from "./job.js";
import {PooledMatrix} from "./matrix.js";
import {events, state} from "./state.js";

const TEXT = "The transformer architecture has revolutionized AI.";

/** The numbers of the head at `index` of what /api/attention answered. */
function facts(answer, index) {
  const {entropy, sink_mass: sink, distance} = answer.statistics;
  const head = answer.heads[index];
  const line = (key, label, raw, text) => fact(label, number(`test-${key}`, raw, text));
  return [
    line("layer-shown", "Layer", answer.layer, `${answer.layer} (0 to ${state.model.layers - 1})`),
    line("head-shown", "Head", head, head === "mean" ? "mean over all heads" : String(head)),
    line("tokens-shown", "Tokens", answer.tokens.length, count(answer.tokens.length)),
    line("heads-shown", "Heads computed", answer.heads.length, head === "mean" ? "all" : count(answer.heads.length)),
    line("sink-mass", "Attention on the first token", sink[index], percent(sink[index])),
    line("entropy", term("entropy"), entropy[index], nats(entropy[index], 3)),
    line("distance", "Mean distance", distance[index], `${fixed(distance[index], 1)} tokens`)
  ];
}

/** Where a test's answer is shown, one head at a time. */
class TestResult {
  #map = new HeatMap({id: "test-map", name: "Attention of the quick test", maxSize: () => 420});
  #chips = new Chips("test-tokens", "Tokens of the text");
  #facts = el("dl", {class: "facts", testid: "test-facts"});
  #shown = select("test-shown", [["0", "Head 0"]], "0", () => this.#draw());
  #pick = field("Head shown", this.#shown);
  #answer = null;

  constructor() {
    this.node = el(
      "div", {class: "split", testid: "test-result", hidden: true},
      el("div", {}, this.#pick, this.#facts, el("h3", {}, "Tokens"), this.#chips.node), this.#map.node);
  }

  show(answer) {
    this.#answer = answer;
    const {heads, statistics} = answer;
    const name = (head, i) =>
      head === "mean" ? "Mean" : `Head ${head}: ${percent(statistics.sink_mass[i], 0)} on the first token`;
    setChoices(this.#shown, heads.map((head, i) => [i, name(head, i)]));
    this.#pick.hidden = heads.length === 1;
    this.node.hidden = false;
    this.#chips.show(answer.tokens.map(text => ({text})));
    this.#draw();
  }

  #draw() {
    const {arrays, tokens} = this.#answer;
    const {data, shape} = arrays.attention;
    const index = Number(this.#shown.value);
    const size = shape[1] * shape[2];
    this.#map.show(new PooledMatrix(data.subarray(index * size, (index + 1) * size), shape[1], tokens.length), tokens);
    fill(this.#facts, facts(this.#answer, index));
  }
}

export function quickTest() {
  const result = new TestResult();
  const testing = new Job("test");
  const run = () => testing.run("computing attention", async (signal, onProgress) => {
    const heads = which.value === "one" ? readNumber(head, "Head") : which.value;
    const wish = {text: text.value, layer: readNumber(layer, "Layer"), heads};
    result.show(await matrices("attention", wish, {signal, onProgress}));
  });

  const text = textInput("test-text", TEXT, {onEnter: run, spellcheck: "true"});
  const layer = numberInput("test-layer", "-1", {step: 1, onEnter: run});
  const head = numberInput("test-head", "0", {step: 1, min: 0, onEnter: run});
  const headField = field("Head number", head);
  headField.hidden = true;
  const which =
    select("test-heads", [["all", "All heads"], ["mean", "Mean over heads"], ["one", "One head"]], "all", () => {
      headField.hidden = which.value !== "one";
    });
  const go = button("test-run", "Run", run, "primary");
  restWhile(testing, go);

  const body = el(
    "div", {class: "card", testid: "quick-test"}, el("h2", {}, "Quick attention test"),
    el(
      "p", {}, "Each row of the map is one ", term("query", "query"), ", each column one ", term("key", "key"),
      ". A column that stands out is a token that many later tokens look at."),
    el(
      "div", {class: "row"}, field("Text", text, null, "wide"), field("Layer (−1: the last)", layer),
      field("Heads", which), headField, el("div", {class: "bottom-field"}, go)),
    testing.node, result.node);

  const cover = () => {
    const {model} = state;
    body.hidden = model === null;
    result.node.hidden = true;
    if (model === null) return;
    layer.min = -model.layers;
    layer.max = model.layers - 1;
    head.max = model.query_heads - 1;
  };
  events.addEventListener("model", cover);
  cover();
  return body;
}
