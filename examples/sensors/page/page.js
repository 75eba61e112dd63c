// The page: a card for each room, its curve, and the alarms.

import { ask, byId, connect, element } from "/shared/page.js";
import { House } from "./house.js";

/** A sensor that has not spoken for so long is not believed. */
const SILENT_MS = 5_000;

const client = connect();
const house = new House(client, draw);
const cards = new Map();
let asked = false;

house.enter();
// Silence is told by nobody.
setInterval(draw, 1_000);

/** With the next frame, whatever has come until then. */
function draw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    drawRooms();
    drawAlarms();
  });
}

function drawRooms() {
  if (cards.size !== house.rooms.size) {
    cards.clear();
    byId("rooms").replaceChildren(...[...house.rooms.values()].map(makeCard));
  }
  for (const room of house.rooms.values()) drawRoom(room, cards.get(room.id));
}

function makeCard({ id, name, floor }) {
  const act = (what, words, title) => element("button", { type: "button", className: "quiet", title, onclick: () => ask("/do", { room: id, what }) }, words);
  const parts = {
    value: element("output", { className: "value number" }, "–"),
    state: element("span", { className: "state small" }),
    curve: element("div", { className: "curve" }),
    plug: element("button", { type: "button", className: "quiet", onclick: () => ask("/do", { room: id, what: isSilent(house.rooms.get(id)) ? "plug" : "unplug" }) }),
  };
  const heading = element("h2", {}, name, element("small", {}, floor));
  const acts = element("div", { className: "acts" }, act("heat", "Heat", `Heat ${name}`), act("cool", "Cool", `Cool ${name}`), act("calm", "Leave", `Leave ${name} alone`), parts.plug);
  parts.card = element("article", { className: "card", id: `room-${id}` }, heading, parts.state, parts.value, parts.curve, acts);
  cards.set(id, parts);
  return parts.card;
}

const isSilent = ({ readings }) => readings.length === 0 || Date.now() - readings.at(-1).at > SILENT_MS;

function drawRoom(room, { card, value, state, curve, plug }) {
  const alarm = house.alarms.find((one) => one.room === room.id);
  const last = room.readings.at(-1);
  const silent = isSilent(room);
  card.dataset.state = silent ? "silent" : alarm ? "alarm" : "well";
  value.textContent = last ? `${last.value.toFixed(1).replace("-", "−")} °C` : "–";
  state.textContent = silent ? "no reading" : alarm ? (alarm.kind === "high" ? "too warm" : "too cold") : `${room.low} to ${room.high} °C`;
  plug.textContent = silent ? "Plug in" : "Unplug";
  plug.title = `${plug.textContent} the sensor of ${room.name}`;
  curve.innerHTML = curveOf(room);
}

/** The last readings as a line, and the limits. All of it is numbers. */
function curveOf({ readings, low, high }) {
  const [width, height] = [240, 56];
  if (readings.length < 2) return "";
  const values = readings.map(({ value }) => value);
  const [bottom, top] = [Math.min(low - 1, ...values), Math.max(high + 1, ...values)];
  const y = (value) => (height - ((value - bottom) / (top - bottom)) * height).toFixed(1);
  const x = (index) => ((index / (values.length - 1)) * width).toFixed(1);
  const line = values.map((value, index) => `${x(index)},${y(value)}`).join(" ");
  return `<svg viewBox="0 0 ${width} ${height}" preserveAspectRatio="none" aria-hidden="true"><rect class="range" x="0" width="${width}" y="${y(high)}" height="${(y(low) - y(high)).toFixed(1)}"/><polyline points="${line}"/></svg>`;
}

function drawAlarms() {
  const open = house.alarms.filter(({ id }) => !house.seen.has(id));
  byId("alarms-title").textContent = house.alarms.length === 0 ? "No alarms" : `${house.alarms.length} ${house.alarms.length === 1 ? "alarm" : "alarms"}`;
  byId("alarms-title").dataset.open = open.length;
  document.title = open.length > 0 ? `(${open.length}) Sensors` : "Sensors";
  const lines = house.alarms.map((alarm) => {
    const { id, room, kind, since, limit } = alarm;
    const words = `${house.rooms.get(room)?.name ?? room} is ${kind === "high" ? "above" : "below"} ${limit} °C`;
    const seen = house.seen.has(id);
    const act = seen ? element("span", { className: "muted small" }, "seen") : element("button", { type: "button", onclick: () => house.acknowledge(id) }, "Seen");
    const time = element("time", { className: "muted small" }, `since ${new Date(since).toLocaleTimeString()}`);
    return element("li", { dataset: { seen }, id: `alarm-${room}` }, element("span", { className: "grow" }, words, " ", time), act);
  });
  // A button that is drawn anew loses the focus, and the press.
  const now = JSON.stringify([house.alarms, [...house.seen], [...house.rooms.keys()]]);
  if (byId("alarms").dataset.shows === now) return;
  byId("alarms").dataset.shows = now;
  byId("alarms").replaceChildren(...lines);
}
