// SPDX-License-Identifier: MIT
// Cache Profile: bytes of the cache, which memory holds which block, and how it grows.
import {get, matrices, post} from "./api.js";
import {byId, debounce, el} from "./dom.js";
import {term} from "./glossary.js";
import {Job} from "./job.js";
import {ProfileControls} from "./profile_controls.js";
import {profileResult} from "./profile_result.js";
import {events, state} from "./state.js";

const SETTLE = 400;  // ms until changed settings are counted
const ANY_SIZE = ["any:1000000TB:1TB/s"];

/** Bytes of the cache that `body` is about, from the geometry alone. */
async function cacheSize(body, signal) {
  const tokens = body.text === "" ? body.tokens : (await post("tokenize", {text: body.text}, {signal})).tokens;
  const sizes = {...body, text: "", tokens, tiers: ANY_SIZE, weights: false, columns: 1};
  return (await matrices("profile", sizes, {signal})).summary.cache_bytes;
}

/** Weights that lie in none of the tiers take memory all the same. */
function addWeights({summary, lengths}, bytes) {
  summary.weights_bytes = bytes;
  summary.cache_to_weights = summary.cache_bytes / bytes;
  for (const sum of [summary, ...lengths]) sum.total_bytes += bytes;
}

export function profileTab() {
  const work = new Job("profile");
  const result = profileResult();
  let due = true;
  let counted = "";  // the settings that are shown
  const analyze = ({focus}) => work.replace("counting", async (signal, onProgress) => {
    due = false;
    counted = "";
    const body = controls.wish({focus});
    if (controls.tiers.example) {
      controls.tiers.fit(await cacheSize(body, signal));
      body.tiers = controls.tiers.values();
    }
    const answer = await matrices("profile", body, {signal, onProgress});
    if (!body.weights) addWeights(answer, (await get("architecture", {signal})).cache.weights_bytes);
    result.show(answer, body);
    counted = JSON.stringify(body);
  });
  const isCounted = () => {
    try {
      return JSON.stringify(controls.wish({focus: false})) === counted;
    } catch {
      return false;  // the run says what is wrong
    }
  };
  // Nobody has asked for such a run: the cursor stays where it is, and what is shown already stays as it is.
  const unasked = () => state.model !== null && !isCounted() && analyze({focus: false});
  const controls =
    new ProfileControls(work, {analyze: () => analyze({focus: true}), soon: debounce(unasked, SETTLE)});
  const body = el(
    "div", {class: "tab-body"},
    el(
      "div", {class: "intro"}, el("h1", {}, "Cache Profile"),
      el(
        "p", {}, "How many bytes the ", term("cache", "KV cache"),
        " of this model takes, and which memory has to hold them. Bytes are counted from the model's geometry; times are bytes divided by bandwidth.")),
    el("div", {class: "side"}, controls.node, result.node));
  const refresh = () => {
    if (due && !byId("panel-profile").hidden) unasked();
  };
  body.addEventListener("shown", refresh);
  events.addEventListener("model", () => {
    due = true;
    counted = "";
    result.clear();
    refresh();
  });
  return body;
}
