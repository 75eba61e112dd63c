// Reads channels from their beginning, as far as they are kept, and then follows them by long polling: for programs that have nothing but `fetch`. Owns the
// positions. Knows nothing of what is published.

import { api } from "../frame/backend.mjs";

const PAUSE_MS = 200;
const PATIENCE_MS = 10_000;

export class Reader {
  positions = {};

  /** `begin()` is called before everything is told from the beginning, at the start and when something was lost; `take(message)` at each message. */
  constructor(channels, { begin, take }) {
    Object.assign(this, { channels, onBegin: begin, onMessage: take });
  }

  async begin() {
    this.onBegin();
    for (const channel of this.channels) {
      let [messages, before] = [[], undefined];
      for (let more = true; more; ) {
        const page = await api("history", { channel, limit: 1000, ...(before && { before }) });
        this.positions[channel] = before ? this.positions[channel] : page.position;
        messages.unshift(...page.publications);
        more = page.more && page.publications.length > 0;
        before = { epoch: page.position.epoch, offset: page.publications[0]?.offset ?? 0 };
      }
      for (const message of messages) this.onMessage({ channel, ...message });
    }
  }

  /** Waits for what comes next, at most so long, and tells it. */
  async read(milliseconds) {
    const seconds = Math.max(0, Math.ceil(milliseconds / 1000));
    const parameters = new URLSearchParams(this.channels.map((channel) => ["channel", channel]));
    parameters.set("since", this.channels.map((channel) => `${this.positions[channel].epoch}:${this.positions[channel].offset}`).join());
    parameters.set("wait", String(seconds));
    const answer = await ask(`${process.env.SWITCHBOARD_URL}/poll?${parameters}`, seconds);
    if (!answer) return;
    if (!answer.recovered) return this.begin();
    for (const message of answer.messages) {
      if (message.type !== "message") continue;
      this.positions[message.channel] = { ...this.positions[message.channel], offset: message.offset };
      this.onMessage(message);
    }
  }

  /** Reads until it has been told all of a channel up to a position. */
  async reach(channel, { epoch, offset }) {
    while (this.positions[channel].epoch === epoch && this.positions[channel].offset < offset) await this.read(1_000);
  }
}

/** Nothing, after a pause, if there is no answer just now. */
async function ask(address, seconds) {
  try {
    const answer = await fetch(address, { signal: AbortSignal.timeout(seconds * 1000 + PATIENCE_MS) });
    if (answer.ok) return await answer.json();
    await answer.body?.cancel();
  } catch {
    // Asked again behind the same position: what was on its way is not lost.
  }
  await new Promise((resume) => setTimeout(resume, PAUSE_MS));
  return null;
}
