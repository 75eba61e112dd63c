// Does long jobs (here it only pretends to export films), and tells each step on the job's own channel. STEP_MS is how long a step takes.

import { randomUUID } from "node:crypto";
import { Refused, api, serve, text } from "../frame/backend.mjs";

const STEP_MS = Number(process.env.STEP_MS ?? 220);
const STAGES = [
  { name: "Read", steps: 8, line: (step) => `read reel ${step} of 8` },
  { name: "Grade", steps: 12, line: (step) => `graded scene ${step} of 12` },
  { name: "Encode", steps: 24, line: (step) => `encoded ${step * 90} of 2160 frames` },
  { name: "Upload", steps: 10, line: (step) => `sent ${step * 48} of 480 MB` },
];
const WAITS_BEFORE = "Upload";
const FAILS_IN = "Encode";
const JOBS_MAX = 100;

const jobs = new Map();

class Job {
  id = randomUUID();
  cancelled = false;

  constructor(film, fails) {
    Object.assign(this, { film, fails });
    this.confirmed = new Promise((confirm) => (this.confirm = confirm));
  }

  tell(event, data = {}) {
    return api("publish", { channel: `job:${this.id}`, event, data });
  }

  async run() {
    let done = 0;
    for (const { name, steps, line } of STAGES) {
      if (name === WAITS_BEFORE) {
        await this.tell("waits", { question: "The film is ready. Shall it be uploaded?" });
        await this.confirmed;
        if (!this.cancelled) await this.tell("goes-on");
      }
      for (let step = 1; step <= steps; step += 1) {
        if (this.cancelled) return this.tell("cancelled");
        if (this.fails && name === FAILS_IN && step === 7) return this.tell("failed", { why: "the tape is damaged at 00:04:12" });
        await new Promise((resume) => setTimeout(resume, STEP_MS * (0.5 + Math.random())));
        done += 1;
        await this.tell("step", { done, stage: name, line: line(step) });
      }
    }
    await this.tell("done", { result: `“${this.film}” is online.` });
  }
}

serve({
  "POST /start": async (body) => {
    if (jobs.size >= JOBS_MAX) throw new Refused(503, "there are too many jobs already");
    const job = new Job(text(body, "film"), body.fails === true);
    // Before anybody can look.
    await job.tell("started", { film: job.film, stages: STAGES.map(({ name, steps }) => ({ name, steps })) });
    jobs.set(job.id, job);
    job
      .run()
      .catch((error) => console.error(error))
      .finally(() => jobs.delete(job.id));
    return { id: job.id };
  },
  "POST /confirm": (body) => running(body).confirm(),
  "POST /cancel": (body) => {
    const job = running(body);
    job.cancelled = true;
    job.confirm();
  },
});

function running({ id }) {
  const job = jobs.get(id);
  if (!job) throw new Refused(404, "this job does not run");
  return job;
}
