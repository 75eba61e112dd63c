// Compiles sources and tests for Node, which runs no TypeScript by itself at the oldest version that we support, and runs the tests.
// `node scripts/test.mjs [NAME…]`; `--compile` only compiles, `--chromium` runs those that take a browser.

import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

const HERE = fileURLToPath(new URL("..", import.meta.url));
const options = process.argv.slice(2).filter((one) => one.startsWith("--"));
const names = process.argv.slice(2).filter((one) => !one.startsWith("--"));

rmSync(`${HERE}/build`, { recursive: true, force: true });
const tsc = [`${HERE}/node_modules/typescript/bin/tsc`, "--project", `${HERE}/tsconfig.json`, "--noEmit", "false"];
execFileSync(process.execPath, [...tsc, "--rootDir", HERE, "--outDir", `${HERE}/build`], { stdio: "inherit" });
if (!options.includes("--compile")) {
  const kind = options.includes("--chromium") ? ".chromium.js" : ".test.js";
  const all = readdirSync(`${HERE}/build/test`).filter((name) => name.endsWith(kind));
  const chosen = all.filter((name) => names.length === 0 || names.some((part) => name.includes(part)));
  const files = chosen.map((name) => `${HERE}/build/test/${name}`);
  process.exit(spawnSync(process.execPath, ["--test", "--test-timeout=120000", ...files], { stdio: "inherit" }).status ?? 1);
}
