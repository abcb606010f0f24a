// SPDX-License-Identifier: MIT
// A guided tour of a tab: a card that stands beside what it speaks of, step by step, until it is dismissed.
import {button} from "./controls.js";
import {el, fill, scrollTo} from "./dom.js";

const kept = {
  get(key) {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  },
  set(key, value) {
    try {
      localStorage.setItem(key, value);
    } catch {
      // The tour comes again at the next visit then.
    }
  },
};

const oneColumn = matchMedia("(max-width: 900px)");  // as in layout.css

/**
   `steps` are `{target, place, title, text, action}`: what is outlined, what the card stands before (`target` if it is
    left out, and on narrow screens), words, which may be a function that finds them when the step is shown, and
    optionally a button `{text, run, next}`; with `next` the tour goes on once it has run.
 */
export function tour(name, steps) {
  const key = `kvviz-tour-${name}`;
  const card = el("section", {class: "tour", testid: `tour-${name}`, "aria-label": "Guided tour", hidden: true});
  const opener = button(`tour-${name}-open`, "Guided tour", () => show(0), "small");
  let now = -1;

  const unmark = () => document.querySelector(".toured")?.classList.remove("toured");
  const close = () => {
    card.hidden = true;
    opener.hidden = false;
    unmark();
    kept.set(key, "seen");
    now = -1;
  };
  const act = async action => {
    const from = now;
    await action.run();
    if (action.next && now === from) show(from + 1);
  };
  const show = (index, move = true) => {
    now = index;
    const {target, place = target, title, text, action} = steps[index];
    const last = index === steps.length - 1;
    fill(
      card,
      el(
        "div", {},
        el(
          "div", {class: "tour-step", testid: `tour-${name}-step`, "data-value": index + 1},
          `Guided tour, step ${index + 1} of ${steps.length}`),
        el("h2", {}, title), (typeof text === "function" ? text() : text).map(paragraph => el("p", {}, paragraph))),
      el(
        "div", {class: "actions"},
        action ? button(`tour-${name}-action`, action.text, () => act(action), "primary") : null,
        index > 0 ? button(`tour-${name}-back`, "Back", () => show(index - 1)) : null,
        button(`tour-${name}-next`, last ? "Done" : "Next", () => (last ? close() : show(index + 1))),
        last ? null : button(`tour-${name}-close`, "Close the tour", close, "quiet")));
    unmark();
    target.classList.add("toured");
    const beside = oneColumn.matches ? target : place;
    card.style.order = getComputedStyle(beside).order;
    beside.before(card);
    card.hidden = false;
    opener.hidden = true;
    if (!move) return;
    scrollTo(card, "start");
    card.querySelector(`[data-testid=tour-${name}-next]`).focus({preventScroll: true});
  };
  card.addEventListener("keydown", event => event.key === "Escape" && close());
  /** To be called once the targets stand in the page. */
  const offer = () => {
    if (now === -1 && kept.get(key) === null) show(0, false);
  };
  return {opener, offer, close};
}
