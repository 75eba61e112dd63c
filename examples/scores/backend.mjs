// The newsroom: it knows the scores, and pushes each change by the HTTP API. TICK_MS is how long a minute of play takes, 0
// stops the clock; MINUTE is where it stands at first.

import { Refused, api, serve } from "../frame/backend.mjs";

const TEAMS = [
  ["Northbridge", "Harbour City"],
  ["Old Mill", "Riverside"],
  ["Castle Park", "Union 04"],
  ["Lakeside", "Rovers"],
];
const TICK_MS = Number(process.env.TICK_MS ?? 1_500);
const BREAK_TICKS = 8;

let minute = 0;
let matches = [];
let position = null;

/** Publishes one thing after another, so that the position belongs to everything that is known by then. */
let before = Promise.resolve();
function publish(event, data) {
  before = before.then(async () => ({ position } = await api("publish", { channel: "scores", event, data })));
  return before;
}

async function kickOff(at = 0) {
  minute = at;
  matches = TEAMS.map(([home, away], id) => ({ id, home, away, goals: [0, 0] }));
  await publish("kick-off", { minute, matches });
}

/** The whole score of a match, not the difference: whoever hears it twice, or only this, is right. */
async function goal(match, side) {
  match.goals[side] += 1;
  await publish("goal", { match: match.id, minute, goals: [...match.goals], by: side === 0 ? match.home : match.away });
}

async function tick() {
  minute += 1;
  if (minute > 90 + BREAK_TICKS) return kickOff();
  if (minute > 90) return;
  await publish(minute === 90 ? "final" : "minute", { minute });
  for (const match of matches) if (Math.random() < 0.03) await goal(match, Math.random() < 0.55 ? 0 : 1);
}

await kickOff(Number(process.env.MINUTE ?? 0));
serve({
  // What the page begins with, and the position up to which it is true.
  "GET /matches": async () => ({ minute: Math.min(minute, 90), matches, position }),

  "POST /goal": async ({ match, side }) => {
    if (!matches[match] || ![0, 1].includes(side)) throw new Refused(400, "there is no such match");
    await goal(matches[match], side);
  },
});
for (; TICK_MS > 0; ) {
  await new Promise((resume) => setTimeout(resume, TICK_MS));
  await tick().catch((error) => console.error(error));
}
