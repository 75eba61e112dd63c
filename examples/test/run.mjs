#!/usr/bin/env node
// The examples in Chromium, each against the real server with its own configuration and backend.
// Usage: `node examples/test/run.mjs [NAME…]`. SWITCHBOARD_BIN names the binary, CHROMIUM the browser.
// Prints one line a check, at last `N passed, N failed`; exit status 0 if none failed. Screenshots go to target/artifacts/examples.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { EXAMPLES, ROOT, names } from "../frame/examples.mjs";
import { Stage } from "./stage.mjs";

const HERE = fileURLToPath(new URL(".", import.meta.url));
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
const unknown = asked.filter((name) => !names().includes(name));
if (unknown.length > 0) {
  console.error(`there is no example ${unknown.join(", ")}; there are: ${names().join(", ")}`);
  process.exit(2);
}
if (!existsSync(`${HERE}/node_modules/playwright-core`) || !existsSync(`${HERE}/node_modules/axe-core`)) {
  execFileSync("npm", ["ci", "--no-audit", "--no-fund", "--ignore-scripts"], { cwd: HERE, stdio: ["ignore", "ignore", "inherit"] });
}
const { chromium } = await import("playwright-core");
const { source: axe } = (await import("axe-core")).default;
const artifacts = `${ROOT}target/artifacts/examples`;
mkdirSync(artifacts, { recursive: true });

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
let [passed, failed] = [0, 0];
for (const name of asked.length > 0 ? asked : names()) {
  const started = performance.now();
  const stage = new Stage({ name, browser, artifacts, axe });
  await stage.run(async () => (await import(`${EXAMPLES}/${name}/test.mjs`)).test);
  passed += stage.passed;
  failed += stage.failed;
  console.log(`        ${name} took ${((performance.now() - started) / 1000).toFixed(1)} s`);
}
await browser.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
