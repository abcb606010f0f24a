// SPDX-License-Identifier: MIT
// Live Stream: the attention of the loaded model, growing by one real token a step.
import {button, messages} from "./controls.js";
import {byId, debounce, el} from "./dom.js";
import {count, percent} from "./format.js";
import {Job, restWhile} from "./job.js";
import {events, state} from "./state.js";
import {StreamControls} from "./stream_controls.js";
import {restingLayer, StreamSession, strongSink, whatIsRead} from "./stream_session.js";
import {streamTour} from "./stream_tour.js";
import {StreamView} from "./stream_view.js";

const STATES = {
  none: "not started",
  paused: "paused",
  running: "running",
  done: "done"
};
const SETTLE = 120;  // ms until a changed setting is sent

function progress({info, tokens}) {
  if (info === null) return "";
  const written = tokens.length - info.tokens;
  return ` · ${count(Math.min(tokens.length, info.tokens))} of ${count(info.tokens)} tokens read${
    written > 0 ? `, ${count(written)} written` : ""}`;
}

/** The buttons of a stream and the line that says what it does. `act(name)` returns what a click does. */
class Player {
  constructor(act) {
    this.buttons = {
      start: button("stream-start", "Start", act("start"), "primary", {title: "Begin at the first token and run"}),
      stop: button("stream-stop", "Stop", act("stop"), "", {title: "Pause"}),
      resume: button("stream-resume", "Resume", act("resume"), "", {title: "Go on from here"}),
      step: button("stream-step", "Step", act("step"), "", {title: "One token"}),
      reset: button("stream-reset", "Reset", act("reset"), "", {title: "Back to before the first token"}),
    };
    this.status = el("p", {class: "status", testid: "stream-state", role: "status"});
  }

  show(session) {
    const {info} = session;
    const {start, stop, resume, step, reset} = this.buttons;
    const name = info?.state ?? "none";
    const begun = session.tokens.length > 0;
    this.status.textContent =
      `State: ${STATES[name] ?? name}${info?.reason ? ` (${info.reason})` : ""}${progress(session)}`;
    this.status.dataset.value = name;
    stop.disabled = name !== "running";
    resume.disabled = name !== "paused" || !begun;
    step.disabled = name === "running" || name === "done";
    reset.disabled = info === null;
    start.textContent = begun ? "Start again" : "Start";
  }
}

/** Buttons and settings that act on `session`; what goes wrong is shown. */
function streamActions({session, controls, seeking, news}) {
  const guarded = action => async (...args) => {
    news.clear();
    try {
      await action(...args);
    } catch (error) {
      news.error(error);
    }
  };
  const chooseLayer = async () => {
    const text = controls.text.value;
    const found = await seeking.run(
      "looking for a layer worth watching", (signal, onProgress) => restingLayer(text, {signal, onProgress}));
    if (found === undefined) return seeking.news.clear();  // what is wrong with the text, Start says
    return controls.look(
      found,
      `Layer ${found.layer} was chosen because it gives most to the first four tokens: ${
        percent(found.share, 0)}, measured on ${whatIsRead(text)}.`);
  };
  const seek = () => seeking.run("looking for a head with a strong sink", async (signal, onProgress) => {
    const text = controls.text.value;
    const {layer, head, share} = await strongSink(text, {signal, onProgress});
    controls.chosen = true;
    controls.look(
      {layer, head},
      `Head ${head} gives ${percent(share)} of its attention to the first token, the most in layer ${
        layer}, where the first tokens get most, measured on ${whatIsRead(text)}.`);
    await session.change(controls.view);
  });
  const perform = async name => {
    if (name === "start" && session.info === null && !controls.chosen) await chooseLayer();
    const fresh = name === "start" || name === "reset" || session.info === null;
    await session.act(name, controls.settings({fresh}));
  };
  // One after the other: what is clicked while the last is under way is not lost.
  let acting = Promise.resolve();
  const act = name => guarded(() => {
    const done = acting.then(() => perform(name));
    acting = done.catch(() => {});
    return done;
  });
  let due = {};
  const send = debounce(
    guarded(() => {
      const changed = due;
      due = {};
      return session.change(changed);
    }),
    SETTLE);
  const change = guarded(read => {
    Object.assign(due, read());
    send();
  });
  return {act, change, seek};
}

export function streamTab() {
  const news = messages("stream-error");
  const seeking = new Job("stream-strongest");
  const view = new StreamView();
  const session = new StreamSession(
    {onData: () => later(), onState: () => player.show(session), onError: error => news.error(error)});
  const controls = new StreamControls({
    onChange: read => actions.change(read),
    onScale: name => view.rescale(name),
    onSubmit: () => actions.act("start")(),
  });
  const actions = streamActions({session, controls, seeking, news});
  const player = new Player(actions.act);
  const seek = button("stream-find-sink", "Show a strong sink", actions.seek);
  restWhile(seeking, seek);

  const show = () => {
    player.show(session);
    view.show(session, session.info ?? controls.view);
  };
  let asked = 0;
  const later = () => {
    cancelAnimationFrame(asked);
    asked = requestAnimationFrame(show);
  };

  const card = el(
    "div", {class: "card"}, controls.text.node, el("div", {class: "actions"}, Object.values(player.buttons)),
    player.status, news.node);
  const look = el(
    "div", {class: "card board-look"}, controls.interval.node, controls.viewRow(), controls.why,
    el("div", {class: "actions"}, seek), seeking.node);
  const more = controls.moreCard();
  const board = el("div", {class: "board"}, el("div", {class: "board-controls"}, card, look), view.map, view.say, more);
  const guide =
    streamTour({board, controls: card, thresholds: more, view, start: actions.act("start"), seek: actions.seek});
  const body = el(
    "div", {class: "tab-body"},
    el(
      "div", {class: "intro"}, el("h1", {}, "Live Stream", guide.opener),
      el("p", {}, "Watch a model read: every step adds one token, and one row to the map of who looks at whom.")),
    board, view.text, view.loss);
  body.addEventListener("shown", () => {
    if (state.model !== null) guide.offer();
    later();
  });
  events.addEventListener("model", () => {
    session.close();
    session.clear();
    if (state.model !== null) controls.fit(state.model);
    show();
    if (state.model !== null && !byId("panel-stream").hidden) guide.offer();
  });
  show();
  return body;
}
