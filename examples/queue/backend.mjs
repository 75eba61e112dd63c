// Adds tasks, and keeps some workers running: one that ends is replaced. It takes no part in who does what. WORKERS is how many.

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { Refused, api, serve } from "../frame/backend.mjs";
import { CHANNELS } from "./page/ledger.js";

const WORKERS = Number(process.env.WORKERS ?? 3);
const AGAIN_MS = 700;
const TASKS_MAX = 200;
const TROUBLE = ["none", "once", "always", "hangs"];
const PROGRAM = fileURLToPath(new URL("worker.mjs", import.meta.url));

const workers = new Map();
let hired = 0;

function hire(place) {
  hired += 1;
  const worker = `${"ABCDEFGH"[place % 8]}${hired}`;
  // It ends when its input does: no worker outlives the one that would replace it.
  const child = spawn(process.execPath, [PROGRAM], { stdio: ["pipe", "inherit", "inherit"], env: { ...process.env, WORKER: `${worker}-${process.pid}` } });
  workers.set(place, { worker: `${worker}-${process.pid}`, child });
  child.on("exit", () => {
    workers.delete(place);
    announce();
    setTimeout(() => hire(place), AGAIN_MS);
  });
  announce();
}

/** Tells the page which workers there are. The channel keeps the last word for pages that come later. */
let told = Promise.resolve();
function announce() {
  told = told.then(() => api("publish", { channel: CHANNELS.workers, data: { workers: [...workers.values()].map(({ worker, child }) => ({ worker, pid: child.pid })) } }));
}

let pictures = 2040;
async function add(trouble) {
  pictures += 1;
  const { position } = await api("publish", { channel: CHANNELS.tasks, data: { picture: `IMG_${pictures}.jpg`, ...(trouble !== "none" && { trouble }) } });
  return position.offset;
}

serve({
  "POST /add": async ({ count = 1, trouble = "none" }) => {
    if (!Number.isInteger(count) || count < 1 || count > TASKS_MAX) throw new Refused(400, `"count" has to be a number from 1 to ${TASKS_MAX}`);
    if (!TROUBLE.includes(trouble)) throw new Refused(400, `"trouble" is one of ${TROUBLE.join(", ")}`);
    const tasks = [];
    for (let added = 0; added < count; added += 1) tasks.push(await add(trouble));
    return { tasks };
  },

  // As the system does when memory runs out: without a word.
  "POST /kill": ({ worker }) => {
    const found = [...workers.values()].find((one) => one.worker === worker);
    if (!found) throw new Refused(404, "there is no such worker");
    found.child.kill("SIGKILL");
  },
});
for (let place = 0; place < WORKERS; place += 1) hire(place);
