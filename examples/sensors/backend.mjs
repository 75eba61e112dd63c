// A house with sensors, and who watches over it: publishes each reading on the sensor's own channel, decides what is an alarm, and publishes which there
// are. Here the house is a toy in the same program; a gateway of real sensors would publish the same. TICK_MS is how often a sensor reads.

import { api, Refused, serve } from "../frame/backend.mjs";

const TICK_MS = Number(process.env.TICK_MS ?? 1000);
const BEFORE = 60;

const ROOMS = [
  { id: "server-room", name: "Server room", floor: "Cellar", usual: 19.5, low: 15, high: 26 },
  { id: "wine-cellar", name: "Wine cellar", floor: "Cellar", usual: 12.4, low: 9, high: 16 },
  { id: "kitchen", name: "Kitchen", floor: "Ground floor", usual: 21.8, low: 16, high: 30 },
  { id: "cold-store", name: "Cold store", floor: "Ground floor", usual: 3.6, low: 1, high: 7 },
  { id: "winter-garden", name: "Winter garden", floor: "Ground floor", usual: 24.1, low: 14, high: 34 },
  { id: "office", name: "Office", floor: "First floor", usual: 21.2, low: 17, high: 28 },
  { id: "laboratory", name: "Laboratory", floor: "First floor", usual: 20.6, low: 18, high: 24 },
  { id: "roof", name: "Roof", floor: "Outside", usual: 8.3, low: -12, high: 38 },
];

/** What happens to a room that somebody has done something to: where its temperature goes, and whether its sensor still speaks. */
const rooms = new Map(ROOMS.map((room) => [room.id, { ...room, value: room.usual, aim: room.usual, speaks: true, alarm: null }]));
const reading = (value) => Number(value.toFixed(1));
const channel = (id) => `sensors/${id}/temperature`;

function step(room) {
  room.value += (room.aim - room.value) * 0.12 + (Math.random() - 0.5) * 0.25;
  return reading(room.value);
}

/** An alarm begins at a limit, and is over only some way behind it: a value that trembles at the limit is one alarm. */
function judge(room, value) {
  const margin = (room.high - room.low) * 0.06;
  if (room.alarm) {
    const over = room.alarm.kind === "high" ? value < room.high - margin : value > room.low + margin;
    if (over) room.alarm = null;
    return over;
  }
  const kind = value > room.high ? "high" : value < room.low ? "low" : null;
  if (kind) room.alarm = { id: `${room.id} ${Date.now()}`, room: room.id, kind, since: Date.now(), limit: room[kind] };
  return kind !== null;
}

async function read() {
  const speaking = [...rooms.values()].filter(({ speaks }) => speaks);
  const values = speaking.map((room) => [room, step(room)]);
  await api("batch", { requests: values.map(([{ id }, value]) => ({ method: "publish", channel: channel(id), data: value })) });
  const changes = values.map(([room, value]) => judge(room, value));
  if (changes.includes(true)) await publishAlarms();
}

/** All of them at once: whoever comes later finds what is, and need not add up what was. */
function publishAlarms() {
  return api("publish", { channel: "house:alarms", data: [...rooms.values()].flatMap(({ alarm }) => alarm ?? []) });
}

function publishHouse() {
  return api("publish", { channel: "house:rooms", data: ROOMS.map(({ usual, ...room }) => room) });
}

async function main() {
  await publishHouse();
  await publishAlarms();
  // Some minutes that nobody has seen, so that curves do not begin empty.
  for (let before = BEFORE; before > 0; before -= 1) await read();
  serve({
    // What a visitor does to a room, to see what becomes of it: "heat", "cool", "calm", "unplug", "plug".
    "POST /do": (body) => {
      const room = rooms.get(body.room);
      if (!room) throw new Refused(404, "there is no such room");
      const away = (room.high - room.low) * 0.25;
      if (body.what === "heat") room.aim = room.high + away;
      else if (body.what === "cool") room.aim = room.low - away;
      else if (body.what === "calm") room.aim = room.usual;
      else if (body.what === "unplug" || body.what === "plug") room.speaks = body.what === "plug";
      else throw new Refused(400, `nobody can ${JSON.stringify(body.what)} a room`);
    },
  });
  for (;;) {
    await new Promise((resume) => setTimeout(resume, TICK_MS));
    await read();
  }
}

// What is kept for those who come may be lost with the server. To say it again now and then costs two messages.
setInterval(() => void Promise.all([publishHouse(), publishAlarms()]), 10 * TICK_MS);

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
