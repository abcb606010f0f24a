// SPDX-License-Identifier: MIT
// A text as the model reads it: one chip a token.
import {el} from "./dom.js";
import {cut, significant, visible} from "./format.js";

function title(token, position, kind) {
  const parts = [`Position ${position}: “${visible(token.text)}”`];
  if (token.generated) parts.push("written by the model");
  if (token.nll !== null && token.nll !== undefined) parts.push(`loss ${significant(token.nll, 3)} nats`);
  if (kind) parts.push(kind === "sink" ? "attention sink" : "heavy hitter");
  return parts.join(", ");
}

export class Chips {
  #tokens = [];
  #kinds = [];

  constructor(id, name) {
    this.node = el("div", {class: "chips", id, testid: id, role: "list", "aria-label": name, tabindex: 0});
  }

  clear() {
    this.#tokens = [];
    this.#kinds = [];
    this.node.replaceChildren();
  }

  /** `token` is `{text, generated, nll}`. Follows the newest chip unless the reader has scrolled away. */
  push(token) {
    const box = this.node;
    const follow = box.scrollTop + box.clientHeight >= box.scrollHeight - 24;
    const position = this.#tokens.length;
    this.#tokens.push(token);
    this.#kinds.push("");
    box.append(el(
      "span", {
        class: token.generated ? "chip generated" : "chip",
        role: "listitem",
        "data-position": position,
        title: title(token, position, "")
      },
      cut(visible(token.text), 10)));
    if (follow) box.scrollTop = box.scrollHeight;
  }

  show(tokens) {
    this.clear();
    tokens.forEach(token => this.push(token));
  }

  /** Colours sinks and heavy hitters; positions that are neither lose their colour. */
  mark({sinks, heavy}) {
    const kinds = new Map([...heavy.map(p => [p, "heavy"]), ...sinks.map(p => [p, "sink"])]);
    this.#tokens.forEach((token, position) => {
      const kind = kinds.get(position) ?? "";
      if (kind === this.#kinds[position]) return;
      this.#kinds[position] = kind;
      const chip = this.node.children[position];
      chip.classList.toggle("sink", kind === "sink");
      chip.classList.toggle("heavy", kind === "heavy");
      chip.title = title(token, position, kind);
    });
  }
}
