// What can be tested without a server: `node examples/collaborative-text/test/paper.mjs [--seed N] [--rounds N]`. The same seed is the same run.

import { parseArgs } from "node:util";
import { histories } from "./histories.mjs";
import { properties } from "./properties.mjs";

const { values } = parseArgs({ options: { seed: { type: "string" }, rounds: { type: "string" } } });
const seed = Number(values.seed ?? Date.now() % 1_000_000_000);
const rounds = values.rounds && Number(values.rounds);
console.log(`seed ${seed}`);
try {
  properties({ seed, rounds });
  histories({ seed, rounds });
} catch (error) {
  console.log(`FAILED  ${error.message}`);
  console.error(error.cause ?? error);
  process.exitCode = 1;
}
