// The page: one canvas, the own player's moves to the channel, the others' from it.

import { byId, colour, connect, element, hue, me } from "/shared/page.js";
import { Others, Own } from "./players.js";
import { decode, encode } from "./wire.js";

const SEND_EVERY_MS = 50;
const CHANNEL = `field:${decodeURIComponent(location.hash.slice(1)) || "meadow"}`;

const name = me().slice(0, 24);
const own = new Own(name, hue(name));
const others = new Others();
const counts = { heard: 0, replaced: 0, bytes: 0 };
/** Which player a message is of: a message takes the place of an older one with the same key. */
const key = crypto.randomUUID().slice(0, 8);
const client = connect({
  onFrame: (direction, frame) => {
    if (direction === "out" && frame instanceof Uint8Array) counts.bytes = frame.length;
  },
});
let subscription = null;
let sent = { at: 0, text: "" };

/** Listens, at most `rate` times a second to each player. */
function listen(rate) {
  subscription?.unsubscribe();
  subscription = client.subscribe(CHANNEL, { presence: true, rate });
  subscription.on("message", ({ key: of, data, publisher, conflated = 0 }) => {
    const place = decode(data);
    if (!place || of === undefined || of === key) return;
    counts.heard += 1;
    counts.replaced += conflated;
    others.hear(of, place, publisher, performance.now());
    wake();
  });
  // Nothing is kept for who comes: everybody says once more where they are.
  subscription.on("join", ({ member }) => {
    others.join(member.user);
    send(true);
  });
  subscription.on("leave", ({ member }) => {
    others.leave(member.user);
    wake();
  });
  for (const event of ["recovered", "lost"]) subscription.on(event, ({ users }) => are(users));
  subscription.ready.then(({ users }) => are(users)).catch(() => {});
  for (const button of document.querySelectorAll("#rates button")) button.setAttribute("aria-pressed", String(Number(button.dataset.rate) === rate));
}

function are(users) {
  others.keepOnly(new Set(users.map(({ user }) => user)));
  send(true);
  wake();
}

/** Says where the own player is: while it moves twenty times a second, and once when it stands. */
function send(always = false) {
  const now = performance.now();
  const bytes = encode(own);
  const text = bytes.join();
  const stops = own.dx === 0 && own.dy === 0;
  if (!always && (text === sent.text || (now - sent.at < SEND_EVERY_MS && !stops))) return;
  if (client.state.kind !== "online") return;
  sent = { at: now, text };
  // What is lost is out of date anyway.
  client.publish(CHANNEL, bytes, { key, excludeSelf: true }).catch(() => {});
}

const canvas = byId("field");
const pen = canvas.getContext("2d");
let frame = null;
let drawnAt = performance.now();

/** Draws until nothing moves any longer. */
function wake() {
  frame ??= requestAnimationFrame((now) => {
    frame = null;
    const seconds = Math.min(0.1, Math.max(0, now - drawnAt) / 1000);
    drawnAt = now;
    const mine = own.step(now, seconds);
    const theirs = others.step(now, seconds);
    send();
    draw(now);
    if (mine || theirs) wake();
  });
}

function draw(now) {
  const { width, height } = canvas.getBoundingClientRect();
  const scale = devicePixelRatio;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.fillStyle = colour("--line");
  const gap = 28;
  for (let x = gap / 2; x < width; x += gap) for (let y = gap / 2; y < height; y += gap) pen.fillRect(x - 1, y - 1, 2, 2);
  const ink = colour("--ink");
  for (const player of others.all.values()) drawPlayer(player, now, width, height, ink, false);
  drawPlayer(own, now, width, height, ink, true);
  drawList();
}

function drawPlayer(player, now, width, height, ink, mine) {
  const margin = 22;
  const at = ({ x, y }) => [margin + x * (width - 2 * margin), margin + y * (height - 2 * margin)];
  const paint = (alpha) => `oklch(0.62 0.14 ${player.hue} / ${alpha})`;
  pen.lineCap = "butt";
  for (let index = 1; index < player.trail.length; index += 1) {
    const age = (now - player.trail[index].at) / 700;
    pen.strokeStyle = paint(0.35 * (1 - age));
    pen.lineWidth = 14 * (1 - age);
    pen.beginPath();
    pen.moveTo(...at(player.trail[index - 1]));
    pen.lineTo(...at(player.trail[index]));
    pen.stroke();
  }
  const [x, y] = at(player.drawn);
  pen.fillStyle = paint(1);
  pen.beginPath();
  pen.arc(x, y, 13, 0, 7);
  pen.fill();
  if (mine) {
    pen.strokeStyle = ink;
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(x, y, 17, 0, 7);
    pen.stroke();
  }
  pen.font = "600 13px system-ui, sans-serif";
  pen.textAlign = "center";
  pen.fillStyle = ink;
  // Below, where there is no room above.
  pen.fillText(player.name, Math.min(width - 30, Math.max(30, x)), y < 46 ? y + 34 : y - 24);
}

/** The same in words: for who does not see the canvas. */
function drawList() {
  const place = ({ x, y }) => `${Math.round(x * 100)} : ${Math.round(y * 100)}`;
  const line = (player, id) => {
    const { x, y } = player.drawn;
    const dot = element("span", { className: "dot", style: { "--hue": player.hue } });
    const where = element("span", { className: "muted number" }, place(player.drawn));
    return element("li", { dataset: { id, x: x.toFixed(3), y: y.toFixed(3) } }, dot, element("span", { className: "grow" }, player === own ? `${player.name} (you)` : player.name), where);
  };
  byId("players").replaceChildren(line(own, key), ...[...others.all].map(([id, player]) => line(player, id)));
  byId("heard").textContent = counts.heard;
  byId("replaced").textContent = counts.replaced;
  byId("bytes").textContent = counts.bytes;
}

const KEYS = new Set(["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "KeyW", "KeyA", "KeyS", "KeyD"]);

addEventListener("keydown", (event) => {
  if (!KEYS.has(event.code) || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  own.target = null;
  own.keys.add(event.code);
  wake();
});
addEventListener("keyup", (event) => own.keys.delete(event.code));
// A key that is let go elsewhere is told to nobody.
addEventListener("blur", () => own.keys.clear());

function aim(event) {
  const { left, top, width, height } = canvas.getBoundingClientRect();
  const within = (value) => Math.min(1, Math.max(0, value));
  own.target = { x: within((event.clientX - left - 22) / (width - 44)), y: within((event.clientY - top - 22) / (height - 44)) };
  wake();
}

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  aim(event);
});
canvas.addEventListener("pointermove", (event) => canvas.hasPointerCapture(event.pointerId) && aim(event));
for (const button of document.querySelectorAll("#rates button")) button.addEventListener("click", () => listen(Number(button.dataset.rate)));
addEventListener("resize", wake);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", wake);
byId("another").href = `?user=${name === "hedy" ? "radia" : "hedy"}${location.hash}`;
listen(20);
wake();
