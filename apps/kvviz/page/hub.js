// SPDX-License-Identifier: MIT
// Model Hub: find a model, read about it, load it, and try its attention.
import {get} from "./api.js";
import {fact} from "./bars.js";
import {field, textInput} from "./controls.js";
import {byId, el, fill, number} from "./dom.js";
import {bytes, count, grouped} from "./format.js";
import {term} from "./glossary.js";
import {loader} from "./hub_load.js";
import {badge, hubSearch, modelCard} from "./hub_search.js";
import {quickTest} from "./hub_test.js";
import {events, state} from "./state.js";

const SOURCES = {
  shipped: "ships with kvviz",
  cache: "on this machine",
  given: "given at the start"
};

let chosen = null;  // what the info card shows

const told = (key, label, value) => fact(label, el("span", {testid: `info-${key}`}, value));

/** The info card of a model, before it is loaded. */
function infoCard(info) {
  const tags = (info.tags ?? []).slice(0, 8).map(tag => el("li", {class: "tag"}, tag));
  const facts = [
    info.author ? told("author", "Author", info.author) : null,
    info.downloads === null || info.downloads === undefined ? null :
                                                              told("downloads", "Downloads", count(info.downloads)),
    info.likes === null || info.likes === undefined ? null : told("likes", "Likes", count(info.likes)),
    info.pipeline ? told("pipeline", "Made for", info.pipeline) : null,
    info.license ? told("license", "License", info.license) : null,
    info.bytes ? told("bytes", "Size of its files", bytes(info.bytes)) : null,
    told(
      "where", "Where",
      info.cached || SOURCES[info.source] ? SOURCES[info.source] ?? "on this machine" :
                                            "at the hub: loading downloads it"),
  ];
  const warning = info.gated ?
    el(
      "p", {class: "notice warn", testid: "info-gated"},
      "This model is gated. Agree to its terms on its page at the hub, then load it with an access token of your account.") :
    null;
  return [
    el("h3", {testid: "info-id", class: "break"}, info.id), badge(info.gated), el("dl", {class: "facts"}, facts),
    tags.length > 0 ? el("ul", {class: "tags", testid: "info-tags"}, tags) : null, warning
  ];
}

function markChosen() {
  for (const card of document.querySelectorAll(".model-card"))
    card.setAttribute("aria-pressed", String(card.dataset.model === chosen));
}

async function choose(id) {
  chosen = id;
  markChosen();
  byId("load-model").disabled = false;
  const box = byId("model-info");
  fill(box, el("p", {class: "hint"}, `Reading about ${id} …`));
  try {
    const info = await get(`models/info?id=${encodeURIComponent(id)}`);
    if (chosen === id) fill(box, infoCard(info));
  } catch (error) {
    if (chosen === id)
      fill(
        box, el("h3", {class: "break", testid: "info-id"}, id),
        el("p", {class: "message error", role: "alert", testid: "info-error"}, error.message));
  }
}

async function listLocal(box) {
  try {
    const {models} = await get("models");
    fill(
      box,
      models.map(
        model => modelCard(
          model, [SOURCES[model.source] ?? model.source, model.architecture, model.bytes ? bytes(model.bytes) : null],
          "local", choose)));
    markChosen();
    if (chosen === null && models.length > 0)
      choose((models.find(model => model.id === state.model?.id) ?? models[0]).id);
  } catch (error) {
    fill(box, el("p", {class: "message error", role: "alert"}, error.message));
  }
}

async function showToken(box) {
  const input = textInput("hub-token", "", {type: "password", autocomplete: "off", placeholder: "hf_…"});
  const submit = event => {
    event.preventDefault();
    byId("load-model").click();
  };
  try {
    const {found, source, masked} = await get("models/token");
    if (found)
      return fill(
        box,
        el(
          "p", {class: "token-found", testid: "token-state"}, el("span", {class: "good", "aria-hidden": "true"}, "✓ "),
          `Access token found: ${source}, `, el("code", {testid: "token-masked"}, masked)));
    fill(
      box,
      el(
        "form", {on: {submit}},
        field(
          "Access token (for gated models)", input, "Used for the next download alone: neither stored nor shown.")));
  } catch (error) {
    fill(box, el("p", {class: "message error", role: "alert", testid: "token-state"}, error.message));
  }
  return box;
}

const figure = (key, label, raw, text) => fact(label, number(`loaded-${key}`, raw, text));

/** What is loaded, from the server, so that a reload of the page shows it again. */
function loadedPanel() {
  const m = state.model;
  if (m === null) return [el("p", {class: "hint", testid: "loaded-none"}, "No model is loaded.")];
  const go = (tab, text) => el(
    "button", {
      type: "button",
      class: `button ${tab === "stream" ? "primary" : "quiet"}`,
      testid: `quick-${tab}`,
      on: {
        click: () => {
          location.hash = tab;
        }
      }
    },
    text);
  return [
    el("h3", {class: "break", testid: "loaded-id"}, m.id),
    el(
      "dl", {class: "facts"}, figure("architecture", "Architecture", m.architecture, m.architecture),
      figure("parameters", "Parameters", m.parameters, count(m.parameters)),
      figure("layers", "Layers", m.layers, count(m.layers)),
      figure("heads", "Query heads of a layer", m.query_heads, count(m.query_heads)),
      figure("kv-heads", "KV heads of a layer", m.kv_heads, count(m.kv_heads)),
      figure("head-dim", "Numbers in a key (head_dim)", m.head_dim, count(m.head_dim)),
      figure("hidden", "Hidden size", m.hidden, count(m.hidden)),
      figure("vocabulary", "Vocabulary", m.vocabulary, `${count(m.vocabulary)} tokens`),
      figure("context", "Context", m.context, `${count(m.context)} tokens`),
      figure("device", "Device", m.device, m.device), figure("dtype", "Precision", m.dtype, m.dtype),
      figure("tokenizer", "Tokenizer", m.tokenizer, grouped(m.tokenizer)),
      figure("weights", "Weights in memory", m.weights_bytes, bytes(m.weights_bytes)),
      figure("per-token", "Keys and values of a token", m.bytes_per_token, bytes(m.bytes_per_token))),
    el(
      "div", {class: "actions", role: "group", "aria-label": "Continue with"}, go("stream", "Live Stream"),
      go("architecture", "Architecture"), go("eviction", "Eviction Sim"), go("profile", "Cache Profile")),
  ];
}

/** What a newcomer does first. */
function welcome() {
  const cache = term("cache", "KV cache");
  const start = ["Look at a language model's memory, the ", cache, ", and at what it looks at while it reads. "];
  if (state.model === null) {
    return [start, "New here? Load ", el("strong", {}, "demo"), ", the small model that ships with kvviz."];
  }
  const link = el("a", {href: "#stream", testid: "welcome-stream"}, "watch it read in Live Stream");
  return [start, el("strong", {}, state.model.id), " is loaded: ", link, "."];
}

export function hubTab() {
  const local = el("div", {class: "cards", id: "local-models", testid: "local-models"});
  const hint = el("p", {class: "hint"}, "Choose a model from the lists.");
  const info = el("div", {id: "model-info", testid: "model-info"}, hint);
  const tokenBox = el("div", {testid: "token-box"});
  const loaded = el("div", {testid: "loaded-model"}, loadedPanel());
  const intro = el("p", {testid: "welcome"}, welcome());
  const {settings, actions} = loader({chosen: () => chosen, onLoaded: () => listLocal(local)});
  events.addEventListener("model", () => {
    fill(loaded, loadedPanel());
    fill(intro, welcome());
  });
  let known = false;
  events.addEventListener("health", () => {
    if (!state.connected || known) return;
    if (state.health.token_required && !("model" in state.health)) return;
    known = true;
    listLocal(local);
    showToken(tokenBox);
  });
  const safe = "kvviz runs no code of a model's repository: weights and configuration are read as data.";
  return el(
    "div", {class: "tab-body"}, el("div", {class: "intro"}, el("h1", {}, "Model Hub"), intro),
    el(
      "div", {class: "columns"},
      el(
        "div", {class: "card"}, el("h2", {}, "1. Choose a model"), el("h3", {}, "On this machine"), local,
        hubSearch(choose)),
      el(
        "div", {class: "card"}, el("h2", {}, "2. Load it"), info, settings, tokenBox, el("p", {class: "hint"}, safe),
        actions),
      el("div", {class: "card"}, el("h2", {}, "Loaded model"), loaded)),
    quickTest());
}
