// SPDX-License-Identifier: MIT
// What a reader of Cache Profile sets: length or text, how keys and values are stored, and the memories.
import {button, checkbox, field, numberInput, readNumber, select} from "./controls.js";
import {el} from "./dom.js";
import {term} from "./glossary.js";
import {restWhile} from "./job.js";
import {state} from "./state.js";
import {textBox} from "./text_box.js";
import {tierEditor} from "./tier_editor.js";

const DTYPES = [
  ["f32", "f32: 4 bytes"], ["f16", "f16: 2 bytes"], ["bf16", "bf16: 2 bytes"], ["f8", "f8: 1 byte"],
  ["int8", "int8 with scales"], ["int4", "int4 with scales"], ["int2", "int2 with scales"]
];
const MOST_READ = 4096;  // tokens of a text
const COLUMNS = 256;

export class ProfileControls {
  #typed = "512";  // the number of tokens while there is no text
  #unticked = false;  // the weights, by the example, which has no room for them

  /**
   * `analyze()` runs at once, `soon()` when nothing has been changed for a moment; `work` is the job in which it does.
   */
  constructor(work, {analyze, soon}) {
    const size = (id, value, most, least = 1) =>
      numberInput(id, value, {min: least, max: most, step: 1, onEnter: analyze});
    this.tokens = size("profile-tokens", this.#typed, 131072, 64);
    this.tokens.addEventListener("change", soon);
    this.dtype = select("profile-dtype", DTYPES, "f16", soon);
    this.batch = size("profile-batch", "1", 4096);
    this.block = size("profile-block", "16", 4096);
    this.weights = checkbox("profile-weights", "The weights lie in the fastest tier too", true, () => {
      this.#unticked = false;
      soon();
    });
    this.tiers = tierEditor({onChange: soon, onPreset: () => this.#fitWeights()});
    this.text = textBox("profile-text", "Text (optional): measures how often each block is needed", {
      text: "",
      rows: 3,
      onSubmit: analyze,
      limit: () => Math.min(MOST_READ, state.model?.context ?? MOST_READ),
      onCount: tokens => this.#showTokens(tokens),
      empty: "Empty: sizes alone, for the number of tokens above"
    });
    this.node = this.#cards(work, analyze);
  }

  /** The example takes the tick away, and another machine gives it back. */
  #fitWeights() {
    const {input} = this.weights;
    if (!this.tiers.example) {
      input.checked ||= this.#unticked;
    } else if (input.checked) {
      input.checked = false;
      this.#unticked = true;
    }
  }

  /** A text sets its own number of tokens. */
  #showTokens(tokens) {
    if (!this.tokens.disabled) this.#typed = this.tokens.value;
    this.tokens.disabled = tokens > 0;
    this.tokens.value = tokens > 0 ? tokens : this.#typed;
  }

  #cards(work, analyze) {
    const go = button("profile-run", "Analyze", analyze, "primary");
    restWhile(work, go);
    const what = el(
      "div", {class: "card"}, el("h2", {}, "What to count"),
      el(
        "div", {class: "row"}, field("Tokens", this.tokens, "64 to 131,072; a text sets its own"),
        field("Keys and values as", this.dtype)),
      el(
        "div", {class: "row"}, field("Sequences", this.batch, "of this length"),
        field(["Tokens of a ", term("block", "block")], this.block)),
      this.text.node, el("div", {class: "actions"}, go), work.node);
    const memories = el(
      "div", {class: "card"}, el("h2", {}, ["Memories: ", term("tier", "tiers"), ", the fastest first"]),
      this.tiers.node, this.weights.node);
    return el("div", {class: "stack"}, what, memories);
  }

  /** The body of POST /api/profile. `focus`: the cursor goes to a number that is wrong. */
  wish({focus}) {
    const text = this.text.value;
    if (text === "") this.#showTokens(0);
    return {
      id: null,
      tokens: text === "" ? readNumber(this.tokens, "Tokens", undefined, {focus}) : 1,  // a text has its own
      dtype: this.dtype.value,
      text,
      batch: readNumber(this.batch, "Sequences", undefined, {focus}),
      block: readNumber(this.block, "Tokens of a block", undefined, {focus}),
      tiers: this.tiers.values(),
      weights: this.weights.input.checked,
      columns: COLUMNS,
    };
  }
}
