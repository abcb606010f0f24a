// SPDX-License-Identifier: MIT
// The words of the page, each explained in a sentence or two where it is used.
import {el, fill} from "./dom.js";

const WORDS = {
  token: [
    "Token",
    "A piece of text, often a word or a part of one, with a number of its own. A model reads and writes tokens, not letters."
  ],
  query: [
    "Query",
    "A vector that an attention head computes for a token when it reads it: what this token is looking for. It is compared with the keys of all tokens up to this one."
  ],
  key: [
    "Key",
    "A vector that a KV head computes once for each token and keeps: what this token answers to. The better it matches a query, the more attention its token gets."
  ],
  value: [
    "Value",
    "A vector that is kept beside the key: what a token passes on when it is attended to. A head's output is the mean of the values, weighted by attention."
  ],
  cache: [
    "KV cache",
    "The keys and values of all tokens so far, in every layer. Without it, each new token would compute them all again. It grows by the same number of bytes with every token."
  ],
  attention: [
    "Attention weight",
    "How much of a key's token goes into the output for a query. The weights of one query are one row of the map; they add up to 100 %. A token sees itself and what came before it, so the upper right stays empty."
  ],
  layer:
    ["Layer", "Models work in layers, one after the other; each has attention heads of its own. Layer 0 is the first."],
  head: [
    "Head",
    "One of several attention computations that run side by side in a layer, each with its own queries. “Mean” averages the weights of all heads of the layer."
  ],
  sink: [
    "Attention sink",
    "A token that gets much attention from nearly every later token, whatever it says; mostly the first one. The weights of a query must add up to 100 %, so a head that finds nothing to look at puts them there. Here: one of the first 16 tokens whose mean weight from the queries at or behind it is above the sink threshold."
  ],
  heavy: [
    "Heavy hitter",
    "A token that is no sink and still gets much attention from later tokens. Here: its mean weight from the queries behind it (at least 4) is above the heavy threshold."
  ],
  budget: [
    "Budget",
    "How many keys each KV head may hold. When one more arrives, the policy must choose one that leaves for good."
  ],
  policy: [
    "Eviction policy",
    "The rule that says which key leaves a full cache. Some look at position alone, some at the attention that a key has received."
  ],
  recent: ["Recent window", "The newest keys, which never leave. Left empty, each policy takes what its authors did."],
  loss: [
    "Loss",
    "−ln p of the token that came, in nats: 0 if the model was certain of it, 0.7 at 50 %, 2.3 at 10 %, 4.6 at 1 %. High: a surprise."
  ],
  perplexity: [
    "Perplexity",
    "e to the mean loss. 40 means: on average as unsure as a choice among 40 equally likely tokens. Lower is better; what counts here is how much it rises when keys leave."
  ],
  difference: [
    "Paired difference",
    "Perplexity with evictions minus perplexity with the full cache, on the same tokens. ± is one standard error: a difference smaller than two of them cannot be told from chance on a text this short."
  ],
  kl: [
    "KL divergence",
    "How far the predictions are from those of the full cache, in nats per token: 0 if they are the same."
  ],
  agreement:
    ["Top-1 agreement", "Share of the tokens for which the most likely next token is the same as with the full cache."],
  recall: [
    "Attention recall",
    "Share of the full cache's attention that falls on keys still held. The bound is the most that any choice of as many keys could have."
  ],
  hits: [
    "Hits and misses",
    "A demand is a key that the full cache would give at least max(1 %, 2 / (step + 1)) of a query's attention. It is a hit if the key is still held, a miss if it has left. Counted over all layers and heads."
  ],
  entropy: [
    "Entropy",
    "How spread out the attention of a query is, in nats: 0 if one key gets all, ln n if n keys get the same."
  ],
  tier: [
    "Memory tier",
    "A memory that keys and values can lie in: fast and small (the accelerator's HBM), or slow and large (RAM, disk)."
  ],
  block:
    ["Block", "Neighbouring tokens of one layer whose keys and values are allocated together, as paged caches do."],
  gqa: [
    "MHA, GQA, MQA",
    "Multi-head attention keeps keys and values for every query head, grouped-query attention shares them within groups of heads, multi-query attention has one set for all. Fewer KV heads, smaller cache."
  ],
  projection: [
    "Projection",
    "A matrix of learned weights. The query, key and value projections turn a token's vector into its query, key and value."
  ],
};

const box = el("div", {class: "word-box", role: "tooltip", id: "word-box", testid: "word-box", hidden: true});
let opener = null;

function close() {
  box.hidden = true;
  opener?.setAttribute("aria-expanded", "false");
  opener?.removeAttribute("aria-describedby");
  opener = null;
}

function open(button, word) {
  const [title, text] = WORDS[word];
  fill(box, el("strong", {}, title), el("p", {}, text));
  box.hidden = false;
  const place = button.getBoundingClientRect();
  const room = document.documentElement.clientWidth;
  const left = Math.min(Math.max(8, place.left), Math.max(8, room - box.offsetWidth - 8));
  box.style.left = `${left + scrollX}px`;
  box.style.top = `${place.bottom + scrollY + 6}px`;
  opener = button;
  button.setAttribute("aria-expanded", "true");
  button.setAttribute("aria-describedby", "word-box");
}

/** `text` as a button that shows what the word means. */
export function term(word, text = WORDS[word][0]) {
  const button = el(
    "button", {
      type: "button",
      class: "term",
      "aria-expanded": "false",
      testid: `term-${word}`,
      on: {
        click: () => (opener === button ? close() : open(button, word)),
        keydown: event => event.key === "Escape" && close(),
        blur: close,
      },
    },
    text);
  return button;
}

/** To be called once, when the page is up. */
export function startGlossary() {
  document.body.append(box);
  document.addEventListener("keydown", event => event.key === "Escape" && close());
}
