// SPDX-License-Identifier: MIT
// Numbers as people read them. What does not exist is a dash.

const NONE = "–";
const exists = x => x !== null && x !== undefined && Number.isFinite(x);
const MINUS = "\u2212";
const SPACE = "\u00a0";  // a number and its unit stay on one line
const signless = text => text.replace("-", MINUS);

export const count = x => (exists(x) ? signless(Math.round(x).toLocaleString("en-US")) : NONE);

/** `x` with `digits` significant digits, without exponents where a reader can do without. */
export function significant(x, digits = 3) {
  if (!exists(x)) return NONE;
  if (x === 0) return "0";
  const size = Math.abs(x);
  if (size >= 1e6 || size < 1e-4) return signless(x.toExponential(Math.max(0, digits - 1)));
  const places = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  return signless(x.toLocaleString("en-US", {minimumFractionDigits: places, maximumFractionDigits: places}));
}

export const fixed = (x, places) =>
  (exists(x) ? signless(x.toLocaleString("en-US", {minimumFractionDigits: places, maximumFractionDigits: places})) :
               NONE);

/** A share of 1 as a percentage. */
export const percent = (x, places = 1) => (exists(x) ? `${fixed(100 * x, places)}${SPACE}%` : NONE);

export const nats = (x, places = 2) => (exists(x) ? `${fixed(x, places)}${SPACE}nats` : NONE);

/** Words of the server with separators in their numbers: "theta 500,000". */
export const grouped = text => text.replaceAll(/(?<![\d.])\d{4,}(?![\d.]*\d)/g, digits => count(Number(digits)));

/** With its sign, as a difference. */
export function signed(x, digits = 3) {
  if (!exists(x)) return NONE;
  return x > 0 ? `+${significant(x, digits)}` : significant(x, digits);
}

/** Bytes with binary units: KiB is 1,024 bytes. */
export function bytes(x) {
  if (!exists(x)) return NONE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  let value = x;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    ++unit;
  }
  if (unit === 0) return `${Number.isInteger(value) ? count(value) : fixed(value, 2)}${SPACE}B`;
  return `${Number.isInteger(value) ? count(value) : significant(value, 3)}${SPACE}${units[unit]}`;
}

/** A capacity in the units that it was given in: 80 GB, 256 GiB. */
export function capacity(x) {
  if (!exists(x)) return NONE;
  const units = [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"], [1e3, "KB"]];
  const round = units.find(([size]) => x >= size && Number.isInteger((10 * x) / size));
  return round === undefined || Number.isInteger(x / 2 ** 20) ?
    bytes(x) :
    `${(x / round[0]).toLocaleString("en-US", {maximumFractionDigits: 1})}${SPACE}${round[1]}`;
}

/** Seconds in the unit that suits them. */
export function duration(seconds) {
  if (!exists(seconds)) return NONE;
  if (seconds === 0) return `0${SPACE}s`;
  for (const [scale, unit] of [[1, "s"], [1e-3, "ms"], [1e-6, "µs"]]) {
    if (seconds >= scale) return `${significant(seconds / scale, 3)}${SPACE}${unit}`;
  }
  return `${significant(seconds / 1e-9, 3)}${SPACE}ns`;
}

/** A token's text with its white space visible. */
export function visible(text) {
  if (text === "") return "∅";
  return text.replaceAll("\n", "⏎")
    .replaceAll("\r", "␍")
    .replaceAll("\t", "⇥")
    .replaceAll(/[ \u00a0]/g, "␣")
    .replaceAll("▁", "␣");
}

/** The first `length` characters (not halves of them). */
export function cut(text, length) {
  const characters = [...text];
  return characters.length <= length ? text : `${characters.slice(0, length - 1).join("")}…`;
}

export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;

/** "0, 3 and 7", at most `limit` of them. */
export function list(values, limit = 8) {
  if (values.length === 0) return "none";
  if (values.length > limit) return `${values.slice(0, limit).join(", ")} and ${values.length - limit} more`;
  return values.length === 1 ? String(values[0]) : `${values.slice(0, -1).join(", ")} and ${values.at(-1)}`;
}
