// What has happened and what is awaited, in order. An answer is awaited in a bounded time, long enough for a machine that is busy.

const SECONDS_MAX = 20;

export class Queue {
  #items = [];
  #waiting = null;

  constructor(name) {
    this.name = name;
  }

  push(item) {
    if (this.#waiting) {
      const { resolve, timer } = this.#waiting;
      clearTimeout(timer);
      this.#waiting = null;
      resolve(item);
    } else {
      this.#items.push(item);
    }
  }

  /** Everything that nobody has taken. */
  get rest() {
    return this.#items;
  }

  async take(milliseconds = SECONDS_MAX * 1_000) {
    if (this.#items.length > 0) return this.#items.shift();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting = null;
        reject(new Error(`nothing came ${this.name} in ${milliseconds / 1_000} s`));
      }, milliseconds);
      this.#waiting = { resolve, timer };
    });
  }
}
