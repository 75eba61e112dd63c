// Many editors for as long as you like: `node examples/collaborative-text/test/simulate.mjs [--seed N] [--rounds N] [--editors N] [--edits N]`.
// Needs what `examples/test/run.mjs` installs.

import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { start } from "../../frame/start.mjs";
import { editors } from "./editors.mjs";

/** What editors outside of a browser take: the client as it is built, and a WebSocket. */
export async function means() {
  const { Client } = await import("../../../sdk/typescript/dist/esm/index.js");
  const { WebSocket } = createRequire(new URL("../../test/", import.meta.url))("ws");
  return { Client, WebSocket };
}

async function main() {
  const text = { type: "string" };
  const { values } = parseArgs({ options: { seed: text, rounds: text, editors: text, edits: text } });
  const first = Number(values.seed ?? Date.now() % 1_000_000_000);
  const dataDir = mkdtempSync(`${tmpdir()}/switchboard-editors-`);
  const running = await start("collaborative-text", { dataDir });
  try {
    for (let seed = first; seed < first + Number(values.rounds ?? 1); seed += 1) {
      const [count, edits] = [Number(values.editors ?? 6), Number(values.edits ?? 600)];
      const restart = () => running.server.restart("SIGKILL");
      const happened = await editors({ ...(await means()), url: running.where.ws, restart, document: `seed-${seed}`, seed, count, edits });
      console.log(`ok      --seed ${seed} --editors ${count} --edits ${edits}: ${JSON.stringify(happened)}`);
    }
  } finally {
    await running.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

if (process.argv[1] === new URL(import.meta.url).pathname) await main();
