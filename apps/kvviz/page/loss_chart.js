// SPDX-License-Identifier: MIT
// The loss of each token as bars.
import {colour} from "./colours.js";
import {el, fill} from "./dom.js";
import {positions, surface, upwards} from "./drawing.js";
import {count, cut, nats, percent, significant, visible} from "./format.js";

const HEIGHT = 158;
const TOP = 8;
const LEFT = 40;
const BOTTOM = 42;
const WIDEST = 14;  // of a bar, in pixels

/** Read tokens in one colour, written ones in another. */
export class LossChart {
  constructor(id) {
    this.canvas = el("canvas", {id, testid: id, class: "heat-canvas", role: "img", "aria-label": "Loss of each token"});
    this.tip = el("div", {class: "tip", hidden: true});
    this.node = el("div", {class: "heat"}, this.canvas, this.tip);
    this.tokens = [];
    this.canvas.addEventListener("pointermove", event => this.#point(event));
    this.canvas.addEventListener("pointerleave", () => {
      this.tip.hidden = true;
    });
    new ResizeObserver(() => this.draw()).observe(this.node);
  }

  show(tokens) {
    this.tokens = tokens;
    const words = `Loss of each of ${count(tokens.length)} tokens: mean ${nats(meanLoss(tokens))}`;
    this.canvas.setAttribute("aria-label", words);
    this.draw();
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.#paint());
  }

  #geometry() {
    const width = this.node.clientWidth;
    const known = this.tokens.map(token => token.nll).filter(nll => nll !== null && Number.isFinite(nll));
    const largest = known.reduce((a, b) => Math.max(a, b), 1);
    const step = largest > 12 ? 5 : largest > 5 ? 2 : 1;
    const bar = this.tokens.length === 0 ? 0 : Math.min(WIDEST, (width - LEFT - 6) / this.tokens.length);
    return {width, step, most: step * Math.ceil(largest / step), bar, plot: HEIGHT - BOTTOM - TOP};
  }

  #paint() {
    const frame = this.#geometry();
    const {width, most, bar, plot} = frame;
    if (width === 0) return;
    const context = surface(this.canvas, width, HEIGHT);
    this.#axes(context, frame);
    const [read, written] = [colour("series-0"), colour("series-1")];
    this.tokens.forEach(({nll, generated}, i) => {
      if (nll === null || !Number.isFinite(nll)) return;
      const height = Math.max(1, (plot * nll) / most);
      context.fillStyle = generated ? written : read;
      context.fillRect(LEFT + i * bar, TOP + plot - height, Math.max(0.7, bar - (bar > 3 ? 1 : 0)), height);
    });
  }

  #axes(context, {width, most, step, bar, plot}) {
    context.textAlign = "right";
    context.textBaseline = "middle";
    for (let tick = 0; tick <= most; tick += step) {
      const y = TOP + plot * (1 - tick / most);
      context.fillStyle = colour("muted");
      context.fillText(String(tick), LEFT - 7, y);
      context.fillStyle = colour("line");
      context.fillRect(LEFT, y, width - LEFT, 1);
    }
    context.fillStyle = colour("muted");
    context.textAlign = "center";
    context.textBaseline = "top";
    const size = this.tokens.length;
    for (const token of size === 0 ? [] : positions(size, (size * bar) / 50))
      context.fillText(count(token), LEFT + (token + 0.5) * bar, TOP + plot + 5);
    context.fillStyle = colour("text");
    context.textAlign = "left";
    context.textBaseline = "bottom";
    context.fillText("Position [token]", LEFT, HEIGHT - 4);
    upwards(context, "Loss [nats]", 2, TOP + plot / 2);
  }

  #point(event) {
    const {bar} = this.#geometry();
    const i = Math.floor((event.offsetX - LEFT) / bar);
    const token = this.tokens[i];
    this.tip.hidden = token === undefined;
    if (token === undefined) return;
    const words = token.nll === null ? "no prediction was made of it" :
                                       `loss ${significant(token.nll, 3)} nats: the model gave it ${
                                         percent(Math.exp(-token.nll), token.nll > 4.6 ? 2 : 1)}`;
    fill(
      this.tip, el("strong", {}, `Position ${count(i)} `),
      el("span", {class: "tip-token"}, cut(visible(token.text), 24)), el("div", {}, words),
      token.generated ? el("div", {class: "tip-note"}, "written by the model") : null);
    this.tip.style.left = `${Math.min(event.offsetX + 12, this.node.clientWidth - this.tip.offsetWidth)}px`;
    this.tip.style.top = "4px";
  }
}

/** Mean of the losses that exist, in nats. */
export function meanLoss(tokens) {
  const known = tokens.map(token => token.nll).filter(nll => nll !== null && Number.isFinite(nll));
  return known.length === 0 ? null : known.reduce((a, b) => a + b, 0) / known.length;
}
