// What the pages of all examples share: where the servers are, the badge that shows the connection's state, and a few helpers for the page itself. Knows nothing
// of what an example is about.

import { Client, describeCause, describeEnded } from "/client.js";

/** The addresses: `ws` and `http` of the server, `backend` of the example's own, or `null`. */
export const where = await (await fetch("/where.json")).json();

/** A client of the server whose state the badge shows. `options` are the client's. */
export function connect(options = {}) {
  const client = new Client(where.ws, options);
  client.on("state", (state) => showState(...inWords(state)));
  return client;
}

function inWords(state) {
  switch (state.kind) {
    case "online":
      return ["online", state.transport === "websocket" ? "connected" : `connected by ${state.transport}`];
    case "waiting":
      return ["waiting", "reconnecting…", describeCause(state.cause)];
    case "ended":
      return ["ended", "disconnected", describeEnded(state.ended)];
    default:
      return ["waiting", "connecting…"];
  }
}

/** What the badge says. `kind` is `online`, `waiting` or `ended`; `why` is told to whoever points at it. */
export function showState(kind, words, why = "") {
  const badge = byId("badge");
  badge.dataset.state = kind;
  badge.textContent = words;
  badge.title = why;
}

/** Asks the example's backend: `await ask("/send", { to: "bob" }, token)`; without a body it is a GET. Throws what it says when it refuses. */
export async function ask(path, body, token) {
  const headers = { ...(body && { "content-type": "application/json" }), ...(token && { authorization: `Bearer ${token}` }) };
  const answer = await fetch(where.backend + path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error);
  return said;
}

/**
 * Who is in front of this page: `?user=NAME` says so for this tab; else the browser remembers a name for all of its tabs.
 */
export function me() {
  const given = new URLSearchParams(location.search).get("user");
  if (given) return given;
  const kept = localStorage.getItem("user");
  if (kept) return kept;
  const name = NAMES[Math.floor(Math.random() * NAMES.length)] + Math.floor(10 + Math.random() * 90);
  localStorage.setItem("user", name);
  return name;
}

const NAMES = ["ada", "alan", "barbara", "donald", "edsger", "frances", "grace", "hedy", "john", "katherine", "leslie", "niklaus", "radia", "tony"];

export const byId = (id) => document.getElementById(id);

/** An element: `element("li", { className: "mine", onclick }, "text", another)`. Texts stay texts, whatever is in them. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  const { dataset, style, ...rest } = properties;
  Object.assign(made, rest);
  Object.assign(made.dataset, dataset);
  for (const [property, value] of Object.entries(style ?? {})) made.style.setProperty(property, value);
  for (const [property, value] of Object.entries(rest)) if (property.includes("-") || property === "role") made.setAttribute(property, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** A time of day, as people here write it. */
export const clock = (milliseconds) => new Date(milliseconds).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

/** A hue from 0 to 359 that is always the same for a name. */
export function hue(name) {
  let sum = 7;
  for (const letter of name) sum = (sum * 31 + letter.codePointAt(0)) % 3_600_007;
  return sum % 360;
}

/** A round picture for a user: the first letter on the name's own colour. */
export const avatar = (name) => element("span", { className: "avatar", style: { "--hue": hue(name) }, "aria-hidden": "true" }, [...name][0]?.toUpperCase() ?? "?");

/** Says something for some seconds at the page's edge. */
export function toast(words) {
  document.querySelector(".toast")?.remove();
  const note = element("div", { className: "toast", role: "status" }, words);
  document.body.append(note);
  setTimeout(() => note.remove(), 5_000);
}

/** A colour of the stylesheet, `--accent` say, as a canvas takes it: the one of the present scheme. */
export function colour(name) {
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

const probe = document.head.appendChild(document.createElement("span"));
