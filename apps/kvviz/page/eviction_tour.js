// SPDX-License-Identifier: MIT
// The guided tour of Eviction Sim.
import {tour} from "./tour.js";

/** `setup` is the card of settings, `result` as evictionResult() has it; `compare` does what its button does. */
export function evictionTour({setup, result, compare}) {
  const {slots} = result;
  return tour("eviction", [
    {
      target: setup,
      title: "A cache that is too small",
      text: [
        "The budget says how many keys each head may keep: a quarter of the text, unless you change it. Once it is full, for every new token one key must go, for good. The policy chooses which.",
        "Compare the ticked policies. The model reads the same text with each, exactly as it would with such a cache."
      ],
      action: {text: "Compare the policies", run: compare, next: true}
    },
    {
      target: slots.table,
      title: "The price is paid in predictions",
      text: () =>
        ["Perplexity says how unsure the model is about the next token. “full” keeps everything: the rest is compared with it.",
         result.firstTokensStory()]
    },
    {
      target: slots.timelines,
      title: "See what was thrown away",
      text: [
        "Each line from left to right is one key: grey while it is held, pink if it is a sink. Where keys had to leave, window, left to itself, lets the lines of the first tokens end; in streaming_llm they go on.",
        "Move the step below to see which tokens of the text a cache still holds."
      ]
    },
    {
      target: slots.frontier,
      title: "Memory against loss",
      text: [
        "Further down is better, further left is smaller. Vertical lines are standard errors: policies whose lines overlap widely cannot be told apart on a text this short. Longer texts tell more: choose a sample text above."
      ]
    },
  ]);
}
