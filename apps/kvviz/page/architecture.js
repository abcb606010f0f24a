// SPDX-License-Identifier: MIT
// Architecture: what the loaded model is made of, and what its cache costs, from its configuration.
import {get} from "./api.js";
import {bars, fact, figureCard} from "./bars.js";
import {field, messages, select} from "./controls.js";
import {byId, el, fill, number} from "./dom.js";
import {bytes, count, grouped, percent, significant} from "./format.js";
import {term} from "./glossary.js";
import {layerAttention} from "./layer_attention.js";
import {layerStructure} from "./layers.js";
import {events, state} from "./state.js";

const SHARE_WARNING = 0.5;
const KINDS = {
  MHA: "multi-head attention: keys and values for every query head",
  GQA: "grouped-query attention: query heads share keys and values in groups",
  MQA: "multi-query attention: one set of keys and values for all query heads"
};

function factText({value, unit}) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return grouped(String(value));
  if (unit === "bytes") return bytes(value);
  return `${Number.isInteger(value) ? count(value) : significant(value, 4)} ${unit}`.trim();
}

const shapeText = shape => grouped(shape).replaceAll(" x ", "\u00a0×\u00a0");

/** Facts whose label leans on the line above it in a list on the console. */
const LABELS = {
  mlp: "Activation of the MLP",
  experts: "Experts of the MLP",
  head_dim: "Numbers in a key (head_dim)",
  dtype: "Sizes are for numbers in",
  free_bytes: "Memory free on this machine"
};

/** Labels of sizes carry them in other units too; the value beside them is enough here. */
const labelText = ({key, label, unit}) =>
  LABELS[key] ?? grouped(unit === "bytes" ? label.replace(/ \([\d.,]+ \w+\)$/, "") : label).trim();

function overview(about) {
  const group = about.attention;
  return [
    el("h2", {}, "Overview"),
    el(
      "p", {testid: "architecture-attention", "data-value": group}, "It uses ", term("gqa", group),
      ` (${KINDS[group] ?? group}).`),
    el(
      "dl", {class: "facts", testid: "architecture-facts"},
      about.facts.map(each => fact(labelText(each), number(`fact-${each.key}`, each.value, factText(each))))),
  ];
}

function cacheCards({cache}) {
  const share = cache.cache_to_weights;
  const large = share > SHARE_WARNING;
  return [
    el("h2", {}, [term("cache"), ` in ${cache.dtype}`]),
    el(
      "div", {class: "figures"},
      figureCard("kv-bytes-per-token", "Each token adds", cache.bytes_per_token, bytes(cache.bytes_per_token)),
      figureCard("kv-bytes-2048", "Cache of 2,048 tokens", cache.bytes_at_2048, bytes(cache.bytes_at_2048)),
      figureCard("kv-weights", "Weights", cache.weights_bytes, bytes(cache.weights_bytes)),
      figureCard("kv-share", "That cache / weights", share, percent(share)),
      figureCard(
        "kv-longest", "Tokens that fit on 80 GiB, within its context", cache.longest_80gib,
        cache.longest_80gib === null ? "no limit" : count(cache.longest_80gib))),
    large ? el(
              "p", {class: "notice warn", testid: "kv-warning"},
              `At 2,048 tokens the cache takes ${
                percent(share)} of what the weights take: for this model, memory is a matter of the cache.`) :
            null,
  ];
}

function lengthBars(about) {
  const choices = Object.keys(about.lengths[0]?.bytes ?? {});
  const box = el("div", {testid: "length-bars"});
  const dtype = select(
    "length-dtype", choices.map(name => [name, name]),
    choices.includes(about.cache.dtype) ? about.cache.dtype : choices[0], () => draw());
  const draw = () => fill(
    box,
    bars(
      about.lengths.map(({tokens, bytes: sizes}) => ({
                          label: `${count(tokens)} tokens`,
                          value: sizes[dtype.value],
                          text: bytes(sizes[dtype.value]),
                          testid: `length-${tokens}`
                        })),
      {name: "Size of the cache by length of the text"}));
  if (about.lengths.length > 0) draw();
  return [
    el("h2", {}, "The cache at longer texts"),
    about.lengths.length === 0 ? el("p", {class: "hint"}, "The model's context is shorter than 512 tokens.") :
                                 [field("Stored as", dtype), box],
    el("p", {class: "hint"}, "Up to the model's context. Integers are packed, with scales counted.")
  ];
}

function projections(about) {
  const rows = about.projections.map(p => ({
                                       label: [p.name, el("span", {class: "hint"}, ` ${shapeText(p.shape)}`)],
                                       value: p.parameters,
                                       text: `${count(p.parameters)} (${percent(p.share)})`,
                                       testid: `projection-${p.name.replaceAll(/[^a-z0-9]+/gi, "-")}`
                                     }));
  return [
    el("h2", {}, ["Weights: ", term("projection", "projections"), " and the rest"]),
    el(
      "p", {class: "hint"}, "Parameters of each matrix, and its share of the model. Layers that are alike stand once."),
    bars(rows, {name: "Parameters by matrix"})
  ];
}

export function architectureTab() {
  const news = messages("architecture-error");
  const parts = {
    overview: el("div", {class: "card", testid: "architecture-overview"}),
    cache: el("div", {class: "card"}),
    lengths: el("div", {class: "card"}),
    projections: el("div", {class: "card", testid: "architecture-projections"})
  };
  const structure = layerStructure();
  const attention = layerAttention(layer => structure.choose(layer));
  let shownFor = null;

  const load = async () => {
    const id = state.model?.id ?? null;
    if (id === null || shownFor === id || byId("panel-architecture").hidden) return;
    shownFor = id;
    news.clear();
    try {
      const about = await get("architecture");
      if (state.model?.id !== id) return;
      fill(parts.overview, overview(about));
      fill(parts.cache, cacheCards(about));
      fill(parts.lengths, lengthBars(about));
      fill(parts.projections, projections(about));
      structure.show(about);
      attention.show();
    } catch (error) {
      shownFor = null;
      news.error(error);
    }
  };
  events.addEventListener("model", () => {
    shownFor = null;
    load();
  });
  const body = el(
    "div", {class: "tab-body"},
    el(
      "div", {class: "intro"}, el("h1", {}, "Architecture"),
      el(
        "p", {}, "What the model is made of, and why its ", term("cache", "KV cache"),
        " is as large as it is: 2 (a key and a value) × layers × KV heads × head_dim × bytes of a number, for each token.")),
    news.node, el("div", {class: "columns"}, parts.overview, el("div", {class: "stack"}, parts.cache, parts.lengths)),
    structure.node, attention.node, parts.projections);
  body.addEventListener("shown", load);
  return body;
}
