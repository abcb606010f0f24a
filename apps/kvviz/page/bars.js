// SPDX-License-Identifier: MIT
// Bars with labels, stacked shares, and numbers with what they mean.
import {el} from "./dom.js";
import {percent} from "./format.js";

/** Rows `{label, value, text, testid, fill}`; bars are shares of the largest value, or of `whole`. */
export function bars(rows, {whole = null, name}) {
  const most = whole ?? Math.max(...rows.map(row => row.value), 0);
  const cells = rows.map(row => {
    const bar = el("div", {class: "bar-fill"});
    bar.style.width = `${most > 0 ? (100 * row.value) / most : 0}%`;
    if (row.fill) bar.style.background = row.fill;
    return [
      el("div", {}, row.label), el("div", {class: "bar-track", "aria-hidden": "true"}, bar),
      el("div", {class: "bar-value", testid: row.testid, "data-value": row.value}, row.text)
    ];
  });
  return el("div", {class: "bars", role: "group", "aria-label": name}, cells);
}

/** One bar of parts `{label, value, fill}`, with their shares written below. */
export function stacked(parts, {name, total = parts.reduce((sum, part) => sum + part.value, 0)}) {
  const bar = el("div", {
    class: "stacked",
    role: "img",
    "aria-label": `${name}: ${parts.map(part => `${part.label} ${percent(part.value / total)}`).join(", ")}`
  });
  for (const part of parts.filter(each => each.value > 0)) {
    const piece = el("span", {title: `${part.label}: ${percent(part.value / total)}`});
    piece.style.width = `${(100 * part.value) / total}%`;
    piece.style.background = part.fill;
    bar.append(piece);
  }
  return bar;
}

export function swatch(fillColour) {
  const node = el("span", {class: "swatch", "aria-hidden": "true"});
  node.style.background = fillColour;
  return node;
}

/** A number with its label above it. `label` may hold elements. */
export function figureCard(testid, label, raw, text, kind = "") {
  return el(
    "div", {class: "figure"}, el("div", {class: "figure-label"}, label),
    el("span", {class: `number ${kind}`, testid, "data-value": raw ?? ""}, text));
}

/** A line of a `dl` of facts. `label` and `value` may hold elements. */
export const fact = (label, value) => el("div", {class: "fact"}, el("dt", {}, label), el("dd", {}, value));
