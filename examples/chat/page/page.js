// The chat's page: rooms on one side, who is there on the other, and between them what is said. What happens in a room is `room.js`'s.

import { ask, avatar, byId, clock, connect, element, me } from "/shared/page.js";
import { Room } from "./room.js";

const FIXED = ["lobby", "garden", "workshop"];
const TYPING_MS = 3_000;

const user = me();
const client = connect({ token: async () => (await ask("/token", { user })).token });
const joined = new Map();
let known = FIXED.map((name) => ({ name, people: 0 }));
let current = null;
let typing = { subscription: null, users: new Map(), saidAt: 0 };

byId("me").textContent = user;
byId("another").href = `?user=${user === "bob" ? "ann" : "bob"}${location.hash}`;
for (const name of JSON.parse(sessionStorage.getItem("rooms") ?? "[]")) room(name);
addEventListener("hashchange", open);
addEventListener("visibilitychange", () => document.hidden || list());
setInterval(list, 10_000);
open();
list();

/** The room that the address names. */
function open() {
  const name = decodeURIComponent(location.hash.slice(1)) || FIXED[0];
  current = room(name);
  current.unread = 0;
  document.title = `${name} – Chat`;
  byId("text").placeholder = `Say something in ${name}`;
  byId("text").focus();
  listenToTyping(name);
  drawLog();
  drawPeople();
  drawRooms();
}

/** One of the rooms that this tab is in; it comes in if it is not. */
function room(name) {
  if (!joined.has(name)) {
    joined.set(name, new Room(client, name, changed));
    joined.get(name).enter().catch((error) => joined.get(name)?.note(error.message));
    sessionStorage.setItem("rooms", JSON.stringify([...joined.keys()]));
  }
  return joined.get(name);
}

function changed(where, what, line) {
  if (what === "unread") {
    if (where === current) where.unread = 0;
    return drawRooms();
  }
  if (where !== current) return;
  if (what === "people") return drawPeople();
  if (what === "log") return drawLog();
  if (line.who) typing.users.delete(line.who);
  drawTyping();
  appended(() => byId("log").append(drawn(line, where.lines.at(-2))));
}

/** Rooms in which somebody is, as the backend knows them. */
async function list() {
  const { rooms } = await ask("/rooms").catch(() => ({ rooms: known }));
  known = [...FIXED.filter((name) => !rooms.some((one) => one.name === name)).map((name) => ({ name, people: 0 })), ...rooms];
  drawRooms();
}

function drawRooms() {
  const others = known.map(({ name }) => name).filter((name) => !FIXED.includes(name) && !joined.has(name));
  const names = [...FIXED, ...[...joined.keys()].filter((name) => !FIXED.includes(name)), ...others.slice(0, 20)];
  const entries = names.map((name) => {
    const unread = joined.get(name)?.unread ?? 0;
    const people = known.find((one) => one.name === name)?.people ?? 0;
    const count = unread > 0 ? element("span", { className: "count", title: `${unread} unread` }, String(unread)) : null;
    const there = !count && !joined.has(name) && people > 0 ? element("span", { className: "muted small", title: `${people} there` }, String(people)) : null;
    const button = element("button", { type: "button", onclick: () => (location.hash = encodeURIComponent(name)) });
    button.append(element("span", { className: "muted", "aria-hidden": "true" }, "#"), element("span", { className: "grow" }, name), count ?? there ?? "");
    if (name === current.name) button.setAttribute("aria-current", "true");
    return element("li", {}, button);
  });
  byId("rooms").replaceChildren(...entries);
}

function drawPeople() {
  const users = [...current.people.keys()].sort((one, other) => (one === user ? -1 : other === user ? 1 : one.localeCompare(other)));
  byId("people-title").textContent = users.length > 0 ? `Here now, ${users.length}` : "Here now";
  byId("people").replaceChildren(...users.map((name) => element("li", {}, avatar(name), element("span", {}, name === user ? `${name} (you)` : name))));
}

function drawLog() {
  const log = byId("log");
  const fromEnd = log.scrollHeight - log.scrollTop;
  const earlier = element("button", { className: "quiet earlier", type: "button", onclick: () => current.loadEarlier() }, "Show earlier messages");
  const lines = current.lines.map((line, at) => drawn(line, current.lines[at - 1]));
  if (lines.length === 0) lines.push(element("p", { className: "empty" }, `Nobody has said anything in ${current.name} yet.`));
  log.replaceChildren(...(current.more ? [earlier] : []), ...lines);
  // What was in view stays in view, counted from the end: earlier lines come in above.
  log.scrollTop = log.scrollHeight - fromEnd;
}

/** A line; whoever goes on speaking is not named again. */
function drawn(line, before) {
  if (line.kind === "note") return element("p", { className: "note" }, line.text);
  const goesOn = before?.kind === "said" && before.who === line.who && line.time - before.time < 300_000;
  const made = element("div", { className: `said${goesOn ? "" : " first"}${line.waits ? " waits" : ""}` });
  if (!goesOn) made.append(avatar(line.who), element("div", { className: "who" }, line.who, element("time", {}, clock(line.time))));
  made.append(element("div", { className: "text" }, line.text));
  return made;
}

/** The keyboard of a phone takes half of the room: the end stays in view. */
let [atEnd, height] = [true, 0];
byId("log").addEventListener("scroll", ({ target }) => {
  if (target.clientHeight === height) atEnd = target.scrollHeight - target.scrollTop - height < 40;
});
new ResizeObserver(([{ target }]) => {
  height = target.clientHeight;
  if (atEnd) target.scrollTop = target.scrollHeight;
}).observe(byId("log"));

/** Follows the end, unless somebody has scrolled up to read. */
function appended(append) {
  const log = byId("log");
  const follows = atEnd;
  log.querySelector(".empty")?.remove();
  append();
  if (follows) log.scrollTop = log.scrollHeight;
}

byId("compose").addEventListener("submit", (event) => {
  event.preventDefault();
  const words = byId("text").value.trim();
  if (words === "") return;
  byId("text").value = "";
  typing.saidAt = 0;
  void current.say(words, user);
});

byId("new-room").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = byId("new-name").value.trim().toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-");
  byId("new-name").value = "";
  if (name !== "") location.hash = encodeURIComponent(name);
});

/** Tells the others, at most every second, and only while it is true. */
byId("text").addEventListener("input", () => {
  if (client.state.kind !== "online" || Date.now() - typing.saidAt < 1_000 || byId("text").value === "") return;
  typing.saidAt = Date.now();
  client.publish(`typing:${current.name}`, null, { excludeSelf: true }).catch(() => {});
});

function listenToTyping(name) {
  typing.subscription?.unsubscribe();
  typing = { subscription: client.subscribe(`typing:${name}`), users: new Map(), saidAt: 0 };
  const { users } = typing;
  typing.subscription.on("message", ({ publisher }) => {
    // Another tab of one's own is no news.
    if (publisher === user) return;
    clearTimeout(users.get(publisher));
    users.set(publisher, setTimeout(() => users.delete(publisher) && drawTyping(), TYPING_MS));
    drawTyping();
  });
  drawTyping();
}

function drawTyping() {
  const names = [...typing.users.keys()];
  const words = names.length > 2 ? "several people are typing…" : names.length > 0 ? `${names.join(" and ")} ${names.length > 1 ? "are" : "is"} typing…` : "";
  byId("typing").textContent = words;
}
