// SPDX-License-Identifier: MIT
// What a simulation found: a sentence, numbers by policy, memory against loss, and who was thrown away when.
import {decode} from "./api.js";
import {figureCard} from "./bars.js";
import {el, fill, number} from "./dom.js";
import {bytes, count, fixed, list, percent, signed, significant} from "./format.js";
import {frontier} from "./frontier.js";
import {term} from "./glossary.js";
import {events} from "./state.js";
import {timelines} from "./timelines.js";

const BLOCK = 16;
const MOST_NAMED = 16;
const known = p => Number.isFinite(p.delta_ppl_se) && p.delta_ppl_se !== null;
const unclear = p => known(p) && Math.abs(p.delta_ppl) <= 2 * p.delta_ppl_se;
const clear = p => known(p) && !unclear(p);
const keys = x => (Number.isInteger(x) || x >= 1000 ? count(x) : significant(x, 3));
/** Keys that a KV head may hold, as the server counted them. */
const budgetOf = answer => answer.policies.find(p => p.policy !== "full")?.budget_tokens ?? answer.tokens.length;

/** What the policy that loses most loses. */
function loss(p, answer) {
  const times = p.ppl / answer.full.ppl;
  const why = p.policy === "window" && answer.timeline.sinks.length > 0 ? " It throws the attention sinks away." : "";
  return `${p.policy} has the highest perplexity, ${significant(p.ppl, 4)}: ${
    fixed(times, times < 10 ? 2 : 0)} times that of the full cache.${why}`;
}

/** What the numbers say, as a reader would put it. */
function verdict(answer) {
  const others = answer.policies.filter(p => p.policy !== "full");
  const n = answer.tokens.length;
  const facts = `With the full cache of ${count(n)} keys a head the perplexity is ${significant(answer.full.ppl, 4)}.`;
  if (others.length === 0) return `${facts} Nothing was evicted.`;
  const budget = budgetOf(answer);
  if (budget >= n) return `${facts} The budget of ${keys(budget)} keys holds the whole text: nothing had to leave.`;
  const worst = others.reduce((a, b) => (b.delta_ppl > a.delta_ppl ? b : a));
  const safe = others.filter(p => !p.clairvoyant && unclear(p)).map(p => p.policy);
  const parts = [facts, `${keys(budget)} keys are ${percent(budget / n, 0)} of that.`];
  if (!unclear(worst) && worst.delta_ppl > 0) parts.push(loss(worst, answer));
  if (safe.length > 0)
    parts.push(`${
      list(
        safe,
        MOST_NAMED)} cannot be told from the full cache on this text: the difference is within two standard errors.`);
  if (!others.some(known)) parts.push("The text is too short for standard errors: take these numbers as a hint.");
  return parts.join(" ");
}

/** What it changed to keep the first tokens instead of as many more of the newest; `answer` null: nothing has run. */
function firstTokensStory(answer) {
  const idea =
    "Left to itself, window keeps only the newest keys. streaming_llm keeps as many, but four of them are the first tokens.";
  const [window, streaming] = ["window", "streaming_llm"].map(name => answer?.policies.find(p => p.policy === name));
  if (window === undefined || streaming === undefined)
    return `${idea} If this model rests on them, window does far more damage: compare the two to see.`;
  if (window.evictions === 0) return `${idea} At this budget nothing had to leave: a smaller one shows a difference.`;
  const numbers = `Here the perplexity is ${significant(window.ppl, 4)} with window, ${
    significant(streaming.ppl, 4)} with streaming_llm, ${significant(answer.full.ppl, 4)} with the full cache`;
  if (!known(window)) return `${idea} ${numbers}; the text is too short to say more.`;
  if (unclear(window) || window.delta_ppl < 0)
    return `${idea} ${numbers}: no damage that shows. On this text the model does without its first tokens.`;
  return streaming.delta_ppl < window.delta_ppl / 2 ?
    `${idea} ${numbers}: with the first tokens most of the damage is gone. This model rests on them.` :
    `${idea} ${numbers}: that does not take most of the damage away. On this text it is not the first tokens that are missed most.`;
}

const difference = p =>
  (p.policy === "full" || !known(p) ? signed(p.delta_ppl) :
                                      `${signed(p.delta_ppl)} ± ${significant(p.delta_ppl_se, 2)}`);

/** The numbers of a policy; `word` explains the heading. */
const COLUMNS = [
  {key: "ppl", word: "perplexity", label: "Perplexity", raw: p => p.ppl, text: p => significant(p.ppl, 4)},
  {key: "delta", word: "difference", label: "Against full ± s.e.", raw: p => p.delta_ppl, text: difference},
  {key: "kl", word: "kl", label: "KL [nats]", raw: p => p.kl, text: p => significant(p.kl, 3)},
  {
    key: "agreement",
    word: "agreement",
    label: "Top-1 agreement",
    raw: p => p.top1_agreement,
    text: p => percent(p.top1_agreement)
  },
  {
    key: "recall",
    word: "recall",
    label: "Recall (bound)",
    raw: p => p.recall,
    text: p => `${percent(p.recall)} (${percent(p.bound)})`
  },
  {
    key: "hit-rate",
    word: "hits",
    label: "Hit rate",
    raw: p => p.demand_hit_rate,
    text: p => percent(p.demand_hit_rate)
  },
  {key: "hits", label: "Hits", raw: p => p.hits, text: p => count(p.hits)},
  {key: "misses", label: "Misses", raw: p => p.misses, text: p => count(p.misses)},
  {key: "evictions", label: "Evictions", raw: p => p.evictions, text: p => count(p.evictions)},
  {key: "sinks", word: "sink", label: "Sinks kept", raw: p => p.retained_sinks, text: p => count(p.retained_sinks)},
  {key: "heavy", word: "heavy", label: "Heavy kept", raw: p => p.retained_heavy, text: p => count(p.retained_heavy)},
  {key: "cached", label: "Keys held", raw: p => p.cached, text: p => keys(p.cached)},
  {key: "bytes", label: "Memory, most", raw: p => p.resident_bytes, text: p => bytes(p.resident_bytes)},
];

function cell(p, {key, label, raw, text}) {
  const more = key !== "delta" ? {} : {
    "data-se": p.delta_ppl_se,
    class: `number ${p.policy !== "full" && clear(p) ? (p.delta_ppl > 0 ? "bad" : "good") : ""}`
  };
  return el("td", {"data-label": label}, number(`${key}-${p.policy}`, raw(p), text(p), more));
}

function table(answer) {
  const future = answer.policies.some(p => p.clairvoyant) ? " * reads the future: a yardstick, not for use." : "";
  const marked = answer.policies.some(p => p.policy !== "full" && clear(p)) ?
    " In colour: more than two standard errors from the full cache." :
    "";
  const evicts = answer.policies.some(p => p.evictions > 0);
  const words = `Predictions from token ${count(answer.score_from)} on${
    evicts ? ", where every cache has begun to evict" : ""}. Counts are over all layers and KV heads; keys held and budget are for one KV head; memory is of the keys and values in f32 with what the policy keeps beside them.${
    marked}${future}`;
  const head = ({word, label}) => el("th", {scope: "col"}, word ? term(word, label) : label);
  const row = p => el(
    "tr", {testid: `row-${p.policy}`}, el("th", {scope: "row", title: p.summary}, p.policy, p.clairvoyant ? " *" : ""),
    COLUMNS.map(column => cell(p, column)));
  return el(
    "div", {class: "table-box"},
    el(
      "table", {class: "stacking dense", testid: "eviction-table"}, el("caption", {}, words),
      el("thead", {}, el("tr", {}, el("th", {scope: "col"}, "Policy"), COLUMNS.map(head))),
      el("tbody", {}, answer.policies.map(row))));
}

/** The two cards of a single policy. */
function singleCards(p, answer) {
  return el(
    "div", {class: "columns", testid: "single-cards"},
    el(
      "div", {class: "card"}, el("h3", {}, `${p.policy}: what happened`),
      el(
        "div", {class: "figures"}, figureCard("single-processed", "Tokens processed", p.processed, count(p.processed)),
        figureCard("single-hits", term("hits", "Hits"), p.hits, count(p.hits)),
        figureCard("single-misses", term("hits", "Misses"), p.misses, count(p.misses)),
        figureCard("single-evictions", "Evictions", p.evictions, count(p.evictions)),
        figureCard("single-sinks", "Sinks kept", p.retained_sinks, count(p.retained_sinks), "is-sink"),
        figureCard("single-heavy", "Heavy hitters kept", p.retained_heavy, count(p.retained_heavy), "is-heavy"))),
    el(
      "div", {class: "card"}, el("h3", {}, "The cache at the end"),
      el(
        "div", {class: "figures"}, figureCard("single-cached", "Keys held of a KV head", p.cached, keys(p.cached)),
        figureCard(
          "single-blocks", `Blocks of ${BLOCK} tokens`, Math.ceil(p.cached / BLOCK),
          count(Math.ceil(p.cached / BLOCK))),
        figureCard("single-hit-rate", term("hits", "Hit rate"), p.demand_hit_rate, percent(p.demand_hit_rate)),
        figureCard(
          "single-bytes", "Memory, most", p.resident_bytes,
          `${bytes(p.resident_bytes)} of ${bytes(answer.full.bytes)}`))));
}

export function evictionResult() {
  const slots = {
    table: el("div", {class: "card"}),
    timelines: el("div", {class: "card"}),
    frontier: el("div", {class: "card"})
  };
  const node = el("div", {class: "stack", testid: "eviction-result"}, slots.table, slots.timelines, slots.frontier);
  let repaint = () => {};
  let shown = null;
  events.addEventListener("theme", () => repaint());
  const waiting = () => {
    shown = null;
    repaint = () => {};
    fill(
      slots.table, el("h2", {}, "Result"),
      el(
        "p", {class: "hint"},
        "Compare the policies, or run one: perplexity, its difference with a standard error, recall, counts and bytes stand here."));
    fill(
      slots.timelines, el("h2", {}, "The cache over time"),
      el("p", {class: "hint"}, "Which key was held, and when it left, stands here after a run."));
    fill(
      slots.frontier, el("h2", {}, "Memory against loss"),
      el("p", {class: "hint"}, "What each policy loses for the memory it takes stands here after a run."));
    node.dataset.policies = "";
  };
  const show = answer => {
    shown = answer;
    const policies = answer.policies.map(p => ({...p, last: p.timeline ? decode(p.timeline, Int32Array) : null}));
    fill(
      slots.table, el("h2", {}, "Result"), el("p", {class: "finding", testid: "eviction-finding"}, verdict(answer)),
      el(
        "p", {class: "hint"},
        el(
          "span", {testid: "eviction-tokens", "data-value": answer.tokens.length},
          `${count(answer.tokens.length)} tokens`),
        ", budget ",
        el(
          "span", {testid: "eviction-budget-tokens", "data-value": budgetOf(answer)}, `${keys(budgetOf(answer))} keys`),
        " of each KV head."),
      policies.length === 1 ? singleCards(policies[0], answer) : null, table(answer));
    const pictures = timelines(answer, policies.filter(p => p.last !== null));
    fill(slots.timelines, pictures.content);
    ({repaint} = pictures);
    fill(slots.frontier, frontier(answer));
    node.dataset.policies = policies.map(p => p.policy).join(",");
  };
  waiting();
  return {node, slots, show, clear: waiting, firstTokensStory: () => firstTokensStory(shown)};
}
