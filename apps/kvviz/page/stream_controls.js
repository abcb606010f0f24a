// SPDX-License-Identifier: MIT
// What a reader of Live Stream sets: the text, the layer and head that are shown, thresholds, and what the model
// writes.
import {field, numberInput, readNumber, select, setChoices, slider} from "./controls.js";
import {el} from "./dom.js";
import {count, percent} from "./format.js";
import {term} from "./glossary.js";
import {state} from "./state.js";
import {textBox} from "./text_box.js";

const TEXT =
  "The transformer architecture has revolutionized natural language processing by letting every token attend to every earlier token, so that the meaning of a word can depend on all the words before it, however far away they are.";
const MOST_TOKENS = 1024;
const WRITTEN = "Tokens to write";

export class StreamControls {
  /** Whether the reader has chosen what is shown, or had it looked for. */
  chosen = false;

  /**
   * `onChange(read)` when something was set that acts at once: `read()` returns its fields, or throws. `onScale` gets
   * the name of a scale, `onSubmit` is Enter where something counts for a stream that begins, Ctrl-Enter in the text.
   */
  constructor({onChange, onScale, onSubmit}) {
    const sends = name => value => onChange(() => ({[name]: value}));
    this.text = textBox(
      "stream-text", "Text that the model reads",
      {text: TEXT, rows: 6, onSubmit, limit: () => Math.min(MOST_TOKENS, state.model?.context ?? MOST_TOKENS)});
    this.why = el("p", {class: "hint", testid: "stream-layer-why"});
    const look = () => {
      this.chosen = true;
      this.why.textContent = "";
      onChange(() => this.view);
    };
    this.layer = select("stream-layer", [["0", "0"]], "0", look);
    this.head = select("stream-head", [["mean", "Mean"]], "mean", look);
    this.interval = slider(
      "stream-interval", "Time between two steps",
      {min: 50, max: 1000, step: 10, value: 200, format: x => `${count(x)} ms`, onInput: sends("interval_ms")});
    const share = {min: 0, max: 1, step: 0.01, format: x => percent(x, 0)};
    this.sink = slider(
      "stream-sink-threshold", [term("sink", "Sink"), " threshold"],
      {...share, value: 0.1, onInput: sends("sink_threshold")});
    this.heavy = slider(
      "stream-heavy-threshold", [term("heavy", "Heavy"), " threshold"],
      {...share, value: 0.05, onInput: sends("heavy_threshold")});
    this.generate = numberInput("stream-generate", "64", {min: 0, max: 1024, step: 1});
    this.generate.addEventListener(
      "change", () => onChange(() => ({generate: readNumber(this.generate, WRITTEN, 0, {focus: false})})));
    this.temperature = numberInput("stream-temperature", "0", {min: 0, max: 5, step: 0.1, onEnter: onSubmit});
    this.seed = numberInput("stream-seed", "1", {min: 0, step: 1, onEnter: onSubmit});
    this.scale =
      select("stream-scale", [["root", "Square root"], ["linear", "Linear"]], "root", () => onScale(this.scale.value));
  }

  /** The layer and head that are shown. */
  get view() {
    return {layer: Number(this.layer.value), head: this.head.value === "mean" ? "mean" : Number(this.head.value)};
  }

  /** What a stream is told. `fresh`: with what counts only for one that begins. */
  settings({fresh}) {
    const live = {
      ...this.view,
      interval_ms: this.interval.value,
      sink_threshold: this.sink.value,
      heavy_threshold: this.heavy.value,
      generate: readNumber(this.generate, WRITTEN, 0),
    };
    if (!fresh) return live;
    return {
      ...live,
      text: this.text.value,
      temperature: readNumber(this.temperature, "Temperature", 0),
      seed: readNumber(this.seed, "Seed", 1),
    };
  }

  /** Shows another layer and head, and says why. */
  look({layer, head = this.head.value}, reason) {
    this.layer.value = String(layer);
    this.head.value = String(head);
    this.why.textContent = reason;
  }

  /** The layers and heads of a model, the mean of the last layer first. */
  fit({layers, query_heads: heads}) {
    const last = layers - 1;
    setChoices(this.layer, Array.from({length: layers}, (_, i) => [i, i === last ? `${i} (the last)` : String(i)]));
    setChoices(this.head, [["mean", "Mean"], ...Array.from({length: heads}, (_, i) => [i, `Head ${i}`])]);
    this.look({layer: last, head: "mean"}, "");
    this.chosen = false;
  }

  /** The layer and the head, side by side. */
  viewRow() { return el("div", {class: "row"}, field(term("layer"), this.layer), field(term("head"), this.head)); }

  /** What is set less often. */
  moreCard() {
    return el(
      "div", {class: "card board-thresholds"}, el("h2", {}, "What counts, and what comes after the text"),
      el(
        "div", {class: "row"}, this.sink.node, this.heavy.node,
        field("Colours", this.scale, "square root: weak weights show"), field(WRITTEN, this.generate, "after the text"),
        field("Temperature", this.temperature, "0: the likeliest"),
        field("Seed", this.seed, "of the draws, if the temperature is above 0")),
      el(
        "p", {class: "hint"},
        "Thresholds, colours and the tokens to write change at once; temperature and seed with Start or Reset."));
  }
}
