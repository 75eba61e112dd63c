// Owns how a check in JavaScript is run, timed and told: one line a check on standard output, `ok NAME` or `not ok NAME: reason`.
// Knows nothing of WebSocket.

import { isDeepStrictEqual, inspect } from "node:util";

const SECONDS_MAX = 30;
const SHOWN_MAX = 300;

/** Runs each check (a function by its name) with the address that the command line gives, then `last`. Exits with 1 if one failed. */
export async function main(checks, last = () => {}) {
  let failures = 0;
  for (const [name, check] of Object.entries(checks)) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not done within ${SECONDS_MAX} s`)), SECONDS_MAX * 1000);
    });
    try {
      await Promise.race([check(process.argv[2]), late]);
      console.log(`ok ${name}`);
    } catch (error) {
      failures += 1;
      console.log(`not ok ${name}: ${short(String(error?.message ?? error))}`);
    } finally {
      clearTimeout(timer);
    }
  }
  await last();
  // A peer that misbehaved may have left sockets open, and they shall not keep the process.
  process.stdout.write("", () => process.exit(failures ? 1 : 0));
}

export function equal(found, expected) {
  if (!isDeepStrictEqual(found, expected)) {
    throw new Error(`found ${short(inspect(found, { depth: 6 }))}, expected ${short(inspect(expected, { depth: 6 }))}`);
  }
}

export function short(text) {
  const line = text.replaceAll("\n", " ");
  return line.length <= SHOWN_MAX ? line : `${line.slice(0, SHOWN_MAX)}… (${line.length} characters)`;
}

/** The next event of a kind, as a promise of its arguments; `error` and `close` reject it unless they are what is awaited. */
export function once(emitter, event) {
  return new Promise((resolve, reject) => {
    const listeners = {
      [event]: (...values) => finish(resolve, values),
      error: (error) => finish(reject, error),
    };
    if (event !== "close") {
      listeners.close ??= (code) => finish(reject, new Error(`closed with ${code} instead of ${event}`));
    }
    if (event === "error") {
      listeners.error = (...values) => finish(resolve, values);
    }
    function finish(settle, value) {
      for (const [name, listener] of Object.entries(listeners)) emitter.off(name, listener);
      settle(value);
    }
    for (const [name, listener] of Object.entries(listeners)) emitter.on(name, listener);
  });
}
