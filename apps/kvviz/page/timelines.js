// SPDX-License-Identifier: MIT
// The cache over time: a picture a policy, and the text as a cache holds it at one step.
import {Chips} from "./chips.js";
import {field, select, slider} from "./controls.js";
import {el, fill, number} from "./dom.js";
import {count, percent, plural} from "./format.js";
import {term} from "./glossary.js";
import {MOST_CELLS, Timeline} from "./timeline.js";

/** Which tokens of the text a cache holds after a step. */
function snapshot(answer, drawings) {
  const {sinks, heavy} = answer.timeline;
  const worst = answer.policies.reduce((a, b) => (b.delta_ppl > a.delta_ppl ? b : a)).policy;
  const chips = new Chips("snapshot-tokens", "The text as the cache holds it");
  const says = el("p", {class: "hint", testid: "snapshot-text"});
  const which = select("snapshot-policy", drawings.map(d => [d.policy.policy, d.policy.policy]), worst, () => show());
  const step = slider("snapshot-step", "Step", {
    min: 0,
    max: answer.tokens.length - 1,
    step: 1,
    value: answer.tokens.length - 1,
    format: x => `after token ${count(x)}`,
    onInput: () => show()
  });
  chips.show(answer.tokens.map(text => ({text})));
  chips.mark({sinks, heavy});
  let asked = 0;
  const paint = () => {
    const now = step.value;
    const drawing = drawings.find(d => d.policy.policy === which.value);
    const kept = answer.tokens.reduce((sum, _, key) => sum + (drawing.held(key, now) ? 1 : 0), 0);
    answer.tokens.forEach((_, key) => {
      const chip = chips.node.children[key];
      chip.hidden = key > now;
      chip.classList.toggle("gone", !drawing.held(key, now));
      chip.classList.toggle("now", key === now);
    });
    const lost = sinks.filter(key => key <= now && !drawing.held(key, now));
    fill(
      says, number("snapshot-held", kept, plural(kept, "key")),
      ` attended to at this step, of ${count(now + 1)} read (${
        percent(kept / (now + 1), 0)}): those held, and the newest token's own.${
        lost.length > 0 ? ` Gone: ${plural(lost.length, "attention sink")}.` : ""}`);
    for (const each of drawings) {
      each.step = now;
      each.draw();
    }
  };
  const show = () => {
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(paint);
  };
  show();
  const node = el(
    "div", {}, el("h3", {}, "The text, as a cache holds it"),
    el("div", {class: "row"}, field("Policy", which), el("div", {class: "wide"}, step.node)), says, chips.node);
  return {
    node,
    go: (policy, at) => {
      which.value = policy;
      step.value = at;
      show();
    }
  };
}

/** `content`: heading, pictures and the text at one step; `repaint()` draws them in the colours of another theme. */
export function timelines(answer, policies) {
  if (policies.length === 0) return {content: [], repaint: () => {}};
  let text = null;
  const drawings = policies.map(policy => new Timeline(answer, policy, (name, step) => text.go(name, step)));
  const {layer, kv_head: kvHead} = answer.timeline;
  text = snapshot(answer, drawings);
  const each = Math.ceil(answer.tokens.length / MOST_CELLS);
  const content = [
    el("h2", {}, "The cache over time"),
    el(
      "p", {},
      `Every row is one key of layer ${layer}, KV head ${
        kvHead}, from the step at which its token is read to the step at which it leaves. Sinks and `,
      term("heavy", "heavy hitters"), " are those of the full cache.",
      " Rows of sinks are drawn thicker than they are.",
      each > 1 ? ` Of a text this long, about one key in ${each} is drawn.` : ""),
    el(
      "p", {class: "key-line"}, el("span", {class: "legend-held"}, "held"),
      el("span", {class: "legend-sink"}, "attention sink, held"),
      el("span", {class: "legend-heavy"}, "heavy hitter, held"), el("span", {class: "legend-gone"}, "evicted"),
      el("span", {class: "legend-none"}, "not read yet")),
    el("div", {class: "timelines"}, drawings.map(d => d.node)),
    text.node,
  ];
  return {content, repaint: () => drawings.forEach(d => d.repaint())};
}
