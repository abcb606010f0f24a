// SPDX-License-Identifier: MIT
// All layers at once: a small map of each, the mean over its heads, with its statistics.
import {matrices} from "./api.js";
import {figureCard} from "./bars.js";
import {button} from "./controls.js";
import {el, fill} from "./dom.js";
import {closeEnlarged, enlarge} from "./enlarged.js";
import {count, list, nats, percent} from "./format.js";
import {term} from "./glossary.js";
import {miniMap} from "./heatmap.js";
import {Job, restWhile} from "./job.js";
import {PooledMatrix} from "./matrix.js";
import {textBox} from "./text_box.js";

const TEXT = "The transformer architecture has revolutionized natural language processing.";
const BINS = 80;


function statistics(mean) {
  return el(
    "div", {class: "figures", testid: "layers-mean"},
    figureCard("layers-entropy", ["Mean ", term("entropy", "entropy")], mean.entropy, nats(mean.entropy, 3)),
    figureCard("layers-small", "Keys below 1 % of their row's largest", mean.small_share, percent(mean.small_share)),
    figureCard("layers-top5", "Five heaviest keys get", mean.top5_mass, percent(mean.top5_mass)),
    figureCard("layers-first", "First four tokens get", mean.first_mass, percent(mean.first_mass)),
    figureCard(
      "layers-sinks", [term("sink", "Sinks"), ", all layers averaged"], mean.sinks.length, count(mean.sinks.length),
      "is-sink"),
    figureCard(
      "layers-heavy", [term("heavy", "Heavy hitters"), ", all layers averaged"], mean.heavy.length,
      count(mean.heavy.length), "is-heavy"));
}

function card(answer, row, index, onChoose) {
  const {data, shape} = answer.arrays.attention;
  const cells = shape[1] * shape[2];
  const matrix = new PooledMatrix(data.subarray(index * cells, (index + 1) * cells), shape[1], answer.tokens.length);
  const name = `Layer ${row.layer}, mean over its heads`;
  const lines = el(
    "span", {class: "mini-lines"}, `${percent(row.first_mass)} on the first four`, el("br"),
    `entropy ${nats(row.entropy)}`, el("br"), `sink positions: ${list(row.sinks, 3)}`);
  const open = () => {
    const choose = button("enlarged-choose", "Show this layer's heads", () => {
      closeEnlarged();
      onChoose(row.layer);
    });
    const words = `Positions of sinks: ${list(row.sinks)}. Of heavy hitters: ${list(row.heavy)}. ${
      percent(row.small_share)} of the visible keys get less than 1 % of their row's largest weight.`;
    enlarge(name, matrix, answer.tokens, {marks: row, more: [el("p", {class: "hint"}, words), choose]});
  };
  return el(
    "button", {
      type: "button",
      class: "mini",
      testid: `layer-map-${row.layer}`,
      "data-entropy": row.entropy,
      "data-first": row.first_mass,
      on: {click: open}
    },
    el("strong", {}, `Layer ${row.layer}`), miniMap(matrix, name), lines);
}

/** `onChoose(layer)` when a reader wants to see a layer's heads. */
export function layerAttention(onChoose) {
  const maps = el("div", {class: "minis", testid: "layer-maps"});
  const summary = el("div");
  const says = el("p", {class: "finding", testid: "layers-finding", hidden: true});
  const work = new Job("layers-job");
  const run = () => work.run("reading the text in all layers", async (signal, onProgress) => {
    const answer = await matrices("attention/layers", {text: text.value, bins: BINS}, {signal, onProgress});
    const best = answer.layers.reduce((a, b) => (b.first_mass > a.first_mass ? b : a));
    fill(summary, statistics(answer.mean));
    says.hidden = false;
    says.textContent = `On this text of ${count(answer.tokens.length)} tokens, layer ${
      best.layer} rests most on the beginning: its first four tokens get ${percent(best.first_mass)} of the attention.`;
    fill(maps, answer.layers.map((row, i) => card(answer, row, i, onChoose)));
  });
  const text = textBox("layers-text", "Text", {text: TEXT, rows: 2, onSubmit: run});
  const go = button("layers-run", "Analyze all layers", run, "primary");
  restWhile(work, go);
  const node = el(
    "div", {class: "card"}, el("h2", {}, "Attention, layer by layer"),
    el("p", {}, "One map a layer, the mean over its heads. Click one to enlarge it."), text.node,
    el("div", {class: "actions"}, go), work.node, says, summary, maps);
  const show = () => {
    fill(maps);
    fill(summary);
    says.hidden = true;
    text.measure();
  };
  return {node, show};
}
