// SPDX-License-Identifier: MIT
// What every canvas of the page needs.

/** The context of `canvas`, now `width` x `height` CSS pixels large, in the resolution of the screen. */
export function surface(canvas, width, height) {
  const ratio = devicePixelRatio || 1;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.font = "12px system-ui, sans-serif";
  return context;
}

/** Words that read upwards, `x` their left edge and `y` their middle. */
export function upwards(context, words, x, y) {
  context.save();
  context.translate(x, y);
  context.rotate(-Math.PI / 2);
  context.textAlign = "center";
  context.textBaseline = "top";
  context.fillText(words, 0, 0);
  context.restore();
}

/** Round positions for an axis of `size` tokens, at most about `most` of them. */
export function positions(size, most) {
  const raw = Math.max(1, size / Math.max(1, most));
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map(x => x * power).find(x => x >= raw);
  return Array.from({length: Math.floor((size - 1) / step) + 1}, (_, i) => i * step);
}
