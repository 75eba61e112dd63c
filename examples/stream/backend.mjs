// Holds conversations with the model, and publishes each answer token by token on the conversation's channel. It knows everything that was said, and up to which
// position it has been published.

import { Refused, api, serve, text } from "../frame/backend.mjs";
import { tokens } from "./model.mjs";

const TALKS_MAX = 100;
const TURNS_MAX = 50;
const LENGTHS = { short: 60, long: 300, endless: 3_000 };

const talks = new Map();
let perSecond = 25;

class Talk {
  turns = [];
  position = null;
  last = Promise.resolve();

  constructor(id) {
    this.channel = `talk:${id}`;
  }

  get isBusy() {
    return this.turns.at(-1)?.state === "answers";
  }

  /** Publishes, and then counts as said: what this backend tells who asks is what the channel has told up to `position`. */
  tell(event, data, happened) {
    this.last = this.last.then(async () => {
      const { position } = await api("publish", { channel: this.channel, event, data });
      this.position = position;
      happened();
    });
    return this.last;
  }

  async answer(prompt, count) {
    const turn = { prompt, tokens: [], state: "answers" };
    this.cancelled = false;
    this.turns.push(turn);
    await this.tell("asked", { prompt }, () => {});
    const model = tokens(prompt, count);
    for (let credit = 0; !this.cancelled; ) {
      // What falls due while a publication is on its way travels with the next.
      const before = performance.now();
      await new Promise((resume) => setTimeout(resume, 20));
      credit = perSecond === 0 ? 0 : credit + ((performance.now() - before) * perSecond) / 1000;
      const next = [];
      for (; credit >= 1; credit -= 1) {
        const { value, done } = model.next();
        if (done) break;
        next.push(value);
      }
      if (next.length > 0) await this.tell("tokens", { from: turn.tokens.length, tokens: next }, () => turn.tokens.push(...next));
      if (credit >= 1) break;
    }
    const state = this.cancelled ? "stopped" : "complete";
    await this.tell("end", { state }, () => (turn.state = state));
  }
}

function talk({ id }) {
  if (typeof id !== "string" || !/^[\w-]{8,64}$/.test(id)) throw new Refused(400, "a conversation's id has 8 to 64 letters and digits");
  if (!talks.has(id)) {
    talks.set(id, new Talk(id));
    if (talks.size > TALKS_MAX) talks.delete(talks.keys().next().value);
  }
  return talks.get(id);
}

serve({
  "GET /talk": async (which) => {
    const { turns, position, channel } = talk(which);
    // Nobody has published there yet: the position is where it begins.
    if (!position) return { turns: [], position: (await api("channel", { channel })).position ?? null };
    return { turns, position };
  },

  "POST /ask": async (body) => {
    const asked = talk(body);
    const count = LENGTHS[body.length] ?? LENGTHS.long;
    const prompt = text(body, "prompt", 500);
    if (asked.isBusy) throw new Refused(409, "the last answer is not complete; stop it, or wait");
    if (asked.turns.length >= TURNS_MAX) throw new Refused(409, "this conversation is long enough");
    asked.answer(prompt, count).catch((error) => console.error(error));
  },

  "POST /stop": (body) => {
    talk(body).cancelled = true;
  },

  // For all conversations: it is a toy. 0 holds the answers where they are.
  "POST /pace": ({ pace }) => {
    if (!(pace >= 0 && pace <= 1_000)) throw new Refused(400, '"pace" has to be a number from 0 to 1000');
    perSecond = pace;
  },
  "GET /pace": () => ({ pace: perSecond }),
});
