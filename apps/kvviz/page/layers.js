// SPDX-License-Identifier: MIT
// The layers of a model as a stack, a grid or in detail; the chosen layer with its heads at work on a text.
import {matrices} from "./api.js";
import {figureCard} from "./bars.js";
import {field, select} from "./controls.js";
import {byId, el, fill, scrollTo} from "./dom.js";
import {enlarge} from "./enlarged.js";
import {bytes, count, nats, percent} from "./format.js";
import {term} from "./glossary.js";
import {miniMap} from "./heatmap.js";
import {Job} from "./job.js";
import {PooledMatrix} from "./matrix.js";
import {state} from "./state.js";

const DETAILED = 12;
const BINS = 64;

/** The layers one by one, of the runs of equal layers that the server names. */
const expand = runs => runs.flatMap(run => Array.from({length: run.count}, (_, i) => ({...run, layer: run.first + i})));

const heads = layer => `${count(layer.query_heads)} query heads, ${count(layer.kv_heads)} KV heads`;

const TEXTS = {
  grid: layer => String(layer.layer),
  detailed: layer => `Layer ${layer.layer}`,
  stack: layer => `Layer ${layer.layer} · ${heads(layer)}${layer.window ? ` · window ${count(layer.window)}` : ""}`,
};

function parts(layer) {
  const texts = [
    "norm", `attention: ${heads(layer)} of ${count(layer.head_dim)}`,
    `cache: ${count(2 * layer.kv_heads * layer.head_dim)} numbers a token`, "norm", "MLP"
  ];
  return el("span", {class: "parts"}, texts.map(text => el("span", {class: "part"}, text)));
}

/** The layers from top to bottom; `onChoose(layer)` when one is clicked. */
class Tower {
  #box = el("div", {class: "layer-tower", testid: "layer-tower"});
  #layers = [];
  #chosen = 0;

  constructor(onChoose) {
    this.onChoose = onChoose;
    this.view = select(
      "layer-view", [["stack", "Stack"], ["grid", "Grid"], ["detailed", `Detailed (first ${DETAILED})`]], "stack",
      () => this.#draw());
    this.node = el("div", {class: "stays"}, field("View", this.view), el("div", {class: "tower-scroll"}, this.#box));
  }

  show(layers) {
    this.#layers = layers;
    this.#draw();
  }

  mark(chosen) {
    this.#chosen = chosen;
    for (const node of this.#box.querySelectorAll("button"))
      node.setAttribute("aria-pressed", String(node.dataset.testid === `layer-${chosen}`));
  }

  #block(layer) {
    const attributes = {
      type: "button",
      class: "layer-block",
      testid: `layer-${layer.layer}`,
      "aria-pressed": String(layer.layer === this.#chosen),
      "aria-label": `Layer ${layer.layer}`,
      on: {click: () => this.onChoose(layer.layer)}
    };
    return el(
      "button", attributes, TEXTS[this.view.value](layer), this.view.value === "detailed" ? parts(layer) : null);
  }

  #draw() {
    const shown = this.view.value === "detailed" ? this.#layers.slice(0, DETAILED) : this.#layers;
    const rest = this.#layers.length - shown.length;
    const end = text => el("div", {class: "layer-block end"}, text);
    this.#box.className = `layer-tower ${this.view.value}`;
    fill(
      this.#box, end(`Embedding: each token becomes ${count(state.model.hidden)} numbers`),
      shown.map(layer => this.#block(layer)), rest > 0 ? end(`${count(rest)} more layers`) : null,
      end(`Output: a probability for each of ${count(state.model.vocabulary)} tokens`));
  }
}

/** The geometry of a layer; `share` is its part of the cache. */
function geometry(layer, layers, {cache}) {
  const size = each => each.kv_heads * each.head_dim;
  const bytesPerToken = (cache.bytes_per_token * size(layer)) / layers.reduce((sum, each) => sum + size(each), 0);
  return [
    el(
      "h3", {testid: "selected-layer-name", "data-value": layer.layer},
      `Layer ${layer.layer} (of ${layers.length}, counted from 0)`),
    el(
      "div", {class: "figures"},
      figureCard("selected-query-heads", "Query heads", layer.query_heads, count(layer.query_heads)),
      figureCard("selected-kv-heads", "KV heads", layer.kv_heads, count(layer.kv_heads)),
      figureCard("selected-head-dim", "Numbers in a key", layer.head_dim, count(layer.head_dim)),
      figureCard(
        "selected-window", "Sees back", layer.window, layer.window ? `${count(layer.window)} tokens` : "all tokens"),
      figureCard("selected-bytes", `A token adds (${cache.dtype})`, bytesPerToken, bytes(bytesPerToken)))
  ];
}

/** A small map of each head in `answer`. */
function headMaps(answer, layer) {
  const {data, shape} = answer.arrays.attention;
  const size = shape[1] * shape[2];
  const {sink_mass: sink, entropy} = answer.statistics;
  return answer.heads.map((head, i) => {
    const matrix = new PooledMatrix(data.subarray(i * size, (i + 1) * size), shape[1], answer.tokens.length);
    const name = `Layer ${layer}, head ${head}`;
    const attributes = {
      type: "button",
      class: "mini",
      testid: `selected-head-${head}`,
      "data-sink": sink[i],
      on: {click: () => enlarge(name, matrix, answer.tokens)}
    };
    const lines = el(
      "span", {class: "mini-lines"}, `${percent(sink[i])} on the first token`, el("br"), `entropy ${nats(entropy[i])}`);
    return el("button", attributes, el("strong", {}, `Head ${head}`), miniMap(matrix, name), lines);
  });
}

/** The card of the layers. */
export function layerStructure() {
  let layers = [];
  let about = null;
  const selected = el("div", {testid: "selected-layer"});
  const maps = el("div", {class: "minis", testid: "selected-layer-heads"});
  const reading = new Job("selected-layer-job");

  const choose = layer => {
    tower.mark(layer);
    fill(selected, geometry(layers[layer], layers, about));
    fill(maps);
    return reading.replace(`reading the text in layer ${layer}`, async (signal, onProgress) => {
      const wish = {text: byId("layers-text").value, layer, heads: "all", bins: BINS};
      fill(maps, headMaps(await matrices("attention", wish, {signal, onProgress}), layer));
    });
  };
  const tower = new Tower(choose);
  const node = el(
    "div", {class: "card"}, el("h2", {}, "Layers"),
    el(
      "p", {}, "A token passes through the layers from top to bottom. Choose one to see what its ",
      term("head", "heads"), " look at, on the text of the next box."),
    el("div", {class: "side"}, tower.node, el("div", {class: "stack"}, selected, reading.node, maps)));
  return {
    node,
    /** `what` as /api/architecture has it. */
    show: what => {
      about = what;
      layers = expand(what.layers);
      tower.mark(0);
      tower.show(layers);
      choose(0);
    },
    choose: layer => {
      choose(layer);
      scrollTo(node, "start");
    }
  };
}
