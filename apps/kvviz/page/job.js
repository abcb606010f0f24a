// SPDX-License-Identifier: MIT
// Long work, with its progress, a Cancel button and its own messages.
import {button, messages} from "./controls.js";
import {el, scrollTo} from "./dom.js";
import {bytes, count} from "./format.js";
import {events} from "./state.js";

// Why a job was stopped, if not by its Cancel button.
const REPLACED = new DOMException("another run takes its place", "AbortError");
const OUTDATED = new DOMException("The model changed while this ran; run it again.", "AbortError");

function progressText({what, done, total}) {
  const size = ["downloading", "reading the weights"].includes(what) ? bytes : count;
  if (!total) return done ? `${what}: ${size(done)}` : what;
  return `${what}: ${size(done)} of ${size(total)} (${Math.floor((100 * done) / total)} %)`;
}

/** One piece of work at a time. */
export class Job {
  #bar;
  #text;
  #running;
  #controller = null;
  #now = Promise.resolve();

  /** `ofModel`: what it finds out is about the loaded model. */
  constructor(id, {ofModel = true} = {}) {
    this.#bar = el("progress", {max: 1, testid: `${id}-progress`, "aria-label": "Progress"});
    this.#text = el("span", {class: "job-text", testid: `${id}-progress-text`, role: "status"});
    const cancel = button(`${id}-cancel`, "Cancel", () => this.#controller?.abort(), "quiet");
    this.#running = el("div", {class: "job", hidden: true}, this.#text, this.#bar, cancel);
    this.news = messages(`${id}-error`);
    this.node = el("div", {class: "job-box"}, this.#running, this.news.node);
    if (ofModel) events.addEventListener("model", () => this.#controller?.abort(OUTDATED));
  }

  get busy() { return this.#controller !== null; }

  /** Runs `action(signal, report)`; returns what it returns, or undefined after an error, which is shown. */
  async run(what, action) {
    if (this.busy) return undefined;
    this.#now = this.#perform(what, action);
    return this.#now;
  }

  /** As `run`; what runs already is cancelled without a word. */
  async replace(what, action) {
    while (this.busy) {
      this.#controller.abort(REPLACED);
      await this.#now;
    }
    return this.run(what, action);
  }

  #report(progress) {
    this.#text.textContent = progressText(progress);
    if (progress.total)
      this.#bar.value = progress.done / progress.total;
    else
      this.#bar.removeAttribute("value");
  }

  #show(busy) {
    this.#running.hidden = !busy;
    this.node.dispatchEvent(new CustomEvent("busy", {detail: busy}));
  }

  async #perform(what, action) {
    const controller = new AbortController();
    this.#controller = controller;
    this.news.clear();
    this.#report({what, done: 0, total: 0});
    this.#show(true);
    try {
      return await action(controller.signal, progress => this.#report(progress));
    } catch (error) {
      const {reason} = controller.signal;
      if (reason === REPLACED) return undefined;
      this.news.error(reason === OUTDATED ? new Error(OUTDATED.message) : error);
      scrollTo(this.news.node);
      return undefined;
    } finally {
      this.#controller = null;
      this.#show(false);
    }
  }
}

/** Buttons that rest while a job runs. */
export function restWhile(work, ...buttons) {
  work.node.addEventListener("busy", event => {
    for (const one of buttons) one.disabled = event.detail;
  });
}
