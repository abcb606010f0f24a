// SPDX-License-Identifier: MIT
// One heat map, large, over the page.
import {button} from "./controls.js";
import {el} from "./dom.js";
import {HeatMap} from "./heatmap.js";

let shown = null;

function build() {
  const map =
    new HeatMap({id: "enlarged-map", name: "Attention: rows are queries, columns are keys", maxSize: () => 520});
  const name = el("h2", {id: "enlarged-name", testid: "enlarged-name"});
  const below = el("div");
  const dialog = el(
    "dialog", {testid: "enlarged", "aria-labelledby": "enlarged-name"},
    el(
      "div", {class: "enlarged"}, name, map.node, below,
      el("div", {class: "actions"}, button("enlarged-close", "Close", () => dialog.close()))));
  dialog.addEventListener("click", event => event.target === dialog && dialog.close());
  document.body.append(dialog);
  return {dialog, map, name, below};
}

/** Shows `matrix` until it is closed; Escape does. `more` stands below it. */
export function enlarge(name, matrix, tokens, {marks = undefined, more = []} = {}) {
  shown ??= build();
  shown.name.textContent = name;
  shown.below.replaceChildren(...more);
  shown.dialog.showModal();
  shown.map.show(matrix, tokens, marks);
}

export const closeEnlarged = () => shown?.dialog.close();
