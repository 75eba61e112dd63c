// Plays one transcript: a step after the other, each with its time limit. Throws an `Error` that names the step.

import { differs, filled, show } from "./match.mjs";

const WELCOME = {
  type: "welcome",
  session: "0-1",
  version: 1,
  user: "ann",
  heartbeat_ms: 25_000,
  limits: { message_bytes: 65_536, channels: 128, channel_name_bytes: 200 },
};

/** What a transcript does not say: short waits, so that it does not take long. */
const CONFIG = { backoff_base_ms: 5, backoff_max_ms: 1_000 };

/** By how much two clocks may differ about the same moment. */
const CLOCK_MS = 5;

export async function play(one, { server, adapter, url }) {
  const stage = new Stage(one, server, adapter);
  const { config, token, tokens } = one;
  await adapter.order({ op: "start", url, config: { ...CONFIG, ...config }, ...(token && { token }), ...(tokens && { tokens }) });
  for (const [index, step] of one.steps.entries()) {
    try {
      await stage.step(step);
    } catch (error) {
      throw new Error(`step ${index + 1}, ${show(filled(step, stage.names))}: ${error.message}`);
    }
  }
  // Whatever the client had to say, it has said before it has closed.
  if (!stage.over) {
    await adapter.order({ op: "close" });
    for (let told = await adapter.about().take(); told.event !== "ended"; told = await adapter.about().take()) stage.unexpected(told);
  }
  const rest = adapter.rest.filter(({ event, why }) => !(event === "unsubscribed" && why === "ended"));
  if (rest.length > 0) throw new Error(`told and not awaited: ${rest.map(show).join(", ")}`);
  const [more] = stage.peer?.heard.rest ?? [];
  if (more) throw new Error(`said and not awaited: ${show(more)}`);
  if (server.attempts.rest.length > 0) throw new Error("the client has connected once more");
}

class Stage {
  peer = null;
  /** There will be no further event of the connection. */
  over = false;
  names;
  /** When the connection was lost, and how long the client said it would wait. */
  lostAt = null;
  retryIn = null;
  longest = 0;

  constructor({ names }, server, adapter) {
    this.names = new Map(Object.entries(names));
    this.server = server;
    this.adapter = adapter;
  }

  async step(step) {
    const [verb] = Object.keys(step);
    const play = STEPS[verb];
    if (!play) throw new Error(`there is no step "${verb}"`);
    await play.call(this, filled(step[verb], this.names), step);
  }

  async attempt() {
    const attempt = await this.server.attempts.take();
    // Never sooner than announced. How much later is a matter of how busy the machine is.
    if (this.retryIn !== null && this.lostAt !== null && attempt.at - this.lostAt < this.retryIn - CLOCK_MS) {
      throw new Error(`connected after ${Math.round(attempt.at - this.lostAt)} ms, and said it would be ${this.retryIn} ms`);
    }
    this.lostAt = this.retryIn = null;
    return attempt;
  }

  loses() {
    this.lostAt = performance.now();
  }

  unexpected(told) {
    if (told.event !== "connected") throw new Error(`told and not awaited: ${show(told)}`);
  }

  async hear(awaited, payload) {
    this.peer.hearsPings = awaited.type === "ping";
    const { frame, payload: bytes } = await this.peer.heard.take();
    const wrong = differs(awaited, frame, this.names, true) ?? differs(payload ?? "", bytes ?? "", this.names, true, "the payload");
    if (wrong) throw new Error(`heard ${show(frame)}: ${wrong}`);
  }

  async told(awaited) {
    const told = await this.adapter.about(awaited.ref).take();
    const wrong = differs(awaited, told, this.names, false);
    if (wrong) throw new Error(`told ${show(told)}: ${wrong}`);
    if (told.event === "disconnected") {
      this.retryIn = told.retry_in_ms;
      this.longest = Math.max(this.longest, told.retry_in_ms);
    }
    if (told.event === "ended") this.over = true;
  }
}

const STEPS = {
  /** An order to the client. */
  async client(order) {
    // What was announced does not hold any more.
    if (order.op === "reconnect_now") this.retryIn = null;
    await this.adapter.order(order);
  },

  /** The client connects, shows this token (or none), and is greeted. */
  async welcome({ token = null, ...members }) {
    const attempt = await this.attempt();
    const shown = attempt.token;
    if (shown !== null && shown !== token) throw new Error(`the token shown is ${show(shown)}`);
    this.peer = await attempt.accept();
    const late = token !== null && shown === null;
    this.peer.say({ ...WELCOME, ...(late && { user: null }), ...members });
    if (late) {
      await this.hear({ type: "authenticate", id: "$authenticate", token });
      this.peer.say({ type: "ok", id: this.names.get("$authenticate"), user: "ann" });
      this.names.delete("$authenticate");
    }
    await this.told({ event: "connected", ...(late ? {} : { user: members.user === undefined ? "ann" : members.user }) });
  },

  /** The client connects, and nothing is said. */
  async accept() {
    this.peer = await (await this.attempt()).accept();
  },

  /** The client connects, and is answered with this HTTP status. */
  async refuse(status) {
    const attempt = await this.attempt();
    this.loses();
    attempt.refuse(status);
  },

  /** The client connects with this token, and is told that it is no good. */
  async refuse_token(token) {
    const attempt = await this.attempt();
    if (attempt.token !== null) {
      if (attempt.token !== token) throw new Error(`the token shown is ${show(attempt.token)}`);
      this.loses();
      return attempt.refuse(401);
    }
    this.peer = await attempt.accept();
    this.peer.say({ ...WELCOME, user: null });
    await this.hear({ type: "authenticate", id: "$refused", token });
    this.loses();
    this.peer.say({ type: "error", id: this.names.get("$refused"), code: "bad_token", message: "no", temporary: false });
    this.names.delete("$refused");
  },

  say(frame) {
    if (frame.type === "disconnect") this.loses();
    this.peer.say(frame);
  },

  /** Text that need not be JSON. */
  say_text(text) {
    this.loses();
    this.peer.sayText(text);
  },

  say_binary(header, { payload }) {
    this.peer.sayBinary(header, payload);
  },

  /** A binary frame that need not be one of the protocol. */
  say_bytes(hex) {
    this.loses();
    this.peer.sayBytes(hex);
  },

  async hear(frame) {
    await this.hear(frame);
  },

  async hear_binary(header, { payload }) {
    await this.hear(header, payload);
  },

  /** The server closes with this code. */
  close(code, { reason = "why" }) {
    this.loses();
    this.peer.close(code, reason);
  },

  /** The connection breaks without a word. */
  drop() {
    this.loses();
    this.peer.drop();
  },

  /** The connection hangs without a word. */
  stall() {
    this.loses();
    this.peer.stall();
  },

  /** The client closes the connection, in whatever way. */
  async closed() {
    await this.peer.closed.take();
  },

  async tell(event) {
    await this.told(event);
  },

  /** Waits grow: one of those that were told was longer than this. */
  some_wait_longer_than(milliseconds) {
    if (this.longest <= milliseconds) throw new Error(`the longest was ${this.longest} ms`);
  },
};
