// SPDX-License-Identifier: MIT
// Labelled controls and messages, the same in every tab.
import {el, fill} from "./dom.js";

/** A control below its label; `label` may hold elements. */
export function field(label, control, hint = null, kind = "") {
  const hintId = `${control.id}-hint`;
  if (hint !== null) control.setAttribute("aria-describedby", hintId);
  return el(
    "div", {class: `field ${kind}`}, el("label", {"for": control.id}, label), control,
    hint === null ? null : el("p", {class: "hint", id: hintId, testid: hintId}, hint));
}

export function select(id, choices, value, onChange = () => {}) {
  const options = choices.map(([key, text]) => el("option", {value: key}, text));
  return el("select", {id, testid: id, value, on: {change: () => onChange()}}, options);
}

/** Replaces the choices of a select and keeps its value where it still exists. */
export function setChoices(node, choices) {
  const before = node.value;
  fill(node, choices.map(([key, text]) => el("option", {value: key}, text)));
  node.value = choices.some(([key]) => String(key) === before) ? before : String(choices[0][0]);
}

export function textInput(id, value, {onEnter = null, ...attributes} = {}) {
  const keydown = event => {
    if (event.key !== "Enter" || onEnter === null) return;
    event.preventDefault();
    onEnter();
  };
  return el(
    "input",
    {type: "text", id, testid: id, value, autocomplete: "off", spellcheck: "false", on: {keydown}, ...attributes});
}

export function numberInput(id, value, attributes = {}) {
  return textInput(id, value, {type: "number", inputmode: "decimal", ...attributes});
}

const exact = x => x.toLocaleString("en-US", {maximumFractionDigits: 6});

function range(low, high) {
  if (high === Infinity) return low === -Infinity ? "a number" : `${exact(low)} or more`;
  return low === -Infinity ? `at most ${exact(high)}` : `${exact(low)} to ${exact(high)}`;
}

/** What is in a number input, or an error that names it and a cursor in it. */
export function readNumber(node, name, fallback = undefined, {focus = true} = {}) {
  if (node.value.trim() === "" && !node.validity.badInput && fallback !== undefined) return fallback;
  const value = Number(node.value);
  const low = node.min === "" ? -Infinity : Number(node.min);
  const high = node.max === "" ? Infinity : Number(node.max);
  if (node.value.trim() === "" || !Number.isFinite(value) || value < low || value > high) {
    if (focus) node.focus();
    throw new Error(
      `${name}: got ${node.value.trim() === "" ? "no number" : node.value}, expected ${range(low, high)}.`);
  }
  return value;
}

/** Ctrl-Enter and Cmd-Enter submit. */
export function textArea(id, value, {onSubmit = null, rows = 4, ...attributes} = {}) {
  const keydown = event => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || onSubmit === null) return;
    event.preventDefault();
    onSubmit();
  };
  return el("textarea", {id, testid: id, rows, value, on: {keydown}, ...attributes});
}

export function button(id, text, onClick, kind = "", attributes = {}) {
  return el(
    "button", {type: "button", id, testid: id, class: `button ${kind}`, on: {click: onClick}, ...attributes}, text);
}

export function checkbox(id, text, checked, onChange = () => {}) {
  const input = el("input", {type: "checkbox", id, testid: id, checked, on: {change: onChange}});
  return {node: el("label", {class: "check", "for": id}, input, el("span", {}, text)), input};
}

/** A slider with its number beside it. */
export function slider(id, label, {min, max, step, value, format, onInput = () => {}}) {
  const shown = el("output", {"for": id, testid: `${id}-value`, class: "slider-value"}, format(value));
  const input = el("input", {type: "range", id, testid: id, min, max, step});
  input.value = value;
  const show = () => {
    shown.textContent = format(Number(input.value));
    input.setAttribute("aria-valuetext", shown.textContent);
  };
  input.addEventListener("input", () => {
    show();
    onInput(Number(input.value));
  });
  show();
  const node = el("div", {class: "field slider"}, el("label", {"for": id}, label), shown, input);
  return {
    node,
    input,
    get value() { return Number(input.value); },
    set value(x) {
      input.value = x;
      show();
    }
  };
}

/** Where errors and news of one part of the page are shown. */
export function messages(id) {
  const node = el("div", {class: "message", id, testid: id, role: "alert", hidden: true});
  let said = "";
  const clear = () => {
    node.hidden = true;
    node.textContent = "";
  };
  const show = (text, kind = "error") => {
    said = kind === "error" ? `Error: ${text}` : text;
    node.className = `message ${kind}`;
    const words = el("span", {class: "message-text", testid: `${id}-text`}, text);
    fill(node, words, el("button", {type: "button", class: "close", "aria-label": "Dismiss", on: {click: clear}}, "×"));
    node.hidden = false;
  };
  const error = problem => {
    const cancelled = problem.name === "AbortError";
    show(cancelled ? "Cancelled." : problem.message, cancelled ? "note" : "error");
  };
  /** `summary()` is what was shown last, as a line. */
  return {node, clear, show, error, summary: () => said};
}
