// SPDX-License-Identifier: MIT
// Colours with one meaning everywhere: those of the style sheet, and the ramps of heat maps.
import {events} from "./state.js";

const RAMPS = {
  dark: [[0, 26, 26, 46], [0.2, 74, 25, 66], [0.5, 255, 51, 102], [0.8, 255, 180, 100], [1, 255, 204, 0]],
  light: [[0, 246, 245, 251], [0.2, 250, 214, 205], [0.5, 233, 92, 128], [0.8, 142, 20, 84], [1, 48, 4, 44]],
};

export const theme = () => document.documentElement.dataset.theme;

/** A custom property of the style sheet, as it is in this theme. */
export const colour = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function at(stops, t) {
  let upper = stops.findIndex(stop => stop[0] >= t);
  if (upper <= 0) upper = 1;
  const [a, b] = [stops[upper - 1], stops[upper]];
  const part = (t - a[0]) / (b[0] - a[0]);
  return [1, 2, 3].map(i => Math.round(a[i] + part * (b[i] - a[i])));
}

const tables = {};

/** 256 colours of the heat map of this theme, each a 32-bit ABGR of a canvas. */
export function ramp() {
  const name = theme();
  tables[name] ??= Uint32Array.from({length: 256}, (_, i) => {
    const [r, g, b] = at(RAMPS[name], i / 255);
    return (255 << 24) | (b << 16) | (g << 8) | r;
  });
  return tables[name];
}

/** How a weight becomes a place in the ramp. Square roots show weak weights too. */
export const SCALES = {
  root: {place: weight => Math.sqrt(weight), ticks: [0, 0.01, 0.05, 0.1, 0.25, 0.5, 1]},
  linear: {place: weight => weight, ticks: [0, 0.25, 0.5, 0.75, 1]},
};

export function setTheme(name) {
  document.documentElement.dataset.theme = name;
  try {
    localStorage.setItem("kvviz-theme", name);
  } catch {
    // Kept until the page is left.
  }
  events.dispatchEvent(new Event("theme"));
}

/** Tier colours by place, from the fastest. */
const TIERS = ["tier-0", "tier-1", "tier-2", "tier-3"];
export const tierColour = index => colour(TIERS[Math.min(index, TIERS.length - 1)]);
