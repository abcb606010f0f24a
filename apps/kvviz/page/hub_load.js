// SPDX-License-Identifier: MIT
// Loading and unloading a model.
import {post, work} from "./api.js";
import {button, field, messages, select} from "./controls.js";
import {byId, el} from "./dom.js";
import {Job, restWhile} from "./job.js";
import {events, refreshModel, setModel, state} from "./state.js";

const DEVICES = [["auto", "Auto"], ["cuda", "CUDA"], ["mps", "Apple (MPS)"], ["cpu", "CPU"]];
const DTYPES = [["auto", "Auto (float32)"], ["f16", "float16"], ["bf16", "bfloat16"], ["f32", "float32"]];

function statusText() {
  if (state.loading !== null) return `Loading ${state.loading.id ?? "a model"}: ${state.loading.what}`;
  const now = state.model === null ? "Idle: no model is loaded" : `Ready: ${state.model.id}`;
  return state.error === null ? now : `${now}. The last load failed: ${state.error}`;
}

/** Loading what `chosen()` names, with its progress, and unloading; `onLoaded` when another model is there. */
export function loader({chosen, onLoaded}) {
  const loading = new Job("load", {ofModel: false});
  const news = messages("hub-message");
  const status = el("p", {class: "status", id: "hub-status", testid: "hub-status", role: "status"}, statusText());

  const fetchModel = async (signal, report) => {
    const body = {id: chosen(), device: byId("load-device").value, dtype: byId("load-dtype").value};
    const secret = byId("hub-token")?.value.trim() ?? "";
    if (secret !== "") body.token = secret;
    const onProgress = progress => {
      if (state.loading === null) setModel({state: "loading", model: state.model, loading: body.id, progress});
      report(progress);
      status.textContent = `Loading ${body.id}: ${progress.what}`;
    };
    status.textContent = `Loading ${chosen()}`;
    const model = await work("models/load", body, {signal, onProgress});
    if (byId("hub-token") !== null) byId("hub-token").value = "";
    setModel({state: "ready", model});
    onLoaded();
    return model;
  };
  const load = async () => {
    if (loading.busy) return;
    news.clear();
    const model = await loading.run("asking the server", fetchModel);
    if (model === undefined) await refreshModel().catch(() => {});
    status.textContent = model === undefined ? loading.news.summary() : statusText();
  };
  const unload = async () => {
    news.clear();
    try {
      setModel(await post("models/unload", {}));
    } catch (error) {
      news.error(error);
    }
  };

  const loadButton = button("load-model", "Load this model", load, "primary", {disabled: true});
  const unloadButton = button("unload-model", "Unload", unload, "", {disabled: true});
  restWhile(loading, loadButton);
  const refresh = () => {
    unloadButton.disabled = state.model === null;
    if (!loading.busy) status.textContent = statusText();
  };
  events.addEventListener("model", refresh);
  events.addEventListener("loading", refresh);
  const device = select("load-device", DEVICES, "auto");
  const dtype = select("load-dtype", DTYPES, "auto");
  return {
    settings: el(
      "div", {class: "row"}, field("Device", device, "auto: CUDA, else Apple, else CPU"),
      field("Precision of the weights", dtype)),
    actions: [el("div", {class: "actions"}, loadButton, unloadButton), loading.node, news.node, status],
  };
}
