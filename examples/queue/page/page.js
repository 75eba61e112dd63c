// The page of the queue: folds the same channels as the workers do, and draws what comes of it. Adding and killing is asked of the backend.

import { ask, byId, connect, element, toast } from "/shared/page.js";
import { ATTEMPTS_MAX, CHANNELS, Queue } from "./ledger.js";

const STATES = { waiting: "waiting", claimed: "in work", done: "done", dead: "given up" };
const SHOWN_MAX = 400;
const RESULTS_MAX = 8;

const client = connect();
const queue = new Queue();
let workers = [];
const results = new Map();
const dead = new Map();

follow();

async function follow() {
  client.subscribe(CHANNELS.workers, { cached: true }).on("message", ({ data }) => {
    workers = data.workers;
    draw();
  });
  for (const [channel, kept] of [[CHANNELS.results, results], [CHANNELS.dead, dead]]) {
    const keep = ({ data }) => {
      kept.set(data.task, data);
      draw();
    };
    const subscription = client.subscribe(channel, { since: await read(channel, keep) });
    subscription.on("message", keep);
    subscription.on("lost", () => read(channel, keep));
  }
  for (const channel of [CHANNELS.tasks, CHANNELS.ledger]) {
    const take = (message) => {
      queue.take(message);
      draw();
    };
    const subscription = client.subscribe(channel, { since: await read(channel, take) });
    subscription.on("message", take);
    subscription.on("lost", () => location.reload());
  }
  draw();
}

/** All of a channel that is kept; answers the position up to which it was read. */
async function read(channel, take) {
  const messages = [];
  let [before, end] = [undefined, null];
  for (let more = true; more; ) {
    const page = await client.history(channel, { limit: 1000, ...(before && { before }) });
    end ??= page.position;
    messages.unshift(...page.messages);
    more = page.more && page.messages.length > 0;
    before = page.messages[0]?.position;
  }
  messages.forEach(take);
  return end;
}

/** Once for all that comes in one turn. */
let drawing = false;
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    drawCounts();
    drawWorkers();
    drawTasks();
    drawDead();
    drawResults();
  });
}

function drawCounts() {
  const entries = Object.entries(queue.counts).map(([state, count]) => {
    return element("div", { className: "card", dataset: { state } }, element("dt", {}, STATES[state]), element("dd", {}, String(count)));
  });
  byId("counts").replaceChildren(...entries);
}

function drawWorkers() {
  const entries = workers.map(({ worker, pid }) => {
    const held = queue.heldBy(worker);
    const what = held ? `${held.data.picture}${held.attempt > 1 ? `, attempt ${Math.min(held.attempt, ATTEMPTS_MAX)}` : ""}` : "idle";
    const kill = element("button", { className: "quiet", type: "button", onclick: () => ask("/kill", { worker }).catch((error) => toast(error.message)) }, "Kill");
    kill.setAttribute("aria-label", `Kill worker ${worker}`);
    const words = element("span", { className: "grow" }, element("strong", {}, `Worker ${worker.split("-")[0]}`), element("span", { className: "muted small" }, `${what} · process ${pid}`));
    return element("li", { dataset: { worker, holds: held?.id ?? "" } }, words, kill);
  });
  byId("workers").replaceChildren(...(entries.length > 0 ? entries : [element("li", { className: "muted" }, "no worker just now")]));
}

function drawTasks() {
  const all = queue.known;
  byId("tasks-title").textContent = all.length > SHOWN_MAX ? `Pictures, the last ${SHOWN_MAX} of ${all.length}` : "Pictures, oldest first";
  const squares = all.slice(-SHOWN_MAX).map(({ data, state, attempt }) => {
    const words = `${data.picture}: ${STATES[state]}${attempt > 1 ? `, attempt ${attempt}` : ""}`;
    return element("li", { title: words, dataset: { state } }, element("span", { className: "unseen" }, words));
  });
  byId("tasks").replaceChildren(...squares);
}

function drawDead() {
  const entries = [...dead.values()].slice(-RESULTS_MAX).reverse().map(({ picture, why, trouble }) => {
    const again = element("button", { className: "quiet", type: "button", onclick: () => ask("/add", { trouble }) }, "Add it again");
    return element("li", {}, element("span", { className: "grow" }, picture, element("span", { className: "muted small" }, ` · ${why}`)), again);
  });
  byId("dead").replaceChildren(...(entries.length > 0 ? entries : [element("li", { className: "muted" }, "nothing")]));
}

function drawResults() {
  const entries = [...results.values()].slice(-RESULTS_MAX).reverse().map(({ result, worker }) => {
    return element("li", {}, result, element("span", { className: "muted" }, ` by ${worker.split("-")[0]}`));
  });
  byId("results").replaceChildren(...(entries.length > 0 ? entries : [element("li", { className: "muted" }, "none yet")]));
}

for (const button of byId("add").querySelectorAll("button")) {
  const { count, trouble } = button.dataset;
  button.onclick = () => ask("/add", { count: Number(count), trouble }).catch((error) => toast(error.message));
}
