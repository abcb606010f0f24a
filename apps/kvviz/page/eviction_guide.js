// SPDX-License-Identifier: MIT
// Which policy is for what.
import {el} from "./dom.js";

const HEAD = ["Policy", "What leaves", "Best for", "From"];

function row({name, summary, clairvoyant, best_for: bestFor, citation}) {
  const cell = (column, text, attributes = {}) =>
    el("td", {class: "text-cell", "data-label": HEAD[column], ...attributes}, text);
  return el(
    "tr", {testid: `guide-${name}`}, el("th", {scope: "row"}, name),
    cell(1, `${summary}${clairvoyant ? ". Reads the future: a yardstick, not for use." : ""}`),
    cell(2, bestFor || "–", {testid: `best-for-${name}`}), cell(3, citation || "a baseline"));
}

const table = (policies, testid) => el(
  "table", {class: "stacking wordy", testid},
  el("thead", {}, el("tr", {}, HEAD.map((text, i) => el("th", {scope: "col", class: i > 0 ? "text-cell" : ""}, text)))),
  el("tbody", {}, policies.map(row)));

/** The first `shown` policies, and the others behind a click. */
export function guide(policies, shown) {
  const rest = policies.slice(shown);
  const more = el(
    "details", {testid: "policy-guide-more"}, el("summary", {}, `${rest.length} more policies`),
    table(rest, "policy-guide-rest"));
  return [table(policies.slice(0, shown), "policy-guide"), rest.length > 0 ? more : null];
}
