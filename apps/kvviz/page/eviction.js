// SPDX-License-Identifier: MIT
// Eviction Sim: what a model loses when its cache may hold only so many keys, by policy.
import {work} from "./api.js";
import {byId, el, fill, scrollTo} from "./dom.js";
import {EvictionControls} from "./eviction_controls.js";
import {guide} from "./eviction_guide.js";
import {evictionResult} from "./eviction_result.js";
import {evictionTour} from "./eviction_tour.js";
import {term} from "./glossary.js";
import {Job} from "./job.js";
import {events, policies, state} from "./state.js";

/** Those that are ticked and explained at first. */
const FIRST = ["full", "lru", "window", "streaming_llm", "h2o"];

/** Those first, then the others as the server has them. */
function ordered(all) {
  const first = FIRST.map(name => all.find(p => p.name === name)).filter(p => p !== undefined);
  return [...first, ...all.filter(p => !first.includes(p))];
}

export function evictionTab() {
  const sim = new Job("simulate");
  const result = evictionResult();
  const simulate = names => sim.run("preparing", async (signal, report) => {
    if (names.length === 0) throw new Error("No policy is ticked: tick at least one.");
    result.show(await work("simulate", controls.wish(names), {signal, onProgress: report}));
    scrollTo(result.node);
  });
  const controls = new EvictionControls(sim, simulate);
  const guideBox = el("div", {class: "table-box"});

  let known = false;
  const loadPolicies = async () => {
    if (known || state.model === null) return;
    known = true;
    try {
      const all = ordered(await policies());
      controls.offer(all, FIRST);
      fill(guideBox, guide(all, FIRST.length));
    } catch (error) {
      known = false;
      controls.news.error(error);
    }
  };

  const guideCard = el(
    "div", {class: "card"}, el("h2", {}, "Which policy for what"),
    el(
      "p", {},
      "What each throws away, and what it is made for. Whether it suits your text is what the simulation measures."),
    guideBox);
  const tour = evictionTour({setup: controls.node, result, compare: controls.compare});
  const body = el(
    "div", {class: "tab-body"},
    el(
      "div", {class: "intro"}, el("h1", {}, "Eviction Sim", tour.opener),
      el(
        "p", {}, "What happens if a full cache has to forget? Each ", term("policy", "eviction policy"),
        " decides differently; the model's own predictions say how much it hurts.")),
    controls.node, result.node, guideCard);
  body.addEventListener("shown", () => {
    loadPolicies();
    if (state.model !== null) tour.offer();
  });
  events.addEventListener("model", () => {
    result.clear();
    if (!byId("panel-eviction").hidden) body.dispatchEvent(new Event("shown"));
  });
  return body;
}
