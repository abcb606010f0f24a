// SPDX-License-Identifier: MIT
// The cache of one policy over time: step to the right, key downwards.
import {colour} from "./colours.js";
import {el, fill} from "./dom.js";
import {positions, surface, upwards} from "./drawing.js";
import {count, cut, plural, visible} from "./format.js";

export const MOST_CELLS = 400;
const ROOMY = 125;   // pixels of height that the long label takes
const THINNEST = 4;  // pixels of the row of a sink
const MARGIN = {
  left: 46,
  top: 6,
  right: 8,
  bottom: 40
};

const channels = name => {
  const hex = colour(name).slice(1);
  const [r, g, b] = [0, 2, 4].map(i => parseInt(hex.slice(i, i + 2), 16));
  return (255 << 24) | (b << 16) | (g << 8) | r;
};

/** The keys of one policy: a row a key, a column a step. `onPoint(policy, step)` when a step is clicked. */
export class Timeline {
  #raster = document.createElement("canvas");
  #painted = false;

  constructor(answer, policy, onPoint) {
    this.answer = answer;
    this.policy = policy;
    this.step = answer.tokens.length - 1;
    const gone = policy.last.filter((last, key) => last < answer.tokens.length - 1).length;
    this.canvas = el("canvas", {
      testid: `timeline-${policy.policy}`,
      role: "img",
      "aria-label": `${policy.policy}: ${count(gone)} of ${plural(answer.tokens.length, "key")} left before the end`,
      "data-evicted": gone
    });
    this.tip = el("div", {class: "tip", hidden: true});
    this.node = el("div", {class: "timeline"}, el("h3", {}, policy.policy), this.canvas, this.tip);
    this.canvas.addEventListener("pointermove", event => this.#point(event));
    this.canvas.addEventListener("pointerleave", () => {
      this.tip.hidden = true;
    });
    this.canvas.addEventListener("click", event => onPoint(this.policy.policy, this.#at(event).step));
    new ResizeObserver(() => this.draw()).observe(this.node);
  }

  get size() { return this.answer.tokens.length; }

  held(key, step) { return key <= step && step <= this.policy.last[key]; }

  /** Of a text with more tokens than cells, every so many keys and steps. */
  #fillRaster() {
    const cells = Math.min(this.size, MOST_CELLS);
    const token = cell => Math.floor(((cell + 0.5) * this.size) / cells);
    const heavy = new Set(this.answer.timeline.heavy);
    const [plain, marked, gone, none] = ["held", "heavy", "gone", "plot"].map(channels);
    this.#raster.width = cells;
    this.#raster.height = cells;
    const context = this.#raster.getContext("2d");
    const image = context.createImageData(cells, cells);
    const pixels = new Uint32Array(image.data.buffer);
    for (let row = 0; row < cells; ++row) {
      const key = token(row);
      const held = heavy.has(key) ? marked : plain;
      for (let column = 0; column < cells; ++column) {
        const step = token(column);
        pixels[row * cells + column] = key > step ? none : this.held(key, step) ? held : gone;
      }
    }
    context.putImageData(image, 0, 0);
    this.#painted = true;
  }

  /** In the colours of another theme. */
  repaint() {
    this.#painted = false;
    this.draw();
  }

  draw() {
    const width = this.node.clientWidth;
    if (width === 0) return;
    if (!this.#painted) this.#fillRaster();
    const side = width - MARGIN.left - MARGIN.right;
    const high = Math.round(side * 0.75);
    this.plot = {side, high};
    const context = surface(this.canvas, width, MARGIN.top + high + MARGIN.bottom);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.#raster, MARGIN.left, MARGIN.top, side, high);
    this.#drawSinks(context);
    context.strokeStyle = colour("line");
    context.strokeRect(MARGIN.left - 0.5, MARGIN.top - 0.5, side + 1, high + 1);
    const x = MARGIN.left + (side * (this.step + 0.5)) / this.size;
    context.strokeStyle = colour("link");
    context.lineWidth = 1.5;
    context.beginPath();
    context.moveTo(x, MARGIN.top);
    context.lineTo(x, MARGIN.top + high);
    context.stroke();
    this.#axes(context, side, high);
  }

  /** Sinks are few, and what the picture is about: their rows are not thinner than can be seen. */
  #drawSinks(context) {
    const {side, high} = this.plot;
    const thick = Math.max(THINNEST, high / this.size);
    context.fillStyle = colour("sink");
    for (const key of this.answer.timeline.sinks) {
      const from = (side * key) / this.size;
      const until = (side * (Math.min(this.policy.last[key], this.size - 1) + 1)) / this.size;
      const top = Math.min(high - thick, (high * key) / this.size);
      context.fillRect(MARGIN.left + from, MARGIN.top + top, until - from, thick);
    }
  }

  #axes(context, side, high) {
    context.fillStyle = colour("muted");
    for (const token of positions(this.size, 4)) {
      const part = (token + 0.5) / this.size;
      context.textAlign = "center";
      context.textBaseline = "top";
      context.fillText(count(token), MARGIN.left + side * part, MARGIN.top + high + 4);
      context.textAlign = "right";
      context.textBaseline = "middle";
      context.fillText(count(token), MARGIN.left - 5, MARGIN.top + Math.max(6, high * part));
    }
    context.fillStyle = colour("text");
    context.textAlign = "center";
    context.textBaseline = "bottom";
    context.fillText("Step [token]", MARGIN.left + side / 2, MARGIN.top + high + MARGIN.bottom - 4);
    upwards(context, high < ROOMY ? "Key [token]" : "Key position [token]", 1, MARGIN.top + high / 2);
  }

  #at(event) {
    const {side, high} = this.plot;
    const bound = part => Math.min(this.size - 1, Math.max(0, Math.floor(part * this.size)));
    return {step: bound((event.offsetX - MARGIN.left) / side), key: bound((event.offsetY - MARGIN.top) / high)};
  }

  #point(event) {
    const {step, key} = this.#at(event);
    const last = this.policy.last[key];
    const until = last >= this.size - 1 ? "held to the end" : `evicted after step ${count(last)}`;
    fill(
      this.tip, el("strong", {}, `Key ${count(key)} `),
      el("span", {class: "tip-token"}, cut(visible(this.answer.tokens[key]), 24)),
      el(
        "div", {},
        `at step ${count(step)}: ${
          key > step             ? "not read yet" :
            this.held(key, step) ? "held" :
                                   "gone"}`),
      el("div", {class: "tip-note"}, `read at step ${count(key)}, ${until}`));
    this.tip.hidden = false;
    this.tip.style.left =
      `${Math.min(event.offsetX + 12, Math.max(0, this.node.clientWidth - this.tip.offsetWidth))}px`;
    this.tip.style.top = `${event.offsetY + 44}px`;
  }
}
