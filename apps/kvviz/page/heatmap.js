// SPDX-License-Identifier: MIT
// The heat map of attention: queries downwards, keys to the right, sinks and heavy hitters marked, every cell readable
// by mouse, finger and keyboard.
import {colour, ramp, SCALES} from "./colours.js";
import {el, fill, svg} from "./dom.js";
import {surface} from "./drawing.js";
import {count, cut, percent, visible} from "./format.js";
import {drawAxes, drawBar, drawMarks} from "./heatmap_frame.js";
import {paint} from "./matrix.js";
import {events} from "./state.js";

const MARGIN = {
  left: 48,
  top: 12,
  right: 74,
  bottom: 46
};
const WIDER = 10;  // on the left, for numbers with a separator
const MIN_PLOT = 160;

export class HeatMap {
  #raster = document.createElement("canvas");
  #matrix = null;
  #tokens = [];
  #marks = {sinks: [], heavy: []};
  #cell = null;
  #pending = false;

  /**
   * `name` is what the map shows, for those who cannot see it; `maxSize()` the most that a side of the square may be,
   * in CSS pixels.
   */
  constructor({id, name, maxSize = () => 600, scale = "root"}) {
    this.maxSize = maxSize;
    this.scale = scale;
    this.canvas = el("canvas", {
      id,
      testid: id,
      class: "heat-canvas",
      tabindex: 0,
      role: "application",
      "aria-roledescription": "heat map",
      "aria-label": name
    });
    this.tip = el("div", {class: "tip", testid: `${id}-tooltip`, hidden: true});
    this.said = el("div", {class: "unseen", "aria-live": "polite", testid: `${id}-cell`});
    this.node = el("div", {class: "heat"}, this.canvas, this.tip, this.said);
    this.#listen();
    new ResizeObserver(() => this.draw()).observe(this.node);
    events.addEventListener("theme", () => this.draw());
  }

  /** `tokens` are texts by position; `matrix` as in matrix.js, or null. */
  show(matrix, tokens, marks = {sinks: [], heavy: []}) {
    this.#matrix = matrix;
    this.#tokens = tokens;
    this.#marks = marks;
    this.canvas.dataset.tokens = matrix?.count ?? 0;
    this.canvas.dataset.bins = matrix?.bins ?? 0;
    this.canvas.dataset.sinks = marks.sinks.join(",");
    this.canvas.dataset.heavy = marks.heavy.join(",");
    this.draw();
  }

  draw() {
    if (this.#pending) return;
    this.#pending = true;
    requestAnimationFrame(() => {
      this.#pending = false;
      this.#paint();
    });
  }

  #layout() {
    this.margin = {...MARGIN, left: MARGIN.left + ((this.#matrix?.count ?? 0) > 1000 ? WIDER : 0)};
    const room = this.node.clientWidth - this.margin.left - this.margin.right;
    const bins = this.#matrix?.bins ?? 0;
    const side = Math.round(Math.max(MIN_PLOT, Math.min(this.maxSize(), room)));
    return {margin: this.margin, side, bins, cell: bins === 0 ? 0 : side / bins};
  }

  #paint() {
    if (this.node.clientWidth === 0) return;
    const frame = this.#layout();
    const {side} = frame;
    const context =
      surface(this.canvas, this.margin.left + side + this.margin.right, this.margin.top + side + this.margin.bottom);
    context.fillStyle = colour("plot");
    context.fillRect(this.margin.left, this.margin.top, side, side);
    if (this.#matrix !== null && this.#matrix.bins > 0) {
      paint(this.#raster, this.#matrix, ramp(), SCALES[this.scale].place);
      context.imageSmoothingEnabled = false;
      context.drawImage(this.#raster, this.margin.left, this.margin.top, side, side);
      drawMarks(context, frame, this.#matrix, {keys: this.#marks.heavy, name: "heavy"});
      drawMarks(context, frame, this.#matrix, {keys: this.#marks.sinks, name: "sink"});
    }
    drawAxes(context, frame, this.#matrix);
    drawBar(context, frame, SCALES[this.scale]);
    this.#outline(context);
  }

  #outline(context) {
    if (this.#cell === null) return;
    const {cell} = this.#layout();
    const size = Math.max(cell, 4);
    const x = this.margin.left + this.#cell.key * cell + (cell - size) / 2;
    const y = this.margin.top + this.#cell.query * cell + (cell - size) / 2;
    for (const [grow, style] of [[1.5, colour("plot")], [0, colour("text")]]) {
      context.strokeStyle = style;
      context.lineWidth = 1.5;
      context.strokeRect(x - grow, y - grow, size + 2 * grow, size + 2 * grow);
    }
  }

  #listen() {
    const point = event => {
      const {side, bins, cell} = this.#layout();
      const x = event.offsetX - this.margin.left;
      const y = event.offsetY - this.margin.top;
      if (bins === 0 || x < 0 || y < 0 || x >= side || y >= side) return this.#leave();
      const query = Math.floor(y / cell);
      const key = Math.floor(x / cell);
      return key > query ? this.#leave() : this.#select({query, key});
    };
    this.canvas.addEventListener("pointermove", point);
    this.canvas.addEventListener("pointerdown", point);
    this.canvas.addEventListener("pointerleave", event => event.pointerType === "mouse" && this.#leave());
    this.canvas.addEventListener("blur", () => this.#leave());
    this.canvas.addEventListener("keydown", event => this.#key(event));
  }

  #key(event) {
    const bins = this.#matrix?.bins ?? 0;
    const moves = {
      ArrowUp: [-1, 0],
      ArrowDown: [1, 0],
      ArrowLeft: [0, -1],
      ArrowRight: [0, 1],
      Home: [0, -bins],
      End: [0, bins],
      PageUp: [-10, 0],
      PageDown: [10, 0]
    };
    if (event.key === "Escape") this.#leave();
    if (bins === 0 || moves[event.key] === undefined) return;
    event.preventDefault();
    const from = this.#cell ?? {query: bins - 1, key: 0};
    const [down, right] = this.#cell === null ? [0, 0] : moves[event.key];
    const query = Math.min(bins - 1, Math.max(0, from.query + down));
    this.#select({query, key: Math.min(query, Math.max(0, from.key + right))});
    this.said.textContent = this.tip.dataset.text;
  }

  #leave() {
    if (this.#cell === null) return;
    this.#cell = null;
    this.tip.hidden = true;
    this.draw();
  }

  #range(bin) {
    const first = this.#matrix.first(bin);
    const last = Math.max(first, this.#matrix.first(bin + 1) - 1);
    const texts = this.#tokens.slice(first, Math.min(last + 1, first + 8)).map(visible).join("");
    return {first, last, text: cut(texts, 24), label: first === last ? count(first) : `${count(first)}–${count(last)}`};
  }

  #select(cell) {
    this.#cell = cell;
    const weight = this.#matrix.value(cell.query, cell.key);
    const query = this.#range(cell.query);
    const key = this.#range(cell.key);
    const pooled = query.last > query.first || key.last > key.first;
    const line = (name, range) =>
      el("div", {}, `${name} ${range.label} `, el("span", {class: "tip-token"}, range.text));
    const bar = svg(
      "svg", {class: "tip-bar", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true"},
      svg("rect", {class: "tip-track", width: 100, height: 6}),
      svg("rect", {class: "tip-fill", width: 100 * Math.min(1, weight), height: 6}));
    fill(
      this.tip, el("strong", {}, `${percent(weight, weight < 0.01 ? 2 : 1)} of the attention`), bar,
      line("Query", query), line("Key", key),
      pooled ? el("div", {class: "tip-note"}, "mean over these queries of the weight on these keys") : null);
    this.tip.dataset.text = `${percent(weight)}: query ${query.label} ${query.text}, key ${key.label} ${key.text}`;
    this.tip.dataset.query = query.first;
    this.tip.dataset.key = key.first;
    this.tip.dataset.value = weight;
    this.tip.hidden = false;
    this.#placeTip();
    this.draw();
  }

  #placeTip() {
    const {cell} = this.#layout();
    const x = this.canvas.offsetLeft + this.margin.left + (this.#cell.key + 0.5) * cell;
    const y = this.canvas.offsetTop + this.margin.top + (this.#cell.query + 0.5) * cell;
    const left = x + 16 + this.tip.offsetWidth > this.node.clientWidth ? x - 16 - this.tip.offsetWidth : x + 16;
    const top = y - this.tip.offsetHeight - 12 < 0 ? y + 14 : y - this.tip.offsetHeight - 12;
    this.tip.style.left = `${Math.max(0, Math.min(left, this.node.clientWidth - this.tip.offsetWidth))}px`;
    this.tip.style.top = `${top}px`;
  }
}

/** A small map without axes: 1 pixel a cell, enlarged by the style sheet. */
export function miniMap(matrix, name, scale = "root") {
  const canvas = el("canvas", {class: "mini-canvas", role: "img", "aria-label": name});
  const draw = () => paint(canvas, matrix, ramp(), SCALES[scale].place);
  draw();
  canvas.redraw = draw;
  return canvas;
}
