// SPDX-License-Identifier: MIT
// The memories that a cache can lie in: name, capacity, bandwidth, from the fastest on.
import {swatch} from "./bars.js";
import {tierColour} from "./colours.js";
import {button, field, select, textInput} from "./controls.js";
import {el, fill} from "./dom.js";
import {events} from "./state.js";

const PRESETS = {
  h100: [
    "Server with an H100 (80 GB)", [["HBM", "80GB", "3.35TB/s"], ["RAM", "256GiB", "63GB/s"], ["disk", "2TB", "7GB/s"]]
  ],
  desktop:
    ["Desktop with a 24 GB card", [["GPU", "24GB", "1TB/s"], ["RAM", "64GiB", "25GB/s"], ["disk", "1TB", "3.5GB/s"]]],
  example: ["Example: room for a quarter", null],
};
const MOST = 4;

/** A capacity that is spelt in few letters, at least `bytes`. */
function spelt(bytes) {
  const kib = Math.ceil(bytes / 1024);
  return kib % 1024 === 0 ? `${kib / 1024}MiB` : `${kib}KiB`;
}

/** The memories of the example: a quarter of a cache of `bytes`, half of it, and room to spare. */
const exampleRows = bytes => [
  ["HBM", spelt(bytes / 4), "3.35TB/s"], ["RAM", spelt(bytes / 2), "63GB/s"], ["disk", spelt(4 * bytes), "7GB/s"]];

/** `onPreset` is called when a machine or the example is chosen, whose capacities `fit` sets by the size of a cache. */
export function tierEditor({onChange, onPreset}) {
  let rows = PRESETS.h100[1].map(row => [...row]);
  const box = el("div", {testid: "tier-rows"});
  const choose = () => {
    if (preset.value === "own") return;
    onPreset();
    if (preset.value !== "example") {
      rows = PRESETS[preset.value][1].map(row => [...row]);
      draw();
    }
    onChange();
  };
  const preset = select(
    "profile-preset", [...Object.entries(PRESETS).map(([key, [text]]) => [key, text]), ["own", "Own"]], "h100", choose);
  const edit = (row, column) => event => {
    rows[row][column] = event.target.value.trim();
    preset.value = "own";
    onChange();
  };
  const draw = () => {
    const names = ["Name", "Capacity", "Bandwidth"];
    fill(
      box,
      rows.map(
        (row, i) => el(
          "div", {class: "tier-row"}, names.map((name, column) => {
            const input = textInput(`tier-${i}-${name.toLowerCase()}`, row[column]);
            input.addEventListener("change", edit(i, column));
            return field(column === 0 ? [swatch(tierColour(i)), name] : name, input);
          }),
          el(
            "div", {class: "field"},
            el(
              "button", {
                type: "button",
                class: "button small",
                testid: `tier-${i}-remove`,
                "aria-label": `Remove tier ${i + 1}`,
                disabled: rows.length === 1,
                on: {
                  click: () => {
                    rows.splice(i, 1);
                    preset.value = "own";
                    draw();
                    onChange();
                  }
                }
              },
              "×")))));
    add.disabled = rows.length >= MOST;
  };
  const add = button("tier-add", "Add a tier", () => {
    rows.push([`tier${rows.length + 1}`, "1TB", "1GB/s"]);
    preset.value = "own";
    draw();
    onChange();
  }, "small");
  events.addEventListener("theme", draw);
  draw();
  const node = el("div", {}, field("Machine", preset, "Data-sheet numbers: enter those of your machine."), box, add);
  return {
    node,
    values: () => rows.map(row => row.join(":")),
    get example() { return preset.value === "example"; },
    fit: bytes => {
      const fitted = exampleRows(bytes);
      if (String(fitted) === String(rows)) return;
      rows = fitted;
      draw();
    }
  };
}
