// SPDX-License-Identifier: MIT
// The guided tour of Live Stream.
import {tour} from "./tour.js";

/**
 * `board` is what the steps stand before, `view` the cards of StreamView; `start` and `seek` do what their buttons do.
 */
export function streamTour({board, controls, thresholds, view, start, seek}) {
  return tour("stream", [
    {
      target: controls,
      place: board,
      title: "A model reads your text, one token at a time",
      text: [
        "For every token the model computes a query, a key and a value, and keeps key and value in its cache. The query then decides how much it takes from each token so far.",
        "Press Start and watch. Nothing is prepared: each step is one real step of the loaded model."
      ],
      action: {text: "Start", run: start, next: true}
    },
    {
      target: view.map,
      place: board,
      title: "One row a token",
      text: [
        "The newest row at the bottom shows where the newest token looks. The upper right is empty, for a token cannot look ahead.",
        "Look for a column on the left that stands out: in many models nearly every token looks at it. Unless you chose a layer, this is the one whose first tokens get most, so if there is such a column, it is here."
      ]
    },
    {
      target: view.say,
      place: board,
      title: "Such a column is an attention sink",
      text: [
        "The weights of a row must add up to 100 %. A head that has nothing to look for needs a place to put them, and in many models takes the first token, whatever it says. It serves as a place to rest.",
        "Heads and models differ. Let the page find the head that gives most to the first token, and read here whether that is a sink."
      ],
      action: {text: "Show a strong sink", run: seek}
    },
    {
      target: thresholds,
      place: board,
      title: "Sinks and heavy hitters are matters of degree",
      text: [
        "A token counts as a sink from a threshold on that you choose. Move it and see which columns are still marked.",
        "Tokens that get much attention without being sinks are heavy hitters: often the ones that matter for meaning."
      ]
    },
    {
      target: view.loss,
      title: "Why this matters",
      text: [
        "A cache grows with every token. When it is full, something must go. Throwing away the oldest token sounds harmless; but if it is a sink, it is what many heads rest on.",
        "What happens then is measured in the tab Eviction Sim."
      ],
      action: {
        text: "Go to Eviction Sim",
        run: () => {
          location.hash = "eviction";
        }
      }
    },
  ]);
}
