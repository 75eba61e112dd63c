// Does what pages say, block by block, as a reader would: writes their files, runs their commands, compares what these print with what the page shows,
// and looks where the page says what is to be seen. The ports of the pages are replaced by free ones, in files and commands alike.
// Argument: `steps` (the blocks), `folder`, `command` (the server's), `chromium` and perhaps `node_modules`, as JSON.

import { chmodSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import net from "node:net";
import { chromium } from "playwright-core";
import { short } from "../checks.mjs";
import { checks } from "./reader_checks.mjs";
import { Terminals, shown } from "./terminals.mjs";

const STEP_MS_MAX = 60_000;
const about = JSON.parse(process.argv[2]);
const folder = `${about.folder}/chat`;
rmSync(folder, { recursive: true, force: true });
for (const name of ["chat", "bin", "log"]) mkdirSync(`${about.folder}/${name}`, { recursive: true });

if (about.node_modules) symlinkSync(about.node_modules, `${folder}/node_modules`);

const isFree = (port) =>
  new Promise((resolve) => {
    const server = net.createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });

/** Free ports in place of the pages' own. Below those that the system gives to connections that go out, so that they stay free. */
async function freePorts(names) {
  const ports = {};
  for (const name of names) {
    do ports[name] = 10_000 + Math.floor(Math.random() * 20_000);
    while (Object.values(ports).filter((port) => port === ports[name]).length > 1 || !(await isFree(ports[name])));
  }
  return ports;
}

const PORTS = [3000, 6001, 8080, 8081, 8443, 8444];
const ports = await freePorts(PORTS);
const here = (text) => text.replace(new RegExp(`\\b(${PORTS.join("|")})\\b`, "g"), (port) => ports[port]);

// `switchboard` as if it were installed; what it would assume about ports it is told.
const [binary] = about.command;
const told = `case "$1" in history|channels|presence|send|disconnect|unsubscribe) set -- "$@" --admin http://127.0.0.1:${ports[8081]};; esac`;
writeFileSync(`${about.folder}/bin/switchboard`, `#!/bin/sh\n${told}\nexec '${binary}' "$@"\n`);
chmodSync(`${about.folder}/bin/switchboard`, 0o755);
const env = {
  ...process.env,
  PATH: `${about.folder}/bin:${process.env.PATH}:/usr/sbin`,
  SWITCHBOARD_SERVER__LISTEN: `127.0.0.1:${ports[8080]}`,
  SWITCHBOARD_SERVER__ADMIN_LISTEN: `127.0.0.1:${ports[8081]}`,
  SWITCHBOARD_API_URL: `http://127.0.0.1:${ports[8080]}`,
  SWITCHBOARD_URL: `ws://127.0.0.1:${ports[8080]}/ws`,
};
const terminals = new Terminals({ cwd: folder, env, log: `${about.folder}/log` });
const args = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];
const browser = await chromium.launch({ executablePath: about.chromium, args });
const world = { browser, folder, ports, terminals, people: {} };
let printed = "";

const actions = {
  file: (name, text) => writeFileSync(`${folder}/${name}`, here(text)),
  run: async (_, text) => (printed = (await terminals.run(here(text))).replace(/[^\n]$/, "$&\n")),
  in: async (name, text) => {
    const status = await terminals.start(name, here(text));
    // What the server promises of Ctrl-C.
    if (name === "server" && ![undefined, 0].includes(status)) throw new Error(`the server that ran there ended with ${status}`);
  },
  output: async (name, text) => {
    if (name) return terminals.get(name).shows(here(text));
    if (shown(here(text), printed) !== printed.length) throw new Error(`the command printed ${JSON.stringify(printed)}`);
  },
  stop: (name) => terminals.get(name).stop(),
  see: async (name) => {
    const [what, ...at] = name.split(": ").reverse();
    if (!checks[what]) throw new Error(`nothing is called ${what}`);
    await checks[what](world, ...at);
  },
};

async function within(promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done within ${STEP_MS_MAX / 1000} s`)), STEP_MS_MAX);
  });
  await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

let failed = 0;
for (const { place, words, text } of JSON.parse(readFileSync(about.steps, "utf8"))) {
  const [word, value] = Object.entries(words)[0];
  const name = `${place} ${word === "run" || word === "in" ? text.trim().split("\n")[0] : `${word} ${value}`}`;
  try {
    if (!actions[word]) throw new Error(`nobody knows what to do with \`${word}\``);
    await within(actions[word](value, text));
    console.log(`ok ${name}`);
  } catch (error) {
    console.log(`not ok ${name}: ${short(error.message)}`);
    // What follows builds on it.
    failed = 1;
    break;
  }
}
await browser.close();
await terminals.stopAll();
process.exit(failed);
