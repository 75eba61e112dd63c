// The page: a pad that all draw on and a line of chat, both over the direct connections alone.

import { ask, avatar, byId, connect, element, hue, me } from "/shared/page.js";
import { Call } from "./call.js";

const STROKES_MAX = 3_000;

const name = me();
const title = decodeURIComponent(location.hash.slice(1)) || "studio";
const { user, token } = await ask("/token", { name });
// The first token has the name of this page's user; it is good for an hour, and a call that lasts longer asks for nothing new.
const client = connect({ token });
const call = new Call(client, title, user, { onChange: drawPeople, onOpen, onMessage });
/** Of everybody, by user, in the order in which they were drawn: `{ from, to, hue }`. */
const strokes = new Map([[user, []]]);

call.enter();
drawPeople();

/** There is a way to somebody: what this page has drawn so far is news there. */
function onOpen(other) {
  for (const stroke of strokes.get(user)) call.sayTo(other, { stroke });
  drawPeople();
}

function onMessage(other, { stroke, text, clear }) {
  if (stroke) keep(other, stroke);
  if (clear) forget();
  if (text) addLine(call.others.get(other)?.name ?? other, String(text));
}

const canvas = byId("pad");
let pressed = null;

function keep(who, stroke) {
  const own = strokes.get(who) ?? [];
  strokes.set(who, own);
  own.push(stroke);
  if (own.length > STROKES_MAX) own.shift();
  drawStroke(stroke);
}

function forget() {
  for (const own of strokes.values()) own.length = 0;
  drawAll();
}

/** A place on the pad, from 0 to 1 in both directions. */
function placeOf(event) {
  const { left, top, width, height } = canvas.getBoundingClientRect();
  return [(event.clientX - left) / width, (event.clientY - top) / height].map((value) => Number(value.toFixed(4)));
}

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  pressed = placeOf(event);
});
canvas.addEventListener("pointermove", (event) => {
  if (!pressed || !canvas.hasPointerCapture(event.pointerId)) return;
  const to = placeOf(event);
  const stroke = { from: pressed, to, hue: hue(name) };
  pressed = to;
  keep(user, stroke);
  call.say({ stroke });
});
for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (pressed = null));
byId("clear").addEventListener("click", () => {
  forget();
  call.say({ clear: true });
});

function drawAll() {
  const { width, height } = canvas.getBoundingClientRect();
  canvas.width = width * devicePixelRatio;
  canvas.height = height * devicePixelRatio;
  for (const own of strokes.values()) own.forEach(drawStroke);
  byId("strokes").textContent = [...strokes.values()].reduce((sum, own) => sum + own.length, 0);
}

function drawStroke({ from, to, hue: colour }) {
  const pen = canvas.getContext("2d");
  pen.strokeStyle = `oklch(0.62 0.14 ${Number(colour)})`;
  pen.lineWidth = 4 * devicePixelRatio;
  pen.lineCap = "round";
  pen.beginPath();
  pen.moveTo(from[0] * canvas.width, from[1] * canvas.height);
  pen.lineTo(to[0] * canvas.width, to[1] * canvas.height);
  pen.stroke();
  byId("strokes").textContent = [...strokes.values()].reduce((sum, own) => sum + own.length, 0);
}

addEventListener("resize", drawAll);
drawAll();

byId("chat").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = byId("text").value.trim();
  if (text === "") return;
  byId("text").value = "";
  addLine(name, text);
  call.say({ text });
});

function addLine(who, text) {
  byId("log").querySelector(".empty")?.remove();
  byId("log").append(element("p", {}, element("strong", {}, who), " ", text));
  byId("log").scrollTop = byId("log").scrollHeight;
}

function drawPeople() {
  const WORDS = { connected: "direct", connecting: "connecting…", new: "connecting…", disconnected: "looking for a way…", failed: "no way", closed: "gone" };
  const line = (who, words, state) => element("li", { dataset: { state } }, avatar(who), element("span", { className: "grow" }, who), element("span", { className: "muted small" }, words));
  const others = [...call.others.values()].map((other) => line(other.name, WORDS[other.peer.state] + (other.present ? "" : ", not seen by the server"), other.peer.state));
  byId("people").replaceChildren(line(`${name} (you)`, "", "own"), ...others);
}

byId("another").href = `?user=${name === "tony" ? "leslie" : "tony"}${location.hash}`;
