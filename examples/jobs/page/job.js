// A job as far as it is known: what its channel has told, folded. Knows nothing of how it looks or who tells.

export class Job {
  film = "";
  stages = [];
  state = "unknown";
  done = 0;
  lines = [];
  question = "";
  outcome = "";

  take({ event, data }) {
    switch (event) {
      case "started":
        return Object.assign(this, { film: data.film, stages: data.stages, state: "runs" });
      case "step":
        this.done = data.done;
        return this.lines.push(data.line);
      case "waits":
        return Object.assign(this, { state: "waits", question: data.question });
      case "goes-on":
        return (this.state = "runs");
      case "done":
        return Object.assign(this, { state: "done", outcome: data.result });
      case "failed":
        return Object.assign(this, { state: "failed", outcome: `It failed: ${data.why}.` });
      case "cancelled":
        return Object.assign(this, { state: "cancelled", outcome: "It was cancelled." });
    }
  }

  get steps() {
    return this.stages.reduce((sum, { steps }) => sum + steps, 0);
  }

  get isOver() {
    return ["done", "failed", "cancelled"].includes(this.state);
  }

  /** Each stage with the part of it that is done, from 0 to 1. */
  get progress() {
    let before = 0;
    return this.stages.map(({ name, steps }) => {
      const part = Math.min(1, Math.max(0, (this.done - before) / steps));
      before += steps;
      return { name, steps, part };
    });
  }
}
