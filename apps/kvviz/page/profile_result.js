// SPDX-License-Identifier: MIT
// What a profile found: cards, breakdown, layers, tiers, blocks, context, growth.
import {bars, figureCard, stacked, swatch} from "./bars.js";
import {BlockMap} from "./block_map.js";
import {colour, tierColour} from "./colours.js";
import {el, fill, number} from "./dom.js";
import {bytes, capacity, count, duration, percent} from "./format.js";
import {term} from "./glossary.js";
import {events} from "./state.js";

function summary({summary: s, tokens, dtype}, asked) {
  return [
    el(
      "h2", {},
      [
        term("cache"),
        ` of ${count(tokens)} tokens in ${dtype}${asked.batch > 1 ? `, ${count(asked.batch)} sequences` : ""}`
      ]),
    el(
      "div", {class: "figures"}, figureCard("profile-cache", "Whole cache", s.cache_bytes, bytes(s.cache_bytes)),
      figureCard("profile-per-token", "Each token adds", s.bytes_per_token, bytes(s.bytes_per_token)),
      figureCard(
        "profile-per-token-layer", "of that, in each layer", s.bytes_per_token_layer, bytes(s.bytes_per_token_layer)),
      figureCard("profile-weights-bytes", "Weights", s.weights_bytes, bytes(s.weights_bytes)),
      figureCard("profile-share", "Cache / weights", s.cache_to_weights, percent(s.cache_to_weights)))
  ];
}

function breakdown({summary: s}) {
  const parts = [
    ["keys", "Keys", s.key_bytes, "series-0"], ["values", "Values", s.value_bytes, "series-1"],
    ["weights", "Weights", s.weights_bytes, "held"],
    ["activations", "Activations (estimate)", s.activation_bytes, "series-2"]
  ].filter(part => Number.isFinite(part[2]));
  return [
    el("h2", {}, "What memory is taken by"),
    stacked(parts.map(([, label, value, name]) => ({label, value, fill: colour(name)})), {name: "Memory"}),
    el(
      "div", {class: "table-box"},
      el(
        "table", {testid: "breakdown"},
        el("thead", {}, el("tr", {}, ["Part", "Bytes", "Share"].map(text => el("th", {scope: "col"}, text)))),
        el(
          "tbody", {},
          parts.map(
            ([key, label, value, name]) => el(
              "tr", {}, el("th", {scope: "row"}, swatch(colour(name)), label),
              el("td", {}, number(`breakdown-${key}`, value, bytes(value))),
              el("td", {}, percent(value / s.total_bytes)))),
          el(
            "tr", {}, el("th", {scope: "row"}, "Together"),
            el("td", {}, number("breakdown-total", s.total_bytes, bytes(s.total_bytes))), el("td", {}, percent(1))))))
  ];
}

function context({tokens, context: most}) {
  if (!most) return [el("h2", {}, "Context"), el("p", {class: "hint"}, "The model names no longest context.")];
  const used = tokens / most;
  return [
    el("h2", {}, "Context"),
    bars(
      [{
        label: "in use",
        value: Math.min(1, used),
        text: percent(used),
        testid: "context-used",
        fill: used > 1 ? colour("bad") : null
      }],
      {whole: 1, name: "Context in use"}),
    el(
      "div", {class: "figures"}, figureCard("context-max", "Longest text [tokens]", most, count(most)),
      figureCard("context-now", "This one [tokens]", tokens, count(tokens)),
      figureCard("context-left", "Left [tokens]", Math.max(0, most - tokens), count(Math.max(0, most - tokens)))),
    used > 1 ?
      el(
        "p", {class: "notice warn", testid: "context-over"},
        `Longer than the ${count(most)} tokens that the model was made for: the bytes hold, the model would not.`) :
      null
  ];
}

function tierPanel(answer) {
  const rows = answer.tiers.map(
    (tier, i) => el(
      "tr", {testid: `tier-row-${i}`}, el("th", {scope: "row"}, swatch(tierColour(i)), tier.name),
      el(
        "td", {"data-label": "Room for the cache"},
        number(`tier-${i}-capacity-bytes`, tier.capacity, capacity(tier.capacity))),
      el("td", {"data-label": "Blocks"}, number(`tier-${i}-blocks`, tier.blocks, count(tier.blocks))),
      el("td", {"data-label": "Cache here"}, number(`tier-${i}-bytes`, tier.bytes, bytes(tier.bytes))),
      el("td", {"data-label": "Share of the cache"}, percent(tier.bytes / answer.summary.cache_bytes)),
      el(
        "td", {"data-label": "Time to read it once"},
        number(`tier-${i}-seconds`, tier.step_seconds, duration(tier.step_seconds)))));
  const head = ["Tier", "Room for the cache", "Blocks", "Cache here", "Share of the cache", "Time to read it once"];
  return [
    el("h2", {}, "Which memory holds how much"),
    stacked(
      answer.tiers.map((tier, i) => ({label: tier.name, value: tier.bytes, fill: tierColour(i)})),
      {name: "Cache by tier", total: answer.summary.cache_bytes}),
    el(
      "div", {class: "table-box"},
      el(
        "table", {class: "stacking", testid: "tier-table"},
        el("thead", {}, el("tr", {}, head.map(text => el("th", {scope: "col"}, text)))), el("tbody", {}, rows))),
    el(
      "p", {class: "hint"},
      "Tiers are filled by capacity: the newest blocks and those of the first tokens, where sinks are, go to the fastest. Each decode step reads the whole cache once."),
    answer.l2 ? el(
                  "p", {class: "hint"}, "L2 is no tier: data passes through it. The ",
                  number("l2-bytes", answer.l2.bytes, capacity(answer.l2.bytes)), " of an H100's could hold ",
                  number("l2-share", answer.l2.share, percent(answer.l2.share)), " of this cache at a time.") :
                null
  ];
}

function growth({lengths, summary: s}) {
  const rows = lengths.map(
    row => el(
      "tr", {}, el("th", {scope: "row"}, `${count(row.tokens)}\u00a0tokens`),
      el("td", {}, number(`scaling-cache-${row.tokens}`, row.cache_bytes, bytes(row.cache_bytes))),
      el("td", {}, number(`scaling-total-${row.tokens}`, row.total_bytes, bytes(row.total_bytes)))));
  return [
    el("h2", {}, "How it grows"),
    lengths.length === 0 ?
      el("p", {class: "hint"}, "The model's context is shorter than 512 tokens.") :
      el(
        "div", {class: "table-box"},
        el(
          "table", {testid: "scaling"},
          el(
            "thead", {},
            el(
              "tr", {},
              [
                "Length", "Cache",
                Number.isFinite(s.weights_bytes) && s.weights_bytes !== null ? "With weights and activations" :
                                                                               "With activations"
              ].map(text => el("th", {scope: "col"}, text)))),
          el("tbody", {}, rows)))
  ];
}

export function profileResult() {
  const map = new BlockMap();
  const cards = Object.fromEntries(["summary", "breakdown", "tiers", "context", "layers", "growth"].map(
    name => [name, el("div", {class: "card", testid: `profile-${name}`})]));
  const blocks = el("div", {class: "card"}, el("h2", {}, "Block map"), map.note, map.node, map.legend, map.details);
  const node = el(
    "div", {class: "stack", testid: "profile-result", hidden: true}, cards.summary, cards.tiers, blocks,
    el("div", {class: "columns"}, cards.breakdown, cards.context),
    el("div", {class: "columns"}, cards.layers, cards.growth));
  let last = null;
  const show = (answer, asked) => {
    last = [answer, asked];
    node.hidden = false;
    fill(cards.summary, summary(answer, asked));
    fill(cards.tiers, tierPanel(answer));
    fill(cards.breakdown, breakdown(answer));
    fill(cards.context, context(answer));
    fill(
      cards.layers, el("h2", {}, "Layer by layer"),
      el(
        "div", {class: "tower-scroll"},
        bars(
          answer.layer_bytes.map(
            (size, layer) =>
              ({label: `Layer ${layer}`, value: size, text: bytes(size), testid: `layer-bytes-${layer}`})),
          {name: "Bytes of the cache by layer"})),
      el("p", {class: "hint"}, "Layers of equal heads and window take equally much."));
    fill(cards.growth, growth(answer));
    map.show(answer);
  };
  events.addEventListener("theme", () => last !== null && show(...last));
  return {
    node,
    show,
    clear: () => {
      last = null;
      node.hidden = true;
    }
  };
}
