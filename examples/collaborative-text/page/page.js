// The page: a text field, the carets of the others below it, and what the editor says of itself.

import { avatar, byId, connect, element, hue, me } from "/shared/page.js";
import { TEXT_MAX } from "./agreed.mjs";
import { Carets } from "./carets.mjs";
import { Editor } from "./editor.mjs";
import { Field } from "./field.mjs";
import { Undo } from "./undo.mjs";

const JOINED_MS = 1_000;

const name = me();
const title = decodeURIComponent(location.hash.slice(1)) || "notes";
const client = connect();
const undo = new Undo();
const field = new Field(byId("text"), onEdit);
/** Each open page is an author of its own. */
const editor = new Editor(client, title, crypto.randomUUID(), { onChange, onAgreed, onOpen, onState: drawState });
let carets = null;
let edited = { at: 0, place: -1 };

byId("another").href = `?user=${name === "grace" ? "ada" : "grace"}#${encodeURIComponent(title)}`;
byId("text").maxLength = TEXT_MAX;
addEventListener("hashchange", () => location.reload());
// What is typed lives in this page until it is agreed on.
addEventListener("beforeunload", (event) => editor.state === "saving" && event.preventDefault());
client.on("state", drawState);
editor.open().catch((error) => {
  byId("saved").textContent = error.message;
});

/** The document is open: for the first time, or after something was lost. */
function onOpen() {
  const { participant } = editor;
  if (!carets) {
    field.text = participant.view;
    field.area.value = participant.view;
    field.area.readOnly = false;
    carets = new Carets(client, title, editor, name, draw);
  }
  carets.cursors.forget();
  draw();
}

/** The user has typed. */
function onEdit(operation) {
  const now = Date.now();
  const [, place] = field.selection;
  // Letters typed in one go are one step; so is what is deleted in one go.
  const joined = now - edited.at < JOINED_MS && Math.abs(place - edited.place) === 1;
  edited = { at: now, place };
  undo.did(operation, editor.view, joined);
  edit(operation);
}

function edit(operation) {
  carets.cursors.onEdit(operation);
  editor.edit(operation);
  carets.moved(...field.selection);
  draw();
}

/** Others have changed the text. */
function onChange(operation, by) {
  undo.onChange(operation);
  field.change(operation);
  carets.own = { from: field.selection[0], to: field.selection[1] };
  carets.cursors.onChange(operation, by);
}

function onAgreed(offset, operation) {
  carets.cursors.onAgreed(offset, operation);
  carets.tell();
  draw();
}

/** Takes a step back, or does it again. */
function step(which) {
  const operation = field.composing ? null : undo[which](editor.view);
  if (!operation) return;
  edited.at = 0;
  field.change(operation, true);
  edit(operation);
}

byId("undo").addEventListener("click", () => step("undo"));
byId("redo").addEventListener("click", () => step("redo"));
byId("text").addEventListener("beforeinput", (event) => {
  const which = { historyUndo: "undo", historyRedo: "redo" }[event.inputType];
  if (!which) return;
  event.preventDefault();
  step(which);
});
// Browsers that think that there is nothing to take back do not ask.
byId("text").addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.altKey) return;
  const key = event.key.toLowerCase();
  const which = key === "z" ? (event.shiftKey ? "redo" : "undo") : key === "y" ? "redo" : null;
  if (!which) return;
  event.preventDefault();
  step(which);
});
document.addEventListener("selectionchange", () => carets?.moved(...field.selection));

function drawState() {
  const states = { opening: "opening…", settled: "Everybody has everything.", closed: `closed: ${editor.failure?.message ?? "the page has ended it"}` };
  const waits = client.state.kind === "online" ? "saving…" : "Not connected: what you write waits here.";
  byId("saved").textContent = states[editor.state] ?? waits;
  byId("saved").dataset.state = editor.state;
}

let drawing = false;

/** Soon, and once for everything that happens until then. */
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    const { agreed, view } = editor.participant;
    byId("revision").textContent = `revision ${agreed.position.offset} · ${view.length} characters`;
    byId("undo").disabled = undo.done.length === 0;
    byId("redo").disabled = undo.undone.length === 0;
    drawPeople();
    drawMirror(view);
  });
}

function drawPeople() {
  const others = carets.others.map((other) => other.name).toSorted();
  byId("people").replaceChildren(...[...new Set([name, ...others])].map((one) => element("li", {}, avatar(one), one === name ? `${one} (you)` : one)));
}

/** The text once more, unseen, with the carets and selections of the others in it. */
function drawMirror(view) {
  const marks = [];
  for (const { name: who, from, to } of carets.others) {
    const [start, end] = [Math.min(from, to), Math.max(from, to)];
    const style = { "--hue": hue(who) };
    // In the first line there is no room above.
    const low = !view.slice(0, to).includes("\n") && to < 60;
    if (start < end) marks.push({ at: start, until: end, make: (text) => element("mark", { style }, text) });
    marks.push({ at: to, until: to, make: () => element("span", { className: low ? "caret low" : "caret", style }, element("b", {}, who)) });
  }
  marks.sort((one, other) => one.at - other.at || one.until - other.until);
  const nodes = [];
  let at = 0;
  for (const { at: from, until, make } of marks) {
    // Where selections overlap, the first is drawn to its end.
    nodes.push(view.slice(at, Math.max(at, from)));
    const start = Math.max(at, from);
    nodes.push(make(view.slice(start, Math.max(start, until))));
    at = Math.max(start, until);
  }
  nodes.push(view.slice(at));
  byId("mirror").replaceChildren(...nodes);
}
