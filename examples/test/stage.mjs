// What an example's test is given: the example, started; pages of the browser; checks; screenshots. Owns everything that has to be stopped and thrown away behind
// it. Knows nothing of any example.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { start } from "../frame/start.mjs";

const CHECK_S_MAX = 90;
const WAIT_MS_MAX = 60_000;
const WIDE = { width: 1180, height: 820 };
const PHONE = { width: 390, height: 780 };

export class Stage {
  passed = 0;
  failed = 0;
  running = null;
  pages = [];
  errors = [];
  scratch = mkdtempSync(`${tmpdir()}/switchboard-example-`);

  constructor({ name, browser, artifacts, axe }) {
    Object.assign(this, { name, browser, artifacts, axe });
  }

  /** Runs the test, and a last check that no page has failed. */
  async run(load) {
    const tools = {
      assert,
      artifacts: this.artifacts,
      start: this.start.bind(this),
      newPage: this.newPage.bind(this),
      check: this.check.bind(this),
      until,
      shots: this.shots.bind(this),
    };
    try {
      const test = await load();
      await test(tools);
      await this.check("no page has failed", () => assert.deepEqual(this.errors, []));
    } catch (error) {
      await this.check("the test runs to its end", () => Promise.reject(error));
    } finally {
      for (const { context } of this.pages) await context.close().catch(() => {});
      await this.running?.stop();
      rmSync(this.scratch, { recursive: true, force: true });
    }
  }

  /**
   * Starts the example, with an empty folder for a history that is durable. Answers what `frame/start.mjs` does: `page`, `where`, `server` and `backend` with
   * `stop`, `kill`, `start` and `restart`, and `call(method, body)` for the HTTP API.
   */
  async start({ env = {} } = {}) {
    assert.equal(this.running, null, "an example is started once");
    this.running = await start(this.name, { env, dataDir: `${this.scratch}/history`, onEnded: (what) => this.errors.push(what) });
    return this.running;
  }

  /**
   * A page of the example, in a browser of its own: `await newPage("?user=ann")`. With `beside`, an earlier page, it is another tab of that one's browser.
   * `scheme`, `viewport` and `prepare` (a function that is run in the page before its own scripts) are optional. With `hold` the page's subscriptions by WebSocket
   * do not leave it before `await page.release()`: what happens between reading and listening happens then.
   */
  async newPage(path = "", { beside, scheme = "light", viewport = WIDE, prepare, hold = false } = {}) {
    const context = beside?.context() ?? (await this.browser.newContext({ colorScheme: scheme, viewport, reducedMotion: "reduce" }));
    if (prepare) await context.addInitScript(prepare);
    const page = await context.newPage();
    if (hold) await page.addInitScript(holdSubscriptions);
    page.release = () => page.evaluate(() => globalThis.release());
    page.setDefaultTimeout(WAIT_MS_MAX);
    page.on("pageerror", (error) => this.errors.push(`${path || "the page"}: ${error.message}`));
    this.pages.push({ page, context });
    const reload = page.reload.bind(page);
    page.reload = () => reload().then(() => ready(page));
    await page.goto(this.running.page + path);
    await ready(page);
    return page;
  }

  async check(name, run) {
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`not done within ${CHECK_S_MAX} s`)), CHECK_S_MAX * 1000);
    });
    try {
      await Promise.race([run(), late]);
      this.passed += 1;
      console.log(`ok      ${this.name}: ${name}`);
    } catch (error) {
      this.failed += 1;
      console.log(`FAILED  ${this.name}: ${name}: ${String(error?.message ?? error).replace(/\s+/g, " ").slice(0, 800)}`);
      for (const [index, { page }] of this.pages.entries()) {
        await page.screenshot({ path: `${this.artifacts}/failed-${this.name}-${index}.png`, timeout: 5_000 }).catch(() => {});
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** How a page looks: light, dark, and on a phone; and that it can be read there by everybody. */
  async shots(page, label = "") {
    const path = (kind) => `${this.artifacts}/${[this.name, label, kind].filter(Boolean).join("-")}.png`;
    for (const scheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme: scheme });
      await page.screenshot({ path: path(scheme) });
      await page.evaluate(this.axe);
      const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
      assert.deepEqual(violations.map(({ id, nodes }) => `${scheme}, ${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`)}`), []);
    }
    await page.emulateMedia({ colorScheme: "light" });
    const before = page.viewportSize();
    await page.setViewportSize(PHONE);
    await page.screenshot({ path: path("phone") });
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.equal(width, PHONE.width, "on a phone nothing reaches past the edge");
    await page.setViewportSize(before);
  }
}

/** Runs in the page. */
function holdSubscriptions() {
  const { send } = WebSocket.prototype;
  const held = [];
  WebSocket.prototype.send = function (frame) {
    if (typeof frame === "string" && frame.includes('"type":"subscribe"')) held.push(() => send.call(this, frame));
    else send.call(this, frame);
  };
  globalThis.release = () => {
    WebSocket.prototype.send = send;
    for (const go of held) go();
  };
}

/** Its scripts have run to their end: what is pressed now is heard. */
const ready = (page) =>
  page.evaluate(() => Promise.all([...document.querySelectorAll("script[type=module][src]")].map(({ src }) => import(src))).then(() => {}));

/** Waits until `condition()` is true, or answers anything that is; what it threw last is told if it never is. */
async function until(condition, what = "the condition") {
  const deadline = Date.now() + WAIT_MS_MAX;
  let last = "";
  for (;;) {
    try {
      const found = await condition();
      if (found) return found;
    } catch (error) {
      last = `: ${error.message}`;
    }
    if (Date.now() > deadline) throw new Error(`${what} has not come about${last}`);
    await new Promise((resume) => setTimeout(resume, 40));
  }
}
