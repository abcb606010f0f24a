// SPDX-License-Identifier: MIT
// What a reader of Eviction Sim sets: text, budget, what no policy may evict, and the policies.
import {button, checkbox, field, messages, numberInput, readNumber, select, setChoices} from "./controls.js";
import {el, fill} from "./dom.js";
import {plural} from "./format.js";
import {term} from "./glossary.js";
import {restWhile} from "./job.js";
import {textBox} from "./text_box.js";

const TEXT =
  "The transformer architecture has revolutionized artificial intelligence by letting every token attend to every earlier token at once, which makes long texts expensive, because the keys and values of all tokens must be kept in memory. An eviction policy decides which of them may be forgotten, and a good one keeps the tokens that the model will still need, among them the first ones, on which many heads rest their attention.";
const MOST_TOKENS = 4096;
const MOST_POLICIES = 16;
const UNITS = {
  percent: {text: "% of the text", min: 0.1, max: 100, value: "25"},
  tokens: {text: "tokens", min: 1, max: MOST_TOKENS, value: "32"}
};

/** Ticks before the policies; `fill` puts them in. */
class PolicyList {
  #boxes = new Map();

  constructor() {
    this.news = messages("policies-error");
    this.node = el("div", {class: "check-grid", testid: "policy-list"});
    this.count = el("p", {class: "hint", testid: "policies-ticked"});
  }

  get ticked() { return [...this.#boxes].filter(([, box]) => box.checked).map(([name]) => name); }

  /** `ticked` are the names that are ticked at first. */
  fill(policies, ticked) {
    fill(this.node, policies.map(({name, summary, clairvoyant}) => {
      const box = checkbox(`policy-${name.replaceAll(":", "-")}`, name, ticked.includes(name), () => this.#showCount());
      box.node.title = summary;
      if (clairvoyant) box.node.append(el("span", {class: "badge"}, "reads the future"));
      this.#boxes.set(name, box.input);
      return box.node;
    }));
    this.#showCount();
  }

  #showCount() {
    const n = this.ticked.length;
    this.count.textContent = `${plural(n, "policy", "policies")} ticked, at most ${MOST_POLICIES}.`;
    this.count.classList.toggle("bad", n === 0 || n > MOST_POLICIES);
  }
}

export class EvictionControls {
  #list = new PolicyList();

  /** `simulate(names)` runs policies, `sim` is the job in which it does. */
  constructor(sim, simulate) {
    const compare = () => simulate(this.#list.ticked);
    this.text = textBox("eviction-text", "Text", {text: TEXT, rows: 6, onSubmit: compare, limit: () => MOST_TOKENS});
    this.budget = numberInput("eviction-budget", "", {step: "any", onEnter: compare});
    this.unit = select(
      "eviction-budget-unit", Object.entries(UNITS).map(([name, {text}]) => [name, text]), "percent",
      () => this.#fitUnit());
    const kept = (id, max) =>
      numberInput(id, "", {min: 0, max, step: 1, placeholder: "by policy", onEnter: compare});
    this.sinks = kept("eviction-sinks", 64);
    this.recent = kept("eviction-recent", MOST_TOKENS);
    this.single = select("eviction-policy", [["streaming_llm", "streaming_llm"]], "streaming_llm");
    this.compare = compare;
    this.#fitUnit();
    this.node = this.#card(sim, simulate);
  }

  #fitUnit() {
    const {min, max, value} = UNITS[this.unit.value];
    Object.assign(this.budget, {min, max, value});
  }

  #card(sim, simulate) {
    const compare = button("eviction-compare", "Compare the ticked policies", this.compare, "primary");
    const run = button("eviction-run", "Run simulation", () => simulate([this.single.value]));
    restWhile(sim, run, compare);
    return el(
      "div", {class: "card halves"},
      el(
        "div", {}, this.text.node,
        el(
          "div", {class: "row"}, field(term("budget", "Budget"), this.budget, "keys of each KV head"),
          field("Unit", this.unit),
          field("First tokens kept", this.sinks, "empty: by policy (streaming_llm 4, window 0)"),
          field(term("recent"), this.recent, "newest tokens kept; empty: by policy"))),
      el(
        "div", {},
        el(
          "fieldset", {}, el("legend", {}, "Policies to compare"), this.#list.node, this.#list.news.node,
          this.#list.count),
        el("div", {class: "actions"}, compare),
        el("div", {class: "row"}, field("Or one policy alone", this.single), el("div", {class: "bottom-field"}, run)),
        sim.node));
  }

  get news() { return this.#list.news; }

  /** Offers `policies`; `ticked` are the names that are ticked at first. */
  offer(policies, ticked) {
    this.#list.fill(policies, ticked);
    setChoices(this.single, policies.map(({name}) => [name, name]));
    this.single.value = "streaming_llm";
  }

  /** The body of POST /api/simulate. */
  wish(names) {
    const amount = readNumber(this.budget, "Budget");
    const share = String(Number((amount / 100).toPrecision(12)));  // no digits of rounding: 0.45 / 100 has 18
    return {
      text: this.text.value,
      policies: names,
      budget: this.unit.value === "tokens" ? String(Math.round(amount)) :
        share.includes(".")                ? share :
                                             `${share}.0`,
      sinks: readNumber(this.sinks, "First tokens kept", null),
      recent: readNumber(this.recent, "Recent window", null),
      tokens: null
    };
  }
}
