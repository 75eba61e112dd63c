// Starts an example: the server with the example's configuration, the backend if there is one, and the page. Owns the order and the addresses; `run` and the
// tests start it alike.

import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { resolve } from "node:path";
import { EXAMPLES, ROOT, parts } from "./examples.mjs";
import { servePages } from "./pages.mjs";
import { Child } from "./process.mjs";

const CLIENT = `${ROOT}sdk/typescript`;

/**
 * `port` is the page's, `env` goes to the backend too, `dataDir` takes the place of the folder that the configuration names for the history.
 * `log` is given what the processes print, `onEnded` is told if one ends by itself.
 */
export async function start(name, { port = 0, env = {}, dataDir, fresh = false, log = null, onEnded } = {}) {
  const example = new Example(name, { env, dataDir, log, onEnded });
  if (fresh && example.dataDir) rmSync(example.dataDir, { recursive: true, force: true });
  try {
    await example.begin(port);
  } catch (error) {
    await example.stop();
    throw error;
  }
  return example;
}

class Example {
  // Made anew for each run and known to nobody else: the configuration takes them from the environment.
  secrets = { SWITCHBOARD_SECRET: randomBytes(32).toString("hex"), SWITCHBOARD_API_KEY: randomBytes(24).toString("hex") };
  where = { http: null, ws: null, backend: null };
  page = null;
  console = null;

  constructor(name, { env, dataDir, log, onEnded }) {
    this.name = name;
    this.parts = parts(name);
    this.env = env;
    this.dataDir = this.parts.durable ? resolve(dataDir ?? `${ROOT}target/examples/${name}`) : null;
    this.options = { log, onEnded, cwd: ROOT };
    this.server = new Part(() => this.startServer());
    this.backend = this.parts.backend && new Part(() => this.startBackend());
  }

  async begin(port) {
    await this.server.start();
    await this.backend?.start();
    if (!this.parts.page) return;
    const folders = { page: this.parts.page, shared: `${EXAMPLES}/shared`, client: builtClient() };
    this.pages = await servePages({ ...folders, where: () => ({ example: this.name, ...this.where }), port });
    this.page = `http://127.0.0.1:${this.pages.address().port}/`;
  }

  /** At its second start it listens where it listened at its first: clients come back. */
  async startServer() {
    const listen = this.where.http ? new URL(this.where.http).host : "127.0.0.1:0";
    const flags = ["serve", "--config", this.parts.config, "--listen", listen, "--admin-listen", "127.0.0.1:0", "--log", "warn"];
    if (this.dataDir) {
      mkdirSync(this.dataDir, { recursive: true });
      flags.push("--data-dir", this.dataDir);
    }
    const child = new Child("switchboard", binary(), flags, { ...this.options, env: { SWITCHBOARD_SERVER__DRAIN_WINDOW: "1s", ...this.secrets } });
    const [, host] = await child.prints(/WebSocket +ws:\/\/([\w.:[\]]+)\/ws/);
    [, this.console] = await child.prints(/console +(http\S+)/);
    Object.assign(this.where, { http: `http://${host}`, ws: `ws://${host}/ws` });
    return child;
  }

  async startBackend() {
    const port = this.where.backend ? new URL(this.where.backend).port : "0";
    const env = { SWITCHBOARD_URL: this.where.http, ...this.secrets, PORT: port, ...this.env };
    const child = new Child("the backend", process.execPath, [this.parts.backend], { ...this.options, env });
    [, this.where.backend] = await child.prints(/listens on (http\S+)/);
    return child;
  }

  /** Asks the HTTP API as a backend does, for tests: `await call("publish", { channel, data })`. */
  async call(method, body) {
    const headers = { authorization: `Bearer ${this.secrets.SWITCHBOARD_API_KEY}` };
    const answer = await fetch(`${this.where.http}/api/v1/${method}`, { method: "POST", headers, body: JSON.stringify(body) });
    const said = await answer.json();
    if (!answer.ok) throw Object.assign(new Error(`${method}: ${said.error.message}`), said.error);
    return said;
  }

  async stop() {
    this.pages?.closeAllConnections();
    this.pages?.close();
    await this.backend?.stop();
    await this.server.stop();
  }
}

/** A process of an example that can be stopped, killed and started again. */
class Part {
  child = null;

  constructor(spawn) {
    this.spawn = spawn;
  }

  async start() {
    this.child = await this.spawn();
  }

  /** Its exit status. */
  async stop(signal = "SIGTERM") {
    const { child } = this;
    this.child = null;
    return child?.stop(signal);
  }

  kill() {
    return this.stop("SIGKILL");
  }

  async restart(signal) {
    await this.stop(signal);
    await this.start();
  }
}

function binary() {
  const target = process.env.CARGO_TARGET_DIR ?? `${ROOT}target`;
  const given = process.env.SWITCHBOARD_BIN;
  if (given && !existsSync(given)) throw new Error(`SWITCHBOARD_BIN names ${given}, which is not there`);
  const built = [given, `${target}/release/switchboard`, `${target}/debug/switchboard`].find((path) => path && existsSync(path));
  if (built) return resolve(built);
  process.stderr.write("There is no server yet: cargo builds it, which takes some minutes the first time.\n");
  execFileSync("cargo", ["build", "--locked", "--package", "switchboard-server"], { cwd: ROOT, stdio: ["ignore", "inherit", "inherit"] });
  return resolve(`${target}/debug/switchboard`);
}

/** The folder of the TypeScript client's modules, built if they are not there. */
function builtClient() {
  const built = `${CLIENT}/dist/esm`;
  if (!existsSync(`${built}/index.js`)) {
    process.stderr.write("The TypeScript client is not built yet: npm does it.\n");
    const npm = (...words) => execFileSync("npm", words, { cwd: CLIENT, stdio: ["ignore", "ignore", "inherit"] });
    npm("ci", "--no-audit", "--no-fund", "--ignore-scripts");
    npm("run", "build");
  }
  return built;
}
