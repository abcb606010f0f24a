// SPDX-License-Identifier: MIT
// A text area that knows how many tokens its text has, and offers the texts that ship with kvviz.
import {post} from "./api.js";
import {field, select, setChoices, textArea} from "./controls.js";
import {debounce, el, setNumber} from "./dom.js";
import {count, plural} from "./format.js";
import {events, samples, state} from "./state.js";

/** The shipped texts, and what the reader wrote; `onChoose` when another stands in `area`. */
function choiceOfTexts(id, area, onChoose) {
  let own = area.value;
  const first = ["", "Own text"];
  const texts = select(`${id}-sample`, [first], "", async () => {
    const chosen = (await samples()).find(sample => String(sample.index) === texts.value);
    area.value = chosen?.text ?? own;
    onChoose();
  });
  texts.setAttribute("aria-label", "Take a text that ships with kvviz");
  const offer = async () => {
    try {
      setChoices(texts, [first, ...(await samples()).map(({index, title}) => [index, `Sample: ${title}`])]);
    } catch {
      texts.hidden = true;
    }
  };
  events.addEventListener("health", () => state.connected && texts.options.length === 1 && offer());
  area.addEventListener("input", () => {
    texts.value = "";
    own = area.value;
  });
  return texts;
}

/**
 * `label` may hold elements; `limit()` is the most tokens that the tab takes; `onCount(tokens)` when they were counted;
 * `empty` is said of no text. `measure()` counts anew.
 */
export function textBox(id, label, {text, rows = 4, onSubmit, limit = () => Infinity, onCount = () => {}, empty = ""}) {
  const counter = el("span", {class: "counter", testid: `${id}-tokens`, "data-value": ""});
  const area = textArea(id, text, {rows, onSubmit, spellcheck: "false"});
  let asked = 0;
  let due = true;  // counted once it is seen

  const show = (tokens, context) => {
    const most = Math.min(limit(), context || Infinity);
    const over = tokens > most;
    counter.classList.toggle("over", over);
    const words = `${plural(tokens, "token")}${over ? `: at most ${count(most)} fit` : ""}`;
    setNumber(counter, tokens, area.value === "" ? empty : words);
    onCount(tokens);
  };
  const measure = async () => {
    const turn = ++asked;
    due = state.model === null || area.clientWidth === 0;
    if (due) return;
    if (area.value === "") {
      show(0, Infinity);
      return;
    }
    try {
      const {tokens, context} = await post("tokenize", {text: area.value});
      if (turn === asked) show(tokens, context);
    } catch {
      if (turn === asked) setNumber(counter, null, "");
    }
  };
  area.addEventListener("input", debounce(measure, 350));
  events.addEventListener("model", measure);
  new ResizeObserver(() => due && measure()).observe(area);

  const below = el(
    "div", {class: "below-text"}, counter, el("span", {class: "hint"}, "Ctrl-Enter runs"),
    choiceOfTexts(id, area, measure));
  const node = field(label, area);
  node.append(below);
  return {node, measure, get value() { return area.value; }};
}
