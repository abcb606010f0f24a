// SPDX-License-Identifier: MIT
// What docs/http_api.md describes: JSON, server-sent events over fetch, and matrices.

/** `token` when the server asks for its token, with the address's own kept for this tab alone. */
export const signals = new EventTarget();

class ApiError extends Error {
  constructor(message, {status = 0, code = "unreachable", retryAfter = null} = {}) {
    super(message);
    Object.assign(this, {status, code, retryAfter});
  }
}

const KEY = "kvviz-token";
let token = "";

export function setToken(value) {
  token = value;
  try {
    sessionStorage.setItem(KEY, value);
  } catch {
    // Kept in memory then, until the page is left.
  }
}

/** Whether there is a token to send. */
export const hasToken = () => token !== "";

/** Takes the token from `#token=...` and out of the address bar, else that of this tab. */
export function recallToken() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  if (fragment.has("token")) {
    setToken(fragment.get("token"));
    history.replaceState(null, "", location.pathname + location.search);
    return;
  }
  try {
    token = sessionStorage.getItem(KEY) ?? "";
  } catch {
    token = "";
  }
}

async function failure(response) {
  const retryAfter = response.headers.get("Retry-After");
  let message = `The server answered ${response.status} ${response.statusText}`;
  let code = "http";
  try {
    const {error} = await response.json();
    ({message, code} = error);
  } catch {
    // Not one of our errors: the status is all there is.
  }
  if (response.status === 401) signals.dispatchEvent(new Event("token"));
  if (retryAfter !== null && response.status === 429) message += ` (again in ${retryAfter} s)`;
  return new ApiError(message, {status: response.status, code, retryAfter});
}

async function send(method, path, {body, signal, keepalive = false} = {}) {
  const headers = {};
  if (token !== "") headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    const text = body === undefined ? undefined : JSON.stringify(body);
    response = await fetch(`/api/${path}`, {method, headers, body: text, signal, keepalive, cache: "no-store"});
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server cannot be reached. Is kvviz serve still running?");
  }
  if (!response.ok) throw await failure(response);
  return response;
}

export const get = async (path, options) => (await send("GET", path, options)).json();
export const post = async (path, body, options) => (await send("POST", path, {body, ...options})).json();
export const remove = async (path, options) => (await send("DELETE", path, options)).json();

const ARRAYS = {
  float32: Float32Array,
  int32: Int32Array,
  uint8: Uint8Array
};

/** A body by numbers of bytes. */
class ByteReader {
  #reader;
  #parts = [];
  #size = 0;

  constructor(body) { this.#reader = body.getReader(); }

  /** The next `count` bytes, in a buffer of their own. */
  async take(count) {
    while (this.#size < count) {
      const {value, done} = await this.#reader.read();
      if (done) throw new ApiError("The connection to the server broke before it was done.");
      this.#parts.push(value);
      this.#size += value.length;
    }
    const all = new Uint8Array(this.#size);
    let at = 0;
    for (const part of this.#parts) {
      all.set(part, at);
      at += part.length;
    }
    this.#parts = [all.subarray(count)];
    this.#size -= count;
    return all.slice(0, count);
  }
}

/** A message `KVM1`: the members of its header, and `arrays` by name, each `{data, shape}`. */
async function readMatrices(bytes) {
  const start = await bytes.take(8);
  if (String.fromCharCode(...start.subarray(0, 4)) !== "KVM1")
    throw new ApiError("The server sent matrices in a format that this page does not know.", {code: "format"});
  const headerBytes = new DataView(start.buffer).getUint32(4, true);
  const header = JSON.parse(new TextDecoder().decode(await bytes.take(headerBytes)));
  const arrays = {};
  for (const {name, dtype, shape} of header.arrays) {
    const Type = ARRAYS[dtype];
    const size = shape.reduce((product, n) => product * n, 1);
    const padded = Math.ceil((size * Type.BYTES_PER_ELEMENT) / 8) * 8;
    arrays[name] = {data: new Type((await bytes.take(padded)).buffer, 0, size), shape};
  }
  return {...header, arrays};
}

const lateError = ({message, status, code}) => new ApiError(message, {status, code});

/**
 * POST with a body, GET without; the answer as `readMatrices` has it. `onProgress({what, done, total})` where the
 * work takes long.
 */
export async function matrices(path, body, {onProgress, ...options} = {}) {
  const response = await send(body === undefined ? "GET" : "POST", path, {body, ...options});
  const bytes = new ByteReader(response.body);
  try {
    for (;;) {
      const message = await readMatrices(bytes);
      if (message.error !== undefined) throw lateError(message.error);
      if (message.progress === undefined) return message;
      onProgress?.(message.progress);
    }
  } catch (error) {
    if (error.name === "AbortError" || error instanceof ApiError) throw error;
    throw new ApiError("The connection to the server broke before it was done.");
  }
}

async function readEvents(response, onEvent) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    rest += value;
    const blocks = rest.split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) {
      let kind = "message";
      let data = "";
      for (const line of block.split(/\r?\n/)) {
        if (line.startsWith("event:")) kind = line.slice(6).trim();
        if (line.startsWith("data:")) data += line.slice(5).trim();
      }
      if (data === "") continue;
      const event = JSON.parse(data);
      try {
        onEvent(kind, event);
      } catch (error) {
        reportError(error);  // a mistake of the page, not of the connection
      }
    }
  }
}

/** Listens until the server closes. `onEvent(kind, data)`. */
export async function listen(path, onEvent, {signal} = {}) {
  const response = await send("GET", path, {signal});
  try {
    await readEvents(response, onEvent);
  } catch (error) {
    if (error.name === "AbortError" || error instanceof ApiError) throw error;
    throw new ApiError("The connection to the server broke.");
  }
}

/**
 * Long work: posts, calls `onProgress({what, done, total})`, and returns what the event `result` holds. Aborting
 * `signal` cancels it.
 */
export async function work(path, body, {signal, onProgress} = {}) {
  const response = await send("POST", path, {body, signal});
  let result = null;
  let failed = null;
  try {
    await readEvents(response, (kind, data) => {
      if (kind === "progress") onProgress?.(data);
      if (kind === "result") result = {data};
      if (kind === "error") failed = lateError(data.error);
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (result === null && failed === null)
      throw new ApiError("The connection to the server broke before it was done.");
  }
  if (failed !== null) throw failed;
  if (result === null) throw new ApiError("The server ended the work without a result.");
  return result.data;
}

/** base64 of little-endian numbers. */
export function decode(text, Type) {
  const raw = atob(text);
  const buffer = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; ++i) buffer[i] = raw.charCodeAt(i);
  return new Type(buffer.buffer);
}
