// SPDX-License-Identifier: MIT
// What a live stream has told: heat map, sentences, numbers, tokens and their losses.
import {figureCard} from "./bars.js";
import {Chips} from "./chips.js";
import {el, setNumber} from "./dom.js";
import {finding, lastStep} from "./findings.js";
import {count, duration, nats, percent} from "./format.js";
import {term} from "./glossary.js";
import {HeatMap} from "./heatmap.js";
import {LossChart, meanLoss} from "./loss_chart.js";
import {events} from "./state.js";

const legend = (...more) => el(
  "p", {class: "key-line"}, el("span", {class: "legend-sink"}, "attention sink"),
  el("span", {class: "legend-heavy"}, "heavy hitter"), more);

const LEAST = 320;
const AROUND = 362;  // what stands above and below the map in a window: header, heading, words, axis, legend

/** Four cards: `map`, `say`, `text`, `loss`. */
export class StreamView {
  #map = new HeatMap({
    id: "stream-map",
    name: "Attention so far: rows are queries, columns are keys. Arrow keys move through the cells.",
    maxSize: () => Math.max(LEAST, innerHeight - AROUND),
  });
  #chips = new Chips("stream-tokens", "Tokens so far");
  #losses = new LossChart("stream-losses");
  #finding = el("p", {class: "finding plain", testid: "stream-finding"});
  #step = el("p", {class: "hint", testid: "stream-step-text"});
  #figures = el(
    "div", {class: "figures", testid: "stream-statistics"}, figureCard("stream-length", "Tokens so far", 0, "0"),
    figureCard("stream-sinks", term("sink", "Sinks"), 0, "0", "is-sink"),
    figureCard("stream-heavy", term("heavy", "Heavy hitters"), 0, "0", "is-heavy"),
    figureCard("stream-first", "First token gets, on average", null, "–", "is-sink"),
    figureCard("stream-loss-read", [term("loss", "Loss"), " of read tokens"], null, "–"),
    figureCard("stream-loss-written", [term("loss", "Loss"), " of written tokens"], null, "–"),
    figureCard("stream-step-ms", "Time of a step", null, "–"));
  #shown = {tokens: null, count: 0};

  constructor() {
    this.map = el(
      "div", {class: "card board-map"}, el("h2", {}, "Attention so far"),
      el(
        "p", {}, "A row is one token's ", term("query", "query"), ", a column one token's ", term("key", "key"),
        "; the colour is the ", term("attention", "attention weight"),
        ". Look for a column that stands out all the way down."),
      this.#map.node, legend());
    this.say =
      el("div", {class: "card board-say"}, el("h2", {}, "What you see"), this.#finding, this.#step, this.#figures);
    this.text = el(
      "div", {class: "card"}, el("h2", {}, "Tokens"),
      legend(el("span", {class: "legend-generated"}, "written by the model")), this.#chips.node);
    this.loss = el(
      "div", {class: "card"}, el("h2", {}, "Surprise: the ", term("loss", "loss"), " of each token"),
      el("p", {class: "hint"}, "Blue: read from your text. Orange: written by the model, which takes what it expects."),
      this.#losses.node);
    events.addEventListener("theme", () => this.#losses.draw());
  }

  /** `scale` as in colours.js. */
  rescale(scale) {
    this.#map.scale = scale;
    this.#map.draw();
  }

  /** `info` says which layer and head `session` is about. */
  show(session, info) {
    const {matrix, tokens, marks, stepMs} = session;
    this.#map.show(matrix, tokens.map(token => token.text), marks);
    this.#showTokens(tokens, marks);
    this.#losses.show(tokens);
    const [read, written] =
      [false, true].map(generated => meanLoss(tokens.filter(token => token.generated === generated)));
    const first = matrix.count > 0 ? matrix.mean(0) : null;
    this.#number("stream-length", tokens.length, count(tokens.length));
    this.#number("stream-sinks", marks.sinks.length, count(marks.sinks.length));
    this.#number("stream-heavy", marks.heavy.length, count(marks.heavy.length));
    this.#number("stream-first", first, percent(first));
    this.#number("stream-loss-read", read, nats(read));
    this.#number("stream-loss-written", written, nats(written));
    this.#number("stream-step-ms", stepMs, duration(stepMs === null ? null : stepMs / 1000));
    const found = finding({matrix, tokens, marks, info});
    this.#finding.textContent = found.text;
    this.#finding.classList.toggle("plain", !found.sink);
    this.#step.textContent = lastStep({matrix, tokens, info});
  }

  #showTokens(tokens, marks) {
    const more = this.#shown.tokens === tokens;
    if (!more) this.#chips.clear();
    for (const token of tokens.slice(more ? this.#shown.count : 0)) this.#chips.push(token);
    this.#shown = {tokens, count: tokens.length};
    this.#chips.mark(marks);
  }

  #number(testid, raw, text) { setNumber(this.#figures.querySelector(`[data-testid="${testid}"]`), raw, text); }
}
