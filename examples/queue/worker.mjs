// A worker: a process that claims tasks, does them, and says what became of them. It can be killed at any moment: what it holds is free again when its lease has run out.
// LEASE_MS is how long that is, WORK_MS how long a task takes.

import { api } from "../frame/backend.mjs";
import { Reader } from "./reader.mjs";
import { ATTEMPTS_MAX, CHANNELS, Queue } from "./page/ledger.js";

const LEASE_MS = Number(process.env.LEASE_MS ?? 5_000);
const WORK_MS = Number(process.env.WORK_MS ?? 900);
const WAIT_MS_MAX = 20_000;

const worker = process.env.WORKER ?? `worker-${process.pid}`;
const FAILED_MS = 300;

/** Says something about a task that this worker holds, and answers where it stands in the ledger. */
async function note(event, { id, attempt }, more = {}) {
  const { position } = await api("publish", { channel: CHANNELS.ledger, event, data: { task: id, worker, attempt, ...more } });
  return position;
}

let queue = new Queue();
const reader = new Reader([CHANNELS.tasks, CHANNELS.ledger], {
  begin: () => (queue = new Queue()),
  take: (message) => queue.take(message),
});

// It ends with whoever has started it.
process.stdin.resume().on("end", () => process.exit(0));

await reader.begin();
for (;;) {
  const held = queue.heldBy(worker);
  const free = queue.free(Date.now());
  if (held) await reader.reach(CHANNELS.ledger, await work(held));
  else if (!free) await reader.read(Math.min(WAIT_MS_MAX, queue.nextFree() - Date.now()));
  else await claim(free);
}

/** Of several workers that saw the same ledger, one succeeds. Whether it has got the task is read from the ledger, as everything else. */
async function claim(task) {
  const if_position = reader.positions[CHANNELS.ledger];
  const data = { task: task.id, worker, lease: LEASE_MS };
  try {
    const { position } = await api("publish", { channel: CHANNELS.ledger, event: "claim", data, if_position });
    await reader.reach(CHANNELS.ledger, position);
    // The server's clock decides when a lease has run out. Where this one is ahead, it has to wait.
    if (!queue.heldBy(worker)) await reader.read(1_000);
  } catch (error) {
    if (error.code !== "conflict") throw error;
    await reader.reach(CHANNELS.ledger, error.position);
  }
}

/** Answers the position of its last word. */
async function work(task) {
  if (task.attempt > ATTEMPTS_MAX) return bury(task);
  const stopRenewing = renew(task);
  try {
    const result = await resize(task);
    // Before it counts as done, and once: whoever dies between the two has it done again, and published no second time.
    await api("publish", { channel: CHANNELS.results, idempotency_key: `task-${task.id}`, data: { task: task.id, result, worker } });
    return await note("done", task);
  } catch (error) {
    return await note("failed", task, { why: error.message, delay: FAILED_MS * task.attempt });
  } finally {
    stopRenewing();
  }
}

function renew(task) {
  let renewing = false;
  const timer = setInterval(async () => {
    // One at a time: while the server is away, it waits.
    if (renewing) return;
    renewing = true;
    await note("renew", task, { lease: LEASE_MS }).catch(() => {});
    renewing = false;
  }, LEASE_MS / 3);
  return () => clearInterval(timer);
}

/** Tried too often, whether it failed or took its workers with it. */
async function bury(task) {
  const why = task.why ?? "its workers did not come back";
  await api("publish", { channel: CHANNELS.dead, idempotency_key: `task-${task.id}`, data: { task: task.id, why, ...task.data } });
  return note("dead", task);
}

/** The work itself: here it only takes a while, and the trouble that the task asks for. */
async function resize({ data: { picture, trouble }, attempt }) {
  // Only the end of this process ends it: as a library that waits for something for ever.
  if (trouble === "hangs" && attempt === 1) await new Promise(() => {});
  await new Promise((resume) => setTimeout(resume, WORK_MS * (0.5 + Math.random())));
  if (trouble === "always" || (trouble === "once" && attempt === 1)) throw new Error("it cannot be read");
  return picture.replace(/\.\w+$/, "-small.webp");
}
