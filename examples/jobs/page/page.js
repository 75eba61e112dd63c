// The page of a job: the address names it, its channel's history tells what has happened so far, and the subscription behind that what happens.

import { ask, byId, connect, element } from "/shared/page.js";
import { Job } from "./job.js";

const WORDS = { unknown: "unknown", runs: "running", waits: "waits for you", done: "done", failed: "failed", cancelled: "cancelled" };

const client = connect();
let job = new Job();
let subscription = null;

addEventListener("hashchange", follow);
follow();

async function follow() {
  subscription?.unsubscribe();
  const id = location.hash.slice(1);
  byId("job").hidden = id === "";
  if (id === "") return;
  byId("link").href = location.href;
  const since = await read(id);
  if (id !== location.hash.slice(1)) return;
  const following = (subscription = client.subscribe(`job:${id}`, { since }));
  following.on("message", (message) => {
    job.take(message);
    draw();
  });
  following.on("lost", () => read(id));
}

/** All that has happened so far, and the position up to which that is. */
async function read(id) {
  const { messages, position } = await client.history(`job:${id}`, { limit: 1000 });
  job = new Job();
  byId("lines").replaceChildren();
  messages.forEach((message) => job.take(message));
  draw();
  return position;
}

function draw() {
  byId("job").dataset.state = job.state;
  byId("film-title").textContent = job.film || "This job is not known, or was forgotten.";
  byId("state").textContent = WORDS[job.state];
  const percent = job.steps === 0 ? 0 : Math.floor((100 * job.done) / job.steps);
  byId("percent").textContent = `${percent} %`;
  byId("progress").max = job.steps || 1;
  byId("progress").value = job.done;
  document.title = job.film ? `${job.isOver ? WORDS[job.state] : `${percent} %`} – ${job.film}` : "A long job";
  drawStages();
  byId("question").hidden = job.state !== "waits";
  byId("asked").textContent = job.question;
  byId("outcome").textContent = job.outcome;
  byId("cancel").hidden = job.isOver || job.state === "unknown";
  drawLines();
}

function drawStages() {
  const stages = job.progress.map(({ name, steps, part }) => {
    const current = part > 0 && part < 1 && !job.isOver;
    return element("li", { className: current ? "current" : "", style: { "--steps": steps, "--done": `${100 * part}%` } }, name);
  });
  byId("stages").replaceChildren(...stages);
}

/** Adds what is not shown yet, and stays at the end unless somebody reads further up. */
function drawLines() {
  const list = byId("lines");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 30;
  list.append(...job.lines.slice(list.children.length).map((line) => element("li", {}, line)));
  if (atEnd) list.scrollTop = list.scrollHeight;
}

byId("start").addEventListener("submit", async (event) => {
  event.preventDefault();
  const [film] = byId("film").selectedOptions;
  const { id } = await ask("/start", { film: film.value, fails: "fails" in film.dataset });
  location.hash = id;
});

byId("confirm").onclick = () => ask("/confirm", { id: location.hash.slice(1) });
byId("cancel").onclick = () => ask("/cancel", { id: location.hash.slice(1) });
