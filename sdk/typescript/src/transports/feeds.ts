// How messages of several channels come over plain HTTP: as lines of a response that goes on, or poll by poll. Both give the messages of the
// native protocol, and end when they are broken. Know nothing of who wanted them.

import { reasonOf } from "../core/errors.js";
import { asMessage, type Incoming } from "../core/wire.js";
import { answered, type Endpoint, type Place } from "./endpoint.js";

/** What is listened to together. */
export interface Wanted {
  /** With the positions reached at this moment. */
  readonly places: () => readonly Place[];
  readonly patterns: readonly string[];
  readonly presence: boolean;
  readonly rate: number | undefined;
}

export interface FeedListener {
  onMessage(message: Incoming): void;
  /** It is broken, and why. Not told after `signal`. */
  onEnd(reason: string): void;
}

export type Feed = (endpoint: Endpoint, wanted: Wanted, listener: FeedListener, signal: AbortSignal) => Promise<void>;

/** `GET /stream`: a line for each message. */
export const stream: Feed = async (endpoint, wanted, listener, signal) => {
  // A proxy that holds back what it should pass on makes a stream of no use: the first line comes at once or not at all.
  const stuck = new AbortController();
  const timer = setTimeout(() => stuck.abort(), FIRST_LINE_MS_MAX);
  const onAbort = () => stuck.abort();
  signal.addEventListener("abort", onAbort);
  try {
    const response = await endpoint.get("stream", wanted.places(), wanted.patterns, options(wanted), stuck.signal);
    if (!response.ok || !response.body) return listener.onEnd(await refusal(response));
    for await (const line of lines(response.body)) {
      clearTimeout(timer);
      const message = asMessage(JSON.parse(line));
      if (signal.aborted) return;
      listener.onMessage(message);
    }
    listener.onEnd("the stream has ended");
  } catch (error) {
    if (!signal.aborted) listener.onEnd(stuck.signal.aborted ? STUCK : reasonOf(error));
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  }
};

/** `GET /poll`, again and again. */
export const poll: Feed = async (endpoint, wanted, listener, signal) => {
  let first = true;
  while (!signal.aborted) {
    try {
      const asked = wanted.places();
      const more = { ...options({ ...wanted, presence: false }), wait: first && wanted.patterns.length > 0 ? "0" : POLL_SECONDS };
      const response = await endpoint.get("poll", asked, wanted.patterns, more, signal);
      const answer = await answered(response);
      if (signal.aborted) return;
      if (!answer.ok) return listener.onEnd(`${answer.error.message} (${answer.error.code})`);
      if (first) for (const pattern of wanted.patterns) listener.onMessage({ type: "subscribed", pattern });
      first = false;
      for (const message of answer.body.messages ?? []) listener.onMessage(asMessage(message));
      for (const channel of answer.body.channels ?? []) {
        const stood = asked.some(({ name, position }) => name === channel.channel && position);
        listener.onMessage({ type: "polled", ...channel, recovered: !stood || channel.recovered !== false });
      }
      // Each answer is a sign of life.
      listener.onMessage({ type: "ping" });
    } catch (error) {
      if (!signal.aborted) listener.onEnd(reasonOf(error));
      return;
    }
  }
};

function options({ presence, rate }: Wanted): { [name: string]: string } {
  return { ...(presence && { presence: "1" }), ...(rate !== undefined && { rate: String(rate) }) };
}

async function refusal(response: Response): Promise<string> {
  const answer = await answered(response);
  return answer.ok ? "there is no stream" : `${answer.error.message} (${answer.error.code})`;
}

async function* lines(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      // A line that is not ended is none.
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      if (rest.length > LINE_CHARACTERS_MAX) throw new Error("a line without an end");
      const whole = rest.split("\n");
      rest = whole.pop() ?? "";
      for (const line of whole) if (line !== "") yield line;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

export const STUCK = "nothing comes through";
const FIRST_LINE_MS_MAX = 8_000;
/** Shorter than the heartbeat that is promised to the state machine. */
const POLL_SECONDS = "20";
/** A message of 64 MiB, which a server may be configured to take, in base64. */
const LINE_CHARACTERS_MAX = 96 * 1024 * 1024;
