// SPDX-License-Identifier: MIT
// Every block of the cache, layer by position, in the colour of the memory that holds it.
import {colour, tierColour} from "./colours.js";
import {el, fill} from "./dom.js";
import {positions, surface, upwards} from "./drawing.js";
import {bytes, count, fixed} from "./format.js";

const MARGIN = {
  left: 52,
  top: 4,
  right: 6,
  bottom: 40
};
const MARKS = ["Normal", "Heavy hitter", "Attention sink"];
const NOTHING = 255;
const SINK = 2;
const ROOMY = 8;  // pixels of width from which a mark is a frame around the tier's colour

/** The mark of a block: a frame, or all of it where there is no room for one. */
function drawMark(context, [x, y, width, height], name) {
  context.fillStyle = colour(name);
  if (width <= ROOMY) return context.fillRect(x, y, width, height);
  context.strokeStyle = colour("plot");
  context.lineWidth = 4;
  context.strokeRect(x + 2, y + 2, width - 4, height - 4);
  context.strokeStyle = colour(name);
  context.lineWidth = 3;
  return context.strokeRect(x + 1.5, y + 1.5, width - 3, height - 3);
}

export class BlockMap {
  #answer = null;
  #cell = null;

  constructor() {
    this.canvas = el("canvas", {
      id: "block-map",
      testid: "block-map",
      class: "heat-canvas",
      tabindex: 0,
      role: "application",
      "aria-roledescription": "block map",
      "aria-label": "Blocks of the cache, layer by position. Arrow keys move through them."
    });
    this.tip = el("div", {class: "tip", testid: "block-tooltip", hidden: true});
    this.node = el("div", {class: "heat"}, this.canvas, this.tip);
    this.details = el("p", {class: "hint", testid: "block-details", "aria-live": "polite"});
    this.note = el("p", {testid: "block-note"});
    this.legend = el("p", {class: "key-line"});
    this.canvas.addEventListener("pointermove", event => this.#point(event));
    this.canvas.addEventListener("pointerdown", event => this.#point(event));
    this.canvas.addEventListener("pointerleave", () => this.#leave());
    this.canvas.addEventListener("blur", () => this.#leave());
    this.canvas.addEventListener("keydown", event => this.#key(event));
    new ResizeObserver(() => this.draw()).observe(this.node);
  }

  show(answer) {
    this.#answer = answer;
    this.#cell = null;
    this.tip.hidden = true;
    const each = answer.blocks_per_column;
    fill(
      this.note,
      `A cell is ${
        each === 1 ? "one block" : `${count(each)} neighbouring blocks, in the slowest tier that any of them is in`}, ${
        count(each * answer.block)} tokens of one layer.`);
    fill(
      this.legend, answer.tiers.map((tier, i) => {
        const piece = el("i");
        piece.className = "swatch";
        piece.style.background = tierColour(i);
        return el("b", {}, piece, tier.name);
      }),
      answer.measured ?
        [
          el("span", {class: "legend-sink"}, "holds an attention sink"),
          el("span", {class: "legend-heavy"}, "holds a heavy hitter")
        ] :
        null);
    this.details.textContent = answer.measured ?
      "Point at a cell for its numbers." :
      "Point at a cell for its numbers. With a text, also how often its keys are needed.";
    this.draw();
  }

  #layout() {
    const [layers, columns] = this.#answer.arrays.tier.shape;
    const width = this.node.clientWidth - MARGIN.left - MARGIN.right;
    const cell = Math.min(26, width / columns);
    const high = Math.min(26, Math.max(layers > 40 ? 6 : layers > 12 ? 8 : 18, cell));
    return {layers, columns, cell, high};
  }

  draw() {
    if (this.#answer === null || this.node.clientWidth === 0) return;
    const {layers, columns, cell, high} = this.#layout();
    const context = surface(this.canvas, this.node.clientWidth, MARGIN.top + layers * high + MARGIN.bottom);
    const {tier, mark} = this.#answer.arrays;
    const gap = cell > 5 ? 1 : 0;
    const fills = new Map([[NOTHING, colour("gone")], ...this.#answer.tiers.map((_, i) => [i, tierColour(i)])]);
    for (let i = 0; i < layers * columns; ++i) {
      const place =
        [MARGIN.left + (i % columns) * cell, MARGIN.top + Math.floor(i / columns) * high, cell - gap, high - 1];
      context.fillStyle = fills.get(tier.data[i]);
      context.fillRect(...place);
      if (mark && mark.data[i] > 0) drawMark(context, place, mark.data[i] === SINK ? "sink" : "heavy");
    }
    this.#axes(context);
    if (this.#cell !== null) {
      context.strokeStyle = colour("text");
      context.lineWidth = 2;
      context.strokeRect(
        MARGIN.left + this.#cell.column * cell - 1, MARGIN.top + this.#cell.layer * high - 1, cell + 1, high + 1);
    }
  }

  #axes(context) {
    const {layers, columns, cell, high} = this.#layout();
    const each = this.#answer.blocks_per_column * this.#answer.block;
    context.fillStyle = colour("muted");
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (const layer of positions(layers, (layers * high) / 18))
      context.fillText(String(layer), MARGIN.left - 6, MARGIN.top + (layer + 0.5) * high);
    context.textAlign = "center";
    context.textBaseline = "top";
    for (const column of positions(columns, (columns * cell) / 64))
      context.fillText(count(column * each), MARGIN.left + (column + 0.5) * cell, MARGIN.top + layers * high + 4);
    context.fillStyle = colour("text");
    context.textAlign = "left";
    context.fillText("First token of the block", MARGIN.left, MARGIN.top + layers * high + 22);
    upwards(context, "Layer", 2, MARGIN.top + (layers * high) / 2);
  }

  #point(event) {
    if (this.#answer === null) return;
    const {layers, columns, cell, high} = this.#layout();
    const column = Math.floor((event.offsetX - MARGIN.left) / cell);
    const layer = Math.floor((event.offsetY - MARGIN.top) / high);
    if (column < 0 || layer < 0 || column >= columns || layer >= layers)
      this.#leave();
    else
      this.#select({layer, column});
  }

  #key(event) {
    if (this.#answer === null) return;
    const moves = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
    if (event.key === "Escape") this.#leave();
    if (moves[event.key] === undefined) return;
    event.preventDefault();
    const {layers, columns} = this.#layout();
    const [down, right] = this.#cell === null ? [0, 0] : moves[event.key];
    const from = this.#cell ?? {layer: 0, column: 0};
    this.#select({
      layer: Math.min(layers - 1, Math.max(0, from.layer + down)),
      column: Math.min(columns - 1, Math.max(0, from.column + right))
    });
  }

  #leave() {
    if (this.#cell === null) return;
    this.#cell = null;
    this.tip.hidden = true;
    this.draw();
  }

  #select(cell) {
    this.#cell = cell;
    const {arrays, tiers, block, blocks_per_column: each, tokens} = this.#answer;
    const {layer_bytes: layerBytes, layer_token_bytes: tokenSizes} = this.#answer;
    const {columns} = this.#layout();
    const i = cell.layer * columns + cell.column;
    const first = cell.column * each * block;
    const last = Math.min(tokens, first + each * block) - 1;
    const tier = arrays.tier.data[i] === NOTHING ? "nothing is held here: the layer's window has passed" :
                                                   tiers[arrays.tier.data[i]].name;
    const tokenBytes = tokenSizes[cell.layer];
    const firstHeld = tokens - layerBytes[cell.layer] / tokenBytes;
    const size = Math.max(0, last + 1 - Math.max(first, firstHeld)) * tokenBytes;
    const lines = [
      `Layer ${cell.layer}, ${
        each === 1 ? `block ${count(cell.column)}` :
                     `blocks ${count(cell.column * each)} to ${count((cell.column + 1) * each - 1)}`}`,
      `Tokens ${count(first)}–${count(last)}`, `Tier: ${tier}`, `Size: ${bytes(size)}`
    ];
    if (arrays.reads)
      lines.push(
        `Keys in demand at a step: ${fixed(arrays.reads.data[i], 2)} of ${count(last - first + 1)}`,
        `Attention a step: ${fixed(arrays.attention.data[i], 4)}`, `Status: ${MARKS[arrays.mark.data[i]]}`);
    fill(this.tip, el("strong", {}, lines[0]), lines.slice(1).map(line => el("div", {}, line)));
    this.details.textContent = lines.join(" · ");
    this.tip.hidden = false;
    const {cell: wide, high} = this.#layout();
    const x = MARGIN.left + (cell.column + 1) * wide + 10;
    this.tip.style.left =
      `${x + this.tip.offsetWidth > this.node.clientWidth ? Math.max(0, x - this.tip.offsetWidth - wide - 20) : x}px`;
    this.tip.style.top = `${MARGIN.top + (cell.layer + 1) * high + 8}px`;
    this.draw();
  }
}
