// The command line of `examples/run`. Owns what a person types and reads; knows nothing of processes.

import { names, summary } from "./examples.mjs";
import { start } from "./start.mjs";

const HELP = `examples/run NAME [--port N]   start an example, print its page's address, stop everything at Ctrl-C
examples/run --list            the examples

  --port N   the page's port; any free one otherwise
  --fresh    forget what an example with a durable history has kept

SWITCHBOARD_BIN names the server's binary. Without it, target/release or target/debug has it, or cargo builds it.
`;

export async function main(words) {
  try {
    await dispatch(words);
  } catch (error) {
    process.stderr.write(`examples/run: ${error.message}\n`);
    process.exit(1);
  }
}

async function dispatch(words) {
  const { name, port, fresh, wants } = parse(words);
  if (wants === "help") return void process.stdout.write(HELP);
  if (wants === "list") return names().forEach((one) => console.log(`${one.padEnd(22)}${summary(one)}`));

  let stopping = false;
  const failed = (what) => {
    if (stopping) return;
    process.stderr.write(`examples/run: ${what}\n`);
    process.exit(1);
  };
  const running = await start(name, { port, fresh, log: process.stderr, onEnded: failed });
  console.log(`\n  ${summary(name)}\n`);
  if (running.page) console.log(`  page      ${running.page}`);
  console.log(`  server    ${running.where.http}`);
  if (running.where.backend) console.log(`  backend   ${running.where.backend}`);
  console.log(`  console   ${running.console}\n\n  Ctrl-C stops it.\n`);
  const stop = async () => {
    // Whoever does not want to wait asks twice.
    if (stopping) process.exit(130);
    stopping = true;
    await running.stop();
    process.exit(0);
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, stop);
}

function parse(words) {
  const parsed = { name: null, port: 0, fresh: false, wants: null };
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at];
    if (word === "--help" || word === "-h") return { ...parsed, wants: "help" };
    if (word === "--list") return { ...parsed, wants: "list" };
    if (word === "--fresh") parsed.fresh = true;
    else if (word === "--port") parsed.port = portOf(words[(at += 1)]);
    else if (word.startsWith("-")) throw new Error(`there is no flag ${word}; see --help`);
    else if (parsed.name !== null) throw new Error(`one example at a time: ${parsed.name} or ${word}`);
    else parsed.name = word;
  }
  if (parsed.name === null) return { ...parsed, wants: "help" };
  if (!names().includes(parsed.name)) throw new Error(`there is no example ${parsed.name}; there are: ${names().join(", ")}`);
  return parsed;
}

function portOf(word) {
  const port = Number(word);
  if (!Number.isInteger(port) || port < 0 || port > 65535) throw new Error(`--port wants a number from 0 to 65535, not ${word}`);
  return port;
}
