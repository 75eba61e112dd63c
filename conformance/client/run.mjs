#!/usr/bin/env node
// Plays transcripts to a client: `run.mjs [--only PART] -- ADAPTER…`. README.md says what they are made of. Prints one line a transcript, and
// at last `N passed, N failed`. Exit status: 0 all passed, 1 not, 2 wrong usage.

import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const split = process.argv.indexOf("--");
const command = split < 0 ? [] : process.argv.slice(split + 1);
const options = process.argv.slice(2, split < 0 ? undefined : split);
if (command.length === 0 || (options.length > 0 && (options[0] !== "--only" || options.length !== 2))) {
  console.log("usage: run.mjs [--only PART] -- ADAPTER…");
  process.exit(2);
}
if (!existsSync(`${HERE}/node_modules/ws`)) {
  execFileSync("npm", ["ci", "--no-audit", "--no-fund", "--ignore-scripts"], { cwd: HERE, stdio: ["ignore", "ignore", "inherit"] });
}
const { Adapter } = await import("./adapter.mjs");
const { Server } = await import("./server.mjs");
const { play } = await import("./play.mjs");

const cases = readdirSync(`${HERE}/cases`)
  .sort()
  .flatMap((file) => JSON.parse(readFileSync(`${HERE}/cases/${file}`, "utf8")).flatMap(expand).map((one) => ({ ...one, file })));
const server = new Server();
const url = await server.listen();
const adapter = new Adapter(command);
let failed = 0;
let passed = 0;
for (const one of cases) {
  const name = `${one.file.replace(".json", "")}: ${one.name}`;
  if (options[1] && !name.includes(options[1])) continue;
  try {
    await play(one, { server, adapter, url });
    passed += 1;
    console.log(`ok    ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${name}\n      ${error.message.replaceAll("\n", "\n      ")}`);
  }
  await adapter.reset();
  server.reset();
}
await adapter.end();
server.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);

/** A transcript with `each` is one for each of its rows. */
function expand({ each, ...one }) {
  if (!each) return [{ ...one, names: {} }];
  return each.map((names) => ({ ...one, name: `${one.name} (${Object.values(names).map(short).join(", ")})`, names }));
}

function short(value) {
  return typeof value === "string" && /^[\w:.-]+$/.test(value) ? value : JSON.stringify(value);
}
