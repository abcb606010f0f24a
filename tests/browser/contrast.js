// SPDX-License-Identifier: MIT
// Every visible text of the page whose contrast with what lies behind it is below `least`: {text, ratio, colour, back, where}.
// WCAG 2.1, 1.4.3: (L1 + 0.05) / (L2 + 0.05) of relative luminances; large text (24 px, or bold from 18.66 px) may have 3.
const least = arguments[0];

const parse = text => {
  const parts = text.match(/[\d.]+/g)?.map(Number) ?? [0, 0, 0, 0];
  const scale = text.startsWith("color(") ? 255 : 1;
  return {r: parts[0] * scale, g: parts[1] * scale, b: parts[2] * scale, a: parts[3] ?? 1};
};
const over = (top, below) => {
  const mix = name => top[name] * top.a + below[name] * (1 - top.a);
  return {r: mix("r"), g: mix("g"), b: mix("b"), a: 1};
};
const luminance = ({r, g, b}) => {
  const linear = x => (x / 255 <= 0.04045 ? x / 255 / 12.92 : ((x / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
};
const contrast = (a, b) => {
  const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (light + 0.05) / (dark + 0.05);
};

function behind(element) {
  const layers = [];
  for (let node = element; node !== null; node = node.parentElement) {
    const style = getComputedStyle(node);
    const colour = parse(style.backgroundColor);
    if (colour.a > 0) layers.push(colour);
    if (colour.a === 1) break;
  }
  return layers.reverse().reduce((below, top) => over(top, below), {r: 255, g: 255, b: 255, a: 1});
}

const opacity = element => {
  let all = 1;
  for (let node = element; node !== null; node = node.parentElement) all *= Number(getComputedStyle(node).opacity);
  return all;
};

const inert = element => element.closest("[inert], :disabled, [aria-disabled=true], .unseen, [hidden]") !== null;
const found = [];
let seen = 0;
for (const element of document.querySelectorAll("body *")) {
  const field = element.matches("input:not([type=checkbox], [type=range]), textarea, select");
  const own = [...element.childNodes].filter(node => node.nodeType === Node.TEXT_NODE).map(node => node.textContent.trim()).join(" ").trim();
  const text = field ? element.value || element.placeholder : own;
  if (!text || inert(element) || !element.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
  if (element.matches("option, title, script, noscript, noscript *")) continue;
  const box = element.getBoundingClientRect();
  if (box.width === 0 || box.height === 0 || box.right <= 0) continue;
  ++seen;
  const style = getComputedStyle(element);
  const back = behind(element);
  const drawn = parse(element instanceof SVGElement ? style.fill : field && !element.value ? getComputedStyle(element, "::placeholder").color : style.color);
  const share = opacity(element);
  const ratio = contrast(over({...drawn, a: drawn.a * share}, back), back);
  const size = parseFloat(style.fontSize);
  const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  if (ratio < (large ? Math.min(least, 3) : least)) found.push({text: text.slice(0, 60), ratio: Math.round(100 * ratio) / 100, colour: style.color, back: `rgb(${Math.round(back.r)} ${Math.round(back.g)} ${Math.round(back.b)})`, where: element.closest("[data-testid]")?.dataset.testid ?? element.className});
}
return {seen, found};
