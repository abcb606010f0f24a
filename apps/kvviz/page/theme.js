// SPDX-License-Identifier: MIT
// Runs before the first paint, so that a chosen theme does not flash.
"use strict";
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("kvviz-theme");
  } catch {
    // A browser that keeps nothing follows the system.
  }
  const light = matchMedia("(prefers-color-scheme: light)").matches;
  document.documentElement.dataset.theme = chosen === "light" || chosen === "dark" ? chosen : light ? "light" : "dark";
})();
