#!/usr/bin/env node
// The examples in Chromium, each against the real server with its own configuration and backend.
// Usage: `node examples/test/run.mjs [NAME…]`; the name `run` is the command `examples/run` itself. SWITCHBOARD_BIN names the binary, CHROMIUM the browser.
// Prints one line a check, at last `N passed, N failed`; exit status 0 if none failed. Screenshots go to target/artifacts/examples.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { EXAMPLES, ROOT, names } from "../frame/examples.mjs";
import { Stage } from "./stage.mjs";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const AT_ONCE = 2;
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

const asked = process.argv.slice(2);
// The command that starts an example is tested as one more.
const all = ["run", ...names()];
const unknown = asked.filter((name) => !all.includes(name));
if (unknown.length > 0) {
  console.error(`there is no example ${unknown.join(", ")}; there are: ${all.join(", ")}`);
  process.exit(2);
}
const { dependencies } = JSON.parse(readFileSync(`${HERE}/package.json`, "utf8"));
if (Object.keys(dependencies).some((name) => !existsSync(`${HERE}/node_modules/${name}`))) {
  execFileSync("npm", ["ci", "--no-audit", "--no-fund", "--ignore-scripts"], { cwd: HERE, stdio: ["ignore", "ignore", "inherit"] });
}
const { chromium } = await import("playwright-core");
const { source: axe } = (await import("axe-core")).default;
const artifacts = `${ROOT}target/artifacts/examples`;
mkdirSync(artifacts, { recursive: true });
for (const name of readdirSync(artifacts)) if (name.startsWith("failed-")) rmSync(`${artifacts}/${name}`);

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
let [passed, failed] = [0, 0];
const waiting = asked.length > 0 ? asked : all;
// They mostly wait: for a page, for a connection to come back.
await Promise.all(Array.from({ length: AT_ONCE }, testWaiting));
await browser.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);

async function testWaiting() {
  for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
    const started = performance.now();
    const stage = new Stage({ name, browser, artifacts, axe });
    const path = name === "run" ? `${HERE}/command.mjs` : `${EXAMPLES}/${name}/test.mjs`;
    await stage.run(async () => (await import(path)).test);
    passed += stage.passed;
    failed += stage.failed;
    console.log(`        ${name} took ${((performance.now() - started) / 1000).toFixed(1)} s`);
  }
}
