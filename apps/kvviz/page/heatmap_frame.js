// SPDX-License-Identifier: MIT
// What stands around and over a heat map: axes, colour bar, lines of sinks and heavy hitters. A frame is
// `{margin, side, cell}` in CSS pixels.
import {colour, ramp} from "./colours.js";
import {positions, upwards} from "./drawing.js";
import {count, percent} from "./format.js";

const LINE = 13;  // least distance of two numbers at the colour bar

/** The bin of `matrix` that a token is in. */
function binOf(matrix, token) {
  let bin = Math.floor((token * matrix.bins) / Math.max(1, matrix.count));
  while (bin + 1 < matrix.bins && matrix.first(bin + 1) <= token) ++bin;
  while (bin > 0 && matrix.first(bin) > token) --bin;
  return bin;
}

/** A line at the side of a marked column (both sides, where there is room), from the diagonal down, and a triangle. */
export function drawMarks(context, {margin, side, cell}, matrix, {keys, name}) {
  for (const key of keys) {
    const bin = binOf(matrix, key);
    const [x, y] = [margin.left + bin * cell, margin.top + bin * cell];
    for (const [width, style] of [[3.5, colour("plot")], [1.75, colour(name)]]) {
      context.strokeStyle = style;
      context.lineWidth = width;
      context.beginPath();
      context.moveTo(x, y);
      context.lineTo(x, margin.top + side);
      if (cell >= 6) {
        context.moveTo(x + cell, y);
        context.lineTo(x + cell, margin.top + side);
      }
      context.stroke();
    }
    const middle = x + cell / 2;
    context.fillStyle = colour(name);
    context.beginPath();
    context.moveTo(middle - 5, y - 10);
    context.lineTo(middle + 5, y - 10);
    context.lineTo(middle, y - 2);
    context.fill();
  }
}

/** Frame, ticks and labels; `matrix` may be null. */
export function drawAxes(context, {margin, side, cell}, matrix) {
  context.strokeStyle = colour("line");
  context.lineWidth = 1;
  context.strokeRect(margin.left - 0.5, margin.top - 0.5, side + 1, side + 1);
  context.fillStyle = colour("muted");
  const size = matrix?.count ?? 0;
  for (const token of size === 0 ? [] : positions(size, side / 50)) {
    const middle = (binOf(matrix, token) + 0.5) * cell;
    context.textAlign = "center";
    context.textBaseline = "top";
    context.fillText(count(token), margin.left + middle, margin.top + side + 7);
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.fillText(count(token), margin.left - 7, margin.top + middle);
  }
  context.fillStyle = colour("text");
  context.textAlign = "center";
  context.textBaseline = "bottom";
  context.fillText("Key position [token]", margin.left + side / 2, margin.top + side + margin.bottom - 4);
  upwards(context, "Query position [token]", 2, margin.top + side / 2);
}

/** The colours with their weights; `scale` as in colours.js. */
export function drawBar(context, {margin, side}, {place, ticks}) {
  const x = margin.left + side + 12;
  const colours = ramp();
  for (let y = 0; y < side; ++y) {
    const shade = colours[Math.round(255 * (1 - y / (side - 1)))];
    context.fillStyle = `rgb(${shade & 255} ${(shade >> 8) & 255} ${(shade >> 16) & 255})`;
    context.fillRect(x, margin.top + y, 12, 1.5);
  }
  context.strokeStyle = colour("line");
  context.strokeRect(x - 0.5, margin.top - 0.5, 13, side + 1);
  context.fillStyle = colour("muted");
  context.textAlign = "left";
  context.textBaseline = "middle";
  let below = Infinity;
  for (const weight of ticks) {
    const y = margin.top + side * (1 - place(weight));
    if (below - y < LINE) continue;
    context.fillText(percent(weight, 0), x + 17, y);
    below = y;
  }
}
