// SPDX-License-Identifier: MIT
// Elements are built from text nodes and attributes alone: markup in a token or a model id stays text.

const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "indeterminate", "selected", "inert"]);

function apply(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else if (name === "testid") {
      node.dataset.testid = value;
    } else if (PROPERTIES.has(name)) {
      node[name] = value;
    } else if (value !== null && value !== undefined && value !== false) {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
}

function append(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}

/** An HTML element. `attributes.on` holds listeners, `attributes.testid` what tests find it by. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  append(node, children);
  apply(node, attributes);
  return node;
}

/** An SVG element. */
export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  apply(node, attributes);
  return append(node, children);
}

/** Replaces what is in `node`. */
export function fill(node, ...children) {
  node.replaceChildren();
  return append(node, children);
}

export const byId = id => document.getElementById(id);

/** A number on the page: its text for people, `data-value` for programs. */
export function number(testid, raw, text, attributes = {}) {
  return el("span", {class: "number", testid, "data-value": raw ?? "", ...attributes}, text);
}

/** Puts a new value into an element made by `number`. */
export function setNumber(node, raw, text) {
  node.dataset.value = raw ?? "";
  node.textContent = text;
}

const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

export function scrollTo(node, block = "nearest") {
  node.scrollIntoView({behavior: reducedMotion() ? "auto" : "smooth", block});
}

/** Calls `action` once, `wait` ms after the last call. */
export function debounce(action, wait) {
  let timer = 0;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...args), wait);
  };
}
