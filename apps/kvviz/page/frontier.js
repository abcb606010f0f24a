// SPDX-License-Identifier: MIT
// Memory against loss: a point a policy, with its standard error.
import {el, fill, svg} from "./dom.js";
import {bytes, percent, signed, significant} from "./format.js";

const HEIGHT = 400;
const BOX = {
  left: 74,
  right: 24,
  top: 16,
  bottom: 52
};
const RADIUS = 5;
const LABEL = 15;    // height of a name
const LETTER = 7.2;  // width of a letter, about

/** Linear within ±1, logarithmic beyond: small losses and broken policies in one picture. */
const fold = y => (Math.abs(y) <= 1 ? y : Math.sign(y) * (1 + Math.log10(Math.abs(y))));

function ticksY(low, high) {
  const all = [-1000, -100, -10, -1, 0, 1, 10, 100, 1000, 1e4, 1e5];
  return all.filter(y => fold(y) >= low && fold(y) <= high);
}

/** Multiples of a power of two, at most `limit` of them. */
function ticksX(most, limit) {
  const step = 2 ** Math.ceil(Math.log2(most / limit));
  return Array.from({length: Math.floor(most / step) + 1}, (_, i) => i * step);
}

const SIDE_BY_SIDE = 10;  // pixels between points whose bars would cover each other

/** Where each point stands; those that would cover another stand beside it. Sets `moved` on these. */
function place(policies, {x, y}) {
  const placed = [];
  for (const p of policies) {
    const spot = {
      p,
      x: x(p.resident_bytes),
      y: y(p.delta_ppl),
      top: y(p.delta_ppl + (p.delta_ppl_se ?? 0)) - RADIUS,
      bottom: y(p.delta_ppl - (p.delta_ppl_se ?? 0)) + RADIUS
    };
    const free = at =>
      !placed.some(o => Math.abs(o.x - at) < SIDE_BY_SIDE && o.top < spot.bottom && spot.top < o.bottom);
    const shift = [0, 1, -1, 2, -2, 3, -3, 4, -4].find(k => free(spot.x + k * SIDE_BY_SIDE)) ?? 0;
    placed.push({...spot, x: spot.x + shift * SIDE_BY_SIDE, moved: shift !== 0});
  }
  return placed;
}

/** Names near their points that cover no point, error bar, other name, nor the line of the full cache. */
function label(spots, {y, right, bottom}) {
  const boxes = spots.map(s => ({left: s.x - RADIUS, right: s.x + RADIUS, top: s.top, bottom: s.bottom}));
  boxes.push({left: BOX.left, right, top: y(0) - 2, bottom: y(0) + 2});
  const covered = box => box.left < BOX.left || box.right > right + BOX.right || box.top < BOX.top - 8 ||
    box.bottom > bottom ||
    boxes.some(o => box.left < o.right && o.left < box.right && box.top < o.bottom && o.top < box.bottom);
  const steps = Array.from({length: 40}, (_, i) => (i % 2 === 0 ? -1 : 1) * 4 * Math.ceil(i / 2));
  return spots.map(s => {
    const width = LETTER * s.p.policy.length;
    const tries = [12, 24, 40].flatMap(
      far => steps.flatMap(
        step => [s.x + far, s.x - far - width].map(
          left => ({left, right: left + width, top: s.y + step - LABEL / 2, bottom: s.y + step + LABEL / 2}))));
    const nearest = tries.sort((a, b) => distance(a, s) - distance(b, s)).find(box => !covered(box)) ?? tries[0];
    boxes.push(nearest);
    return {...s, box: nearest};
  });
}

/** From a point to the nearer end of its name; names on the right are a little nearer. */
const distance = (box, s) => box.left > s.x ? Math.hypot(box.left - s.x, (box.top + box.bottom) / 2 - s.y) :
                                              Math.hypot(s.x - box.right, (box.top + box.bottom) / 2 - s.y) + 6;

function errorBar({p, x}, y) {
  const [low, high] = [y(p.delta_ppl - p.delta_ppl_se), y(p.delta_ppl + p.delta_ppl_se)];
  return svg(
    "path", {class: "error-bar", d: `M${x - 4} ${low}H${x + 4}M${x} ${low}V${high}M${x - 4} ${high}H${x + 4}`});
}

/** Where values stand on a chart of `width` pixels. */
function scales(policies, width) {
  const most = Math.max(...policies.map(p => p.resident_bytes)) * 1.08;
  const folded = policies.flatMap(p => [fold(p.delta_ppl - p.delta_ppl_se), fold(p.delta_ppl + p.delta_ppl_se)]);
  const low = Math.min(-0.6, ...folded) - 0.25;
  const high = Math.max(1.2, ...folded) + 0.25;
  const right = width - BOX.right;
  const bottom = HEIGHT - BOX.bottom;
  return {
    most,
    low,
    high,
    right,
    bottom,
    x: value => BOX.left + ((right - BOX.left) * value) / most,
    y: value => BOX.top + ((bottom - BOX.top) * (high - fold(value))) / (high - low),
  };
}

const line = (name, x1, y1, x2, y2) => svg("line", {class: name, x1, y1, x2, y2});

function axes({most, low, high, right, bottom, x, y}) {
  const middle = {class: "strong-text", "text-anchor": "middle"};
  const parts = ticksY(low, high).flatMap(
    tick =>
      [line(tick === 0 ? "zero-line" : "grid-line", BOX.left, y(tick), right, y(tick)),
       svg("text", {x: BOX.left - 8, y: y(tick) + 4, "text-anchor": "end"}, tick === 0 ? "0" : signed(tick, 1)),
  ]);
  for (const tick of ticksX(most, right / 90)) {
    parts.push(line("grid-line", x(tick), BOX.top, x(tick), bottom));
    parts.push(svg("text", {x: x(tick), y: bottom + 18, "text-anchor": "middle"}, bytes(tick)));
  }
  const frame = `M${BOX.left} ${BOX.top}V${bottom}H${right}`;
  const turned = `translate(16 ${(BOX.top + bottom) / 2}) rotate(-90)`;
  parts.push(svg("path", {class: "axis-line", fill: "none", d: frame}));
  parts.push(svg("text", {...middle, x: (BOX.left + right) / 2, y: HEIGHT - 10}, "Most memory of the cache (f32)"));
  parts.push(svg("text", {...middle, transform: turned}, "Perplexity, difference from the full cache"));
  return parts;
}

function point({p, x, y}) {
  const error = p.delta_ppl_se > 0 ? ` ± ${significant(p.delta_ppl_se, 2)}` : "";
  const words =
    `${p.policy}: ${bytes(p.resident_bytes)}, perplexity ${signed(p.delta_ppl)}${error}, recall ${percent(p.recall)}`;
  const data = {testid: `point-${p.policy}`, "data-bytes": p.resident_bytes, "data-delta": p.delta_ppl};
  const name = p.clairvoyant ? "point clairvoyant" : "point";
  return svg("circle", {class: name, cx: x, cy: y, r: RADIUS, ...data}, svg("title", {}, words));
}

function name({p, x, y, box}) {
  const [end, middle] = [box.left > x ? box.left - 2 : box.right + 2, (box.top + box.bottom) / 2];
  const far = Math.hypot(end - x, middle - y) > 2 * RADIUS + 4;
  return [
    far ? line("leader", x, y, end, middle) : null,
    svg("text", {class: "strong-text", x: box.left, y: middle + 4}, p.policy)
  ];
}

function drawing(policies, width) {
  const scale = scales(policies, width);
  const spots = label(place(policies, scale), scale);
  const errors = spots.filter(s => s.p.delta_ppl_se > 0).map(s => errorBar(s, scale.y));
  const all = policies.map(p => `${p.policy} ${bytes(p.resident_bytes)}, ${signed(p.delta_ppl)}`).join("; ");
  const chart = svg(
    "svg", {
      class: "chart",
      viewBox: `0 0 ${width} ${HEIGHT}`,
      role: "img",
      "aria-label": `Memory against loss: ${all}`,
      testid: "frontier"
    },
    axes(scale), errors, spots.map(name), spots.map(point));
  return {chart, moved: spots.some(s => s.moved)};
}

/** Heading, words and chart; policies that have no bytes or loss are left out. */
export function frontier(answer) {
  const policies = answer.policies.filter(p => Number.isFinite(p.resident_bytes) && Number.isFinite(p.delta_ppl));
  if (policies.length === 0) return [];
  const box = el("div", {class: "chart-box"});
  let drawn = 0;
  new ResizeObserver(() => {
    const width = Math.round(box.clientWidth);
    if (width === 0 || width === drawn) return;
    drawn = width;
    const {chart, moved} = drawing(policies, width);
    fill(box, chart);
    beside.hidden = !moved;
  }).observe(box);
  const words =
    "Left is smaller, down is better. Vertical lines are one standard error to each side. The vertical axis is linear between −1 and +1 and logarithmic beyond.";
  const beside = el("p", {class: "hint", hidden: true}, "Points that would cover each other stand side by side.");
  const open = "Open circles read the future: a yardstick, not for use.";
  return [
    el("h2", {}, "Memory against loss"), el("p", {}, words),
    policies.some(p => p.clairvoyant) ? el("p", {class: "hint"}, open) : null, box, beside
  ];
}
