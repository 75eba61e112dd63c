// The state of the queue, folded from its channels: workers and pages fold the same messages in the same order, so they agree on who holds what. Time is the server's,
// as the messages carry it. Knows nothing of connections, and nothing of how a task is done.

export const CHANNELS = { tasks: "tasks:pictures", ledger: "ledger:pictures", results: "results:pictures", dead: "dead:pictures", workers: "workers:pictures" };

/** How often a task is tried before it is given up. */
export const ATTEMPTS_MAX = 3;

export class Queue {
  /** By offset on the channel of tasks. `state` is `waiting`, `claimed`, `done` or `dead`. */
  tasks = new Map();

  /** A message of either channel. There is no order between two channels: the ledger may speak of a task before the task itself is known, and counts all the same. */
  take({ channel, offset, timestamp, event, data }) {
    if (channel === CHANNELS.tasks) this.task(offset).data = data;
    if (channel === CHANNELS.ledger) this.note(event, data, timestamp);
  }

  task(id) {
    if (!this.tasks.has(id)) this.tasks.set(id, { id, data: null, state: "waiting", attempt: 0, worker: null, until: 0, why: null });
    return this.tasks.get(id);
  }

  note(event, { task: id, worker, attempt, lease, why, delay }, now) {
    const task = this.task(id);
    if (event === "claim") {
      // Whoever claimed what was not free has not got it.
      if (isFree(task, now)) Object.assign(task, { state: "claimed", worker, attempt: task.attempt + 1, until: now + lease });
      return;
    }
    // Who has lost a claim to another has no say any more.
    if (task.state !== "claimed" || task.worker !== worker || task.attempt !== attempt) return;
    if (event === "renew") task.until = now + lease;
    if (event === "failed") Object.assign(task, { state: "waiting", worker: null, until: now + delay, why });
    if (event === "done" || event === "dead") task.state = event;
  }

  /** Those whose content is known, oldest first. */
  get known() {
    return [...this.tasks.values()].filter(({ data }) => data !== null).sort((one, other) => one.id - other.id);
  }

  /** The oldest that may be claimed. */
  free(now) {
    return this.known.find((task) => isFree(task, now)) ?? null;
  }

  /** What a worker holds. */
  heldBy(worker) {
    return this.known.find((task) => task.state === "claimed" && task.worker === worker) ?? null;
  }

  /** When the next task may be claimed; infinity if there is none left. */
  nextFree() {
    return Math.min(...this.known.filter(isOpen).map(({ until }) => until));
  }

  /** How many are in each state. */
  get counts() {
    const counts = { waiting: 0, claimed: 0, done: 0, dead: 0 };
    for (const { state } of this.known) counts[state] += 1;
    return counts;
  }
}

const isOpen = ({ state }) => state === "waiting" || state === "claimed";

/** Nobody has it, or whoever had it has not been heard of for too long. */
const isFree = (task, now) => isOpen(task) && task.until <= now;
