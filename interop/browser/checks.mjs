// Owns the running, timing and counting of checks: one line a check, `ok      NAME` or `FAILED  NAME: reason`. Knows nothing of pages.

const SECONDS_MAX = 45;

export class Checks {
  passed = 0;
  failed = 0;

  /** `onFailure` may keep what helps to see why. */
  constructor(onFailure = async () => {}) {
    this.onFailure = onFailure;
  }

  async check(name, run) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not done within ${SECONDS_MAX} s`)), SECONDS_MAX * 1000);
    });
    try {
      await Promise.race([run(), late]);
      this.passed += 1;
      console.log(`ok      ${name}`);
    } catch (error) {
      this.failed += 1;
      console.log(`FAILED  ${name}: ${String(error?.message ?? error).replace(/\s+/g, " ").slice(0, 600)}`);
      await this.onFailure(name).catch(() => {});
    } finally {
      clearTimeout(timer);
    }
  }

  /** Prints the sum and answers the exit status. */
  sum() {
    console.log(`${this.passed} passed, ${this.failed} failed`);
    return this.failed === 0 && this.passed > 0 ? 0 : 1;
  }
}

export function equal(found, expected) {
  const [one, other] = [JSON.stringify(found), JSON.stringify(expected)];
  if (one !== other) throw new Error(`found ${one}, expected ${other}`);
}
