// SPDX-License-Identifier: MIT
// The shell: tabs, what every tab shares, and the state of model and connection.
import {hasToken, recallToken, setToken, signals} from "./api.js";
import {architectureTab} from "./architecture.js";
import {setTheme, theme} from "./colours.js";
import {textInput} from "./controls.js";
import {byId, el, fill} from "./dom.js";
import {evictionTab} from "./eviction.js";
import {startGlossary} from "./glossary.js";
import {hubTab} from "./hub.js";
import {profileTab} from "./profile.js";
import {events, refreshModel, state, watchHealth} from "./state.js";
import {streamTab} from "./stream.js";

const TABS = ["hub", "architecture", "stream", "eviction", "profile"];
const bodies = {};

function openTab(name, focus = false) {
  for (const tab of TABS) {
    const button = byId(`tab-${tab}`);
    const chosen = tab === name;
    button.setAttribute("aria-selected", String(chosen));
    button.tabIndex = chosen ? 0 : -1;
    byId(`panel-${tab}`).hidden = !chosen;
    if (chosen && focus) button.focus();
  }
  document.title = `${byId(`tab-${name}`).textContent} – kvviz`;
  const before = document.body.dataset.tab;
  if (before !== undefined && before !== name) window.scrollTo({top: 0, behavior: "instant"});
  document.body.dataset.tab = name;
  bodies[name]?.dispatchEvent(new Event("shown"));
}

function follow() {
  const name = location.hash.slice(1);
  openTab(TABS.includes(name) ? name : "hub");
}

function startTabs() {
  byId("tabs").addEventListener("click", event => {
    const name = event.target.closest("[role=tab]")?.id.slice(4);
    if (name !== undefined) location.hash = name;
  });
  byId("tabs").addEventListener("keydown", event => {
    const now = TABS.indexOf(document.body.dataset.tab);
    const next = {ArrowRight: now + 1, ArrowLeft: now - 1 + TABS.length, Home: 0, End: TABS.length - 1}[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const name = TABS[next % TABS.length];
    location.hash = name;
    openTab(name, true);
  });
  addEventListener("hashchange", follow);
  document.querySelector(".skip").addEventListener("click", event => {
    event.preventDefault();  // the part behind # names the tab
    byId("main").focus();
  });
}

/** The content of a tab, and what lies over it until a model is loaded. */
function addPanel(name, build) {
  const body = build();
  bodies[name] = body;
  byId(`panel-${name}`).append(body);
  if (name === "hub") return;
  const toHub = el(
    "button", {
      type: "button",
      class: "button primary",
      testid: `need-model-${name}-button`,
      on: {
        click: () => {
          location.hash = "hub";
        }
      }
    },
    "Go to the Model Hub");
  const overlay = el(
    "div", {class: "overlay", testid: `need-model-${name}`},
    el(
      "div", {class: "card"}, el("h2", {}, "Model required"),
      el(
        "p", {},
        "This tab shows what a model does. Load one first: the model that ships with kvviz needs no download."),
      toHub));
  byId(`panel-${name}`).append(overlay);
  const cover = () => {
    const missing = state.model === null;
    overlay.hidden = !missing;
    body.inert = missing;
    body.classList.toggle("covered", missing);
  };
  events.addEventListener("model", cover);
  cover();
}

function showModel() {
  const {model, loading} = state;
  byId("model-indicator").className = `indicator ${model === null ? (loading === null ? "off" : "busy") : "on"}`;
  byId("model-indicator-text").textContent = model?.id ?? (loading === null ? "No model loaded" : "Loading a model");
  byId("model-indicator").title = model === null ? "" : `${model.architecture}, ${model.dtype} on ${model.device}`;
}

function showConnection() {
  const {health, connected} = state;
  if (health !== null)
    byId("footer-version").textContent =
      `kvviz ${health.version}${health.commit ? ` (${health.commit.slice(0, 12)})` : ""}`;
  byId("connection").className = connected === null ? "busy" : connected ? "on" : "off";
  const text = connected ? "Connected" : "Disconnected: trying again";
  if (byId("connection-text").textContent !== text) byId("connection-text").textContent = text;
}

function startTheme() {
  const button = byId("theme-switch");
  const name = () => button.setAttribute("aria-label", `Switch to the ${theme() === "dark" ? "light" : "dark"} theme`);
  button.addEventListener("click", () => setTheme(theme() === "dark" ? "light" : "dark"));
  events.addEventListener("theme", () => {
    name();
    document.querySelectorAll(".mini-canvas").forEach(canvas => canvas.redraw?.());
  });
  name();
}

/** Asks for the token that the server was started with. */
function askToken() {
  if (byId("token-form") !== null) return;
  const input = textInput("token-input", "", {type: "password", autocomplete: "current-password", required: true});
  const form = el(
    "form", {
      id: "token-form",
      testid: "token-form",
      class: "card",
      on: {
        submit: event => {
          event.preventDefault();
          setToken(input.value.trim());
          location.reload();
        }
      }
    },
    el("h2", {}, "This server needs its token"),
    hasToken() ? el(
                   "p", {class: "message error", role: "alert", testid: "token-refused"},
                   "That token was not accepted: it is not the one that the server was started with.") :
                 null,
    el("p", {}, "It was started with --token. Enter the same token here; this tab keeps it until it is closed."),
    el("label", {"for": "token-input"}, "Token"), input,
    el("button", {type: "submit", class: "button primary", testid: "token-submit"}, "Continue"));
  const box = el("dialog", {class: "token-dialog", "aria-label": "Token of this server"}, form);
  box.addEventListener("close", () => box.showModal());  // Esc: without the token there is nothing to go back to
  document.body.append(box);
  box.showModal();
}

async function start() {
  recallToken();
  signals.addEventListener("token", askToken);
  startTheme();
  startTabs();
  addPanel("hub", hubTab);
  addPanel("architecture", architectureTab);
  addPanel("stream", streamTab);
  addPanel("eviction", evictionTab);
  addPanel("profile", profileTab);
  startGlossary();
  events.addEventListener("model", showModel);
  events.addEventListener("loading", showModel);
  events.addEventListener("health", showConnection);
  follow();
  await watchHealth();
  if (state.health?.token_required && !("model" in state.health))
    askToken();
  else if (state.connected)
    await refreshModel().catch(() => {});
  showModel();
  document.body.dataset.ready = "true";
}

start().catch(error => {
  fill(byId("main"), el("p", {class: "message error", role: "alert"}, `The page could not start: ${error.message}`));
});
