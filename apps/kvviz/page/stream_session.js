// SPDX-License-Identifier: MIT
// One live stream on the server, and everything it has told: rows of attention, tokens, marks.
import {decode, listen, matrices, post, remove} from "./api.js";
import {GrowingMatrix} from "./matrix.js";

const RETRY = 3000;
const UNLOADED = "unloaded";  // the reason of a stream that has lost its model; the same one may be loaded again

export class StreamSession {
  matrix = new GrowingMatrix();
  tokens = [];
  marks = {sinks: [], heavy: []};
  info = null;
  stepMs = null;
  #view = null;
  #controller = null;
  #syncing = false;
  #waiting = [];

  /**
   * `onData` after each change of rows, tokens or marks; `onState` after each change of state; `onError` with what
   * went wrong.
   */
  constructor({onData, onState, onError}) {
    Object.assign(this, {onData, onState, onError});
    addEventListener("pagehide", () => this.close());
  }

  get running() { return this.info?.state === "running"; }

  /** Applies `settings` and `action`, on a stream that is made first where there is none. */
  async act(action, settings) {
    if (this.info === null) await this.#create(settings);
    try {
      await this.#post(action, settings);
    } catch (error) {
      if (error.status !== 404 && this.info?.reason !== UNLOADED) throw error;
      this.close();
      this.onState();
      if (action === "resume" || action === "stop")
        throw new Error("This stream has ended on the server. Start begins a new one.");
      await this.#create(settings);
      await this.#post(action, settings);
    }
  }

  /** Changes settings of a stream that exists; what was shown in another view is fetched anew. */
  async change(settings) {
    if (this.info === null || this.info.reason === UNLOADED) return;
    await this.#post(undefined, settings);
    if ("layer" in settings || "head" in settings || !this.running) await this.sync();
  }

  /** The answer may be older than events that have come meanwhile: what the stream does is taken from those alone. */
  async #post(action, settings) {
    const body = {...settings};
    if (action !== undefined) body.action = action;
    await post(`streams/${this.info.id}`, body);
  }

  async #create(settings) {
    this.close();
    this.clear();
    this.info = await post("streams", settings);
    this.#controller = new AbortController();
    this.#follow(this.info.id, this.#controller.signal);
  }

  async #follow(id, signal) {
    while (!signal.aborted) {
      try {
        await listen(`streams/${id}/events`, (kind, data) => this.#event(kind, data, id), {signal});
      } catch (error) {
        if (signal.aborted) return;
        if (error.status === 404) {
          this.info = null;
          this.onState();
          this.onError(new Error("This stream has ended on the server. Start begins a new one."));
          return;
        }
        this.onError(error);
      }
      if (signal.aborted || this.info?.id !== id) return;
      await new Promise(wake => setTimeout(wake, RETRY));
    }
  }

  #event(kind, data, id) {
    if (this.info?.id !== id) return;
    if (kind === "state") this.#state(data);
    if (kind === "frame") this.#frame(data);
    if (kind === "error") this.onError(new Error(data.error.message));
  }

  #state(info) {
    this.info = {...this.info, ...info};
    if (info.position === 0 && this.tokens.length > 0) {
      this.clear();
      this.onData();
    } else if (info.position > this.tokens.length && !this.running) {
      this.sync();
    } else if (info.sinks !== undefined && info.position === this.tokens.length) {
      this.marks = {sinks: info.sinks, heavy: info.heavy};
      this.onData();
    }
    this.onState();
  }

  #frame(frame) {
    if (this.#syncing) {
      this.#waiting.push(frame);
      return;
    }
    if (frame.position === 0) {
      this.clear();
      this.#view = frame.view;
    }
    if (frame.view !== this.#view || frame.position > this.tokens.length) {
      this.#waiting.push(frame);
      this.sync();
      return;
    }
    if (frame.position < this.tokens.length) return;
    this.matrix.push(decode(frame.row, Float32Array));
    this.tokens.push(frame.token);
    this.marks = {sinks: frame.sinks, heavy: frame.heavy};
    this.stepMs = frame.step_ms;
    this.onData();
  }

  /** Takes over everything so far from the server, then the frames that came meanwhile. */
  async sync() {
    if (this.#syncing || this.info === null) return;
    this.#syncing = true;
    const {id} = this.info;
    try {
      let all = await matrices(`streams/${id}/matrix`);
      // What was asked for before a reset or another view, of which events have told meanwhile, is of the past.
      while (this.info?.id === id && all.view < this.info.view) all = await matrices(`streams/${id}/matrix`);
      if (this.info?.id !== id) return;
      const {data, shape} = all.arrays.attention;
      this.clear();
      for (let query = 0; query < shape[0]; ++query)
        this.matrix.push(data.slice(query * shape[1], query * shape[1] + query + 1));
      this.tokens = all.tokens;
      this.marks = {sinks: all.sinks, heavy: all.heavy};
      this.#view = all.view;
      this.onData();
    } catch (error) {
      if (error.status !== 404) this.onError(error);
    } finally {
      this.#syncing = false;
      const frames = this.#waiting;
      this.#waiting = [];
      if (this.info?.id === id) frames.forEach(frame => this.#frame(frame));
    }
  }

  clear() {
    this.matrix = new GrowingMatrix();
    this.tokens = [];
    this.marks = {sinks: [], heavy: []};
    this.stepMs = null;
  }

  /** Ends the stream; what it has told stays. */
  close() {
    this.#controller?.abort();
    this.#controller = null;
    if (this.info !== null) remove(`streams/${this.info.id}`, {keepalive: true}).catch(() => {});
    this.info = null;
    this.#waiting = [];
  }
}

const LOOK = 1500;  // characters that are read to choose a layer

/** What of `text` is read to choose a layer: its beginning, without half of a character that is cut in two. */
const beginning = text => text.slice(0, LOOK).replace(/[\ud800-\udbff]$/, "");

/** Names what the functions below have read of `text`. */
export const whatIsRead = text => (text.length > LOOK ? "the beginning of your text" : "your text");

/** The layer that gives most to the first four tokens of `text`, and what they get. `options` as `matrices` has them. */
export async function restingLayer(text, options) {
  const {layers} = await matrices("attention/layers", {text: beginning(text), bins: 8}, options);
  const best = layers.reduce((a, b) => (b.first_mass > a.first_mass ? b : a));
  return {layer: best.layer, share: best.first_mass};
}

/** In that layer, the head that gives most to the first token. */
export async function strongSink(text, options) {
  const {layer} = await restingLayer(text, options);
  const {heads, statistics} =
    await matrices("attention", {text: beginning(text), layer, heads: "all", bins: 8}, options);
  const share = Math.max(...statistics.sink_mass);
  return {layer, head: heads[statistics.sink_mass.indexOf(share)], share};
}
