// What a user did, to be taken back: for each step the operation that leads back, moved on with what the others do meanwhile. So it takes back
// what this user did and nothing of the others. Pure.

import { changesNothing, compose, invert, transform } from "./ot.mjs";

const STEPS_MAX = 100;

export class Undo {
  /** For each step the way back, the latest last. Each is for the text that those behind it leave. */
  done = [];
  undone = [];

  /** The user changed `view` by this operation. `joined`: it belongs to the step before, as the letters of a word do. */
  did(operation, view, joined) {
    const back = invert(operation, view);
    const last = joined ? this.done.pop() : undefined;
    this.done.push(last ? compose(back, last) : back);
    if (this.done.length > STEPS_MAX) this.done.shift();
    this.undone = [];
  }

  /** Somebody else changed the view by this operation. */
  onChange(operation) {
    for (const stack of [this.done, this.undone]) {
      let moved = operation;
      for (let index = stack.length - 1; index >= 0; index -= 1) [moved, stack[index]] = transform(moved, stack[index]);
    }
  }

  /** What takes the last step back, for this view; `null` if there is none. */
  undo(view) {
    return step(this.done, this.undone, view);
  }

  /** What does it again. */
  redo(view) {
    return step(this.undone, this.done, view);
  }
}

function step(from, to, view) {
  for (let operation = from.pop(); operation; operation = from.pop()) {
    // Others have deleted all of it.
    if (changesNothing(operation)) continue;
    to.push(invert(operation, view));
    return operation;
  }
  return null;
}
