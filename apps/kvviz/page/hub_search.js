// SPDX-License-Identifier: MIT
// The search at the hub, most downloads first.
import {get} from "./api.js";
import {button, checkbox, field, messages, textInput} from "./controls.js";
import {el, fill} from "./dom.js";
import {count, plural} from "./format.js";

const LIMIT = 20;

/** Says that a model's authors decide who may download it. */
export function badge(gated) {
  if (!gated) return null;
  return el(
    "span", {class: "badge warn", testid: "gated-badge"},
    gated === "auto" ? "gated: agree to its terms first" : "gated: ask its authors first");
}

/** A model to choose; `list` is where it stands, `onChoose` gets its id. */
export function modelCard(model, lines, list, onChoose) {
  const choose = () => onChoose(model.id);
  return el(
    "button", {
      type: "button",
      class: "model-card",
      testid: "model-card",
      "data-model": model.id,
      "data-list": list,
      "aria-pressed": "false",
      on: {click: choose}
    },
    el("strong", {class: "break"}, model.id), badge(model.gated),
    el("span", {class: "hint"}, lines.filter(Boolean).join(" · ")));
}

/** `onChoose` gets the id of the model that is clicked. */
export function hubSearch(onChoose) {
  const results = el("div", {class: "cards", id: "search-results", testid: "search-results"});
  const news = messages("search-error");
  const status = el("p", {class: "hint", testid: "search-status", role: "status"});
  let turn = 0;

  const search = async () => {
    const query = input.value.trim();
    if (query === "") {
      news.show("Type a part of a model's name first, such as gpt2.");
      return;
    }
    const mine = ++turn;
    news.clear();
    fill(results);
    status.textContent = "Searching …";
    try {
      const {models} = await get(
        `models/search?query=${encodeURIComponent(query)}&limit=${LIMIT}&text_generation=${filter.input.checked}`);
      if (mine !== turn) return;
      status.textContent =
        models.length === 0 ? "No model of that name." : `${plural(models.length, "model")}, most downloads first`;
      fill(
        results,
        models.map(
          model => modelCard(
            model,
            [
              model.cached ? "on this machine" : null, `${count(model.downloads)} downloads`,
              `${count(model.likes)} likes`, model.updated ? `updated ${String(model.updated).slice(0, 10)}` : null
            ],
            "hub", onChoose)));
    } catch (error) {
      if (mine !== turn) return;
      status.textContent = "";
      news.error(error);
    }
  };
  const input = textInput("search-query", "", {placeholder: "gpt2, llama, mistral …", type: "search", onEnter: search});
  const filter = checkbox("search-text-generation", "Text generation only", true);
  return el(
    "div", {class: "search"}, el("h3", {}, "At the Hugging Face hub"),
    el("div", {class: "search-row"}, field("Name", input), button("search-button", "Search", search)), filter.node,
    status, news.node, results);
}
