// SPDX-License-Identifier: MIT
// What all tabs share: the loaded model, the server's health, texts and policies.
import {get} from "./api.js";

/**
 * `model` when another model (or none) is loaded, `loading` while one is on its way and when a load fails, `health`
 * with each answer of the server, `theme` when colours change.
 */
export const events = new EventTarget();

export const state = {
  model: null,
  loading: null,
  error: null,
  health: null,
  connected: null
};

/** Takes over what `/api/model` says. */
export function setModel({state: stage, model, loading: id, progress, error}) {
  const before = JSON.stringify(state.model);
  const wasLoading = state.loading !== null;
  const errorBefore = state.error;
  state.model = model;
  state.error = error ?? null;
  state.loading = stage === "loading" ? {id, what: "", ...progress} : null;
  if (JSON.stringify(model) !== before) events.dispatchEvent(new Event("model"));
  if (wasLoading || state.loading !== null || state.error !== errorBefore) events.dispatchEvent(new Event("loading"));
}

export async function refreshModel() { setModel(await get("model")); }

const once = load => {
  let kept = null;
  return () => {
    kept ??= load().catch(error => {
      kept = null;
      throw error;
    });
    return kept;
  };
};

/** The texts that ship with kvviz, asked for once. */
export const samples = once(async () => (await get("samples")).samples);

/** The eviction policies, asked for once. */
export const policies = once(async () => (await get("policies")).policies);

/** Asks after the server's health every few seconds; sooner while a model is loading. */
export function watchHealth() {
  const ask = async () => {
    let wait = 4000;
    try {
      const health = await get("health");
      state.health = health;
      state.connected = true;
      if (health.model !== undefined && (health.model ?? null) !== (state.model?.id ?? null))
        await refreshModel();
      else if (state.loading !== null)
        await refreshModel();
    } catch {
      state.connected = false;
      wait = 3000;
    }
    if (state.loading !== null) wait = 1000;
    events.dispatchEvent(new Event("health"));
    setTimeout(ask, wait);
  };
  return ask();
}
