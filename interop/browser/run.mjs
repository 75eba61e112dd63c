#!/usr/bin/env node
// Two Chromium windows of the console and one terminal in one room of the real server, then plain pages, then a restart.
// Usage: `node interop/browser/run.mjs`. SWITCHBOARD_BIN names the binary (target/debug/switchboard if absent), CHROMIUM the browser.
// Prints one line a check, at last `N passed, N failed`; exit status 0 if none failed. Screenshots go to artifacts/.

import { execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { Checks, equal } from "./checks.mjs";
import { ConsolePage } from "./console_page.mjs";
import { BINARY, Process, ROOT, pause, serve } from "./processes.mjs";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const ARTIFACTS = `${ROOT}/artifacts`;
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const CHANNEL = "room:lobby";

if (!existsSync(`${HERE}/node_modules/playwright-core`)) {
  execFileSync("npm", ["ci", "--no-audit", "--no-fund", "--ignore-scripts"], { cwd: HERE, stdio: ["ignore", "ignore", "inherit"] });
}
const { chromium } = await import("playwright-core");
const { source: axe } = (await import("axe-core")).default;

mkdirSync(ARTIFACTS, { recursive: true });
for (const name of readdirSync(ARTIFACTS)) if (name.startsWith("failed-")) rmSync(`${ARTIFACTS}/${name}`);
let { server, origin, addresses } = await serve();
const browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
const windows = [];
const checks = new Checks(async (name) => {
  for (const { page, name: who } of windows) await page.screenshot({ path: `${ARTIFACTS}/failed-${name.replace(/\W+/g, "-").slice(0, 60)}-${who}.png` });
});
const check = checks.check.bind(checks);
const raw = addresses.raw + CHANNEL;

let ann;
let bob;
let terminal;
try {
  await together();
  await looks();
  await counts();
  await inspects();
  await floods();
  await snippets();
  await plain();
  await comesBack();
} catch (error) {
  await check("the checks run to their end", () => Promise.reject(error));
} finally {
  await browser.close();
  await server.stop("SIGKILL");
}
process.exit(checks.sum());

/** Two windows and a terminal: each sees what the others say, and who is there. */
async function together() {
  await check("two windows connect", async () => {
    ann = await ConsolePage.open(browser, origin, { name: "ann", channel: CHANNEL });
    bob = await ConsolePage.open(browser, origin, { name: "bob", channel: CHANNEL, colorScheme: "dark" });
    windows.push(ann, bob);
  });
  await check("both see both names", async () => {
    for (const one of windows) await one.presence((users) => users.join() === "ann,bob");
    await ann.sees("bob joined");
  });
  await check("a terminal joins, and is present", async () => {
    terminal = new Process(["connect", raw]);
    for (const one of windows) await one.presence((users) => users.length === 3 && users.includes("ann") && users.includes("bob"));
  });
  await check("each sees what the others say, in the same order", async () => {
    await ann.says("hello from ann");
    await bob.sees("hello from ann");
    await terminal.prints(/^.*hello from ann/m);
    await bob.says("hello from bob");
    await ann.sees("hello from bob");
    await terminal.prints(/^.*hello from bob/m);
    terminal.types("hello from the terminal");
    for (const one of windows) await one.sees("hello from the terminal");
    for (const one of windows) equal(await one.said(), ["hello from ann", "hello from bob", "hello from the terminal"]);
  });
  await check("markup stays text", async () => {
    const hostile = `<img src=x onerror="window.caught=1"><b>bold</b> & ☃`;
    await ann.says(hostile);
    await bob.sees(hostile);
    await terminal.prints(/<img src=x/);
    equal(await bob.page.evaluate(() => [window.caught ?? null, document.querySelectorAll(".log img").length]), [null, 0]);
  });
  await check("a name that leaves is gone", async () => {
    const cleo = await ConsolePage.open(browser, origin, { name: "cleo", channel: CHANNEL });
    await ann.presence((users) => users.includes("cleo"));
    await cleo.sees("hello from the terminal");
    equal((await cleo.said()).slice(0, 3), ["hello from ann", "hello from bob", "hello from the terminal"]);
    await cleo.page.context().close();
    await ann.presence((users) => !users.includes("cleo"));
    await ann.sees("cleo left");
    equal(cleo.errors, []);
  });
}

/** The numbers at the top follow what happens. */
async function counts() {
  await check("the counters count", async () => {
    await ann.counter("Connections", "32 native, 1 raw");
    await ann.counter("Subscriptions", "3in 1 channel");
    const before = await total(ann);
    for (let count = 0; count < 20; count += 1) terminal.types(`tick ${count}`);
    await bob.sees("tick 19");
    await ann.page.waitForFunction((least) => Number(/([\d,]+) in all/.exec(document.querySelector(".tiles").textContent)[1].replace(",", "")) >= least, before + 20);
  });
}

/** A list that is full shows its end, unless its reader went elsewhere. */
async function floods() {
  const flooded = "room:flood";
  const source = new Process(["connect", addresses.raw + flooded]);
  const cleo = await ConsolePage.open(browser, origin, { name: "cleo", channel: flooded });
  await check("the messages stay at their end in a flood", async () => {
    for (let group = 0; group < 30; group += 1) {
      for (let count = 0; count < 20; count += 1) source.types(`flood ${group * 20 + count}`);
      await pause(20);
    }
    await cleo.sees("flood 599");
    equal((await cleo.belowTheMessages()) < 24, true);
  });
  await check("and where their reader has put them", async () => {
    await cleo.log.evaluate((log) => (log.scrollTop = 0));
    // The browser tells of it at the next drawing.
    await cleo.page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
    source.types("after the flood");
    await cleo.sees("after the flood");
    equal((await cleo.belowTheMessages()) > 1000, true);
  });
  await check("a channel that is refused is told, and nothing pretends to be on it", async () => {
    await cleo.page.getByRole("textbox", { name: "Channel" }).fill("no#hash");
    await cleo.page.keyboard.press("Enter");
    await cleo.page.getByRole("alert").filter({ hasText: "'#'" }).waitFor();
    await cleo.page.getByPlaceholder("Not on this channel").waitFor();
    equal(cleo.errors, []);
  });
  await cleo.page.context().close();
  await source.stop();
}

async function total({ page }) {
  return Number(/([\d,]+) in all/.exec(await page.locator(".tiles").textContent())[1].replace(",", ""));
}

/** Light, dark, narrow; labels and contrast; nothing from elsewhere. */
async function looks() {
  await check("screenshots, light and dark and narrow", async () => {
    await ann.page.screenshot({ path: `${ARTIFACTS}/console-light.png`, fullPage: true });
    await bob.page.screenshot({ path: `${ARTIFACTS}/console-dark.png`, fullPage: true });
    const cleo = await ConsolePage.open(browser, origin, { name: "cleo", channel: CHANNEL, viewport: { width: 390, height: 844 } });
    await cleo.page.screenshot({ path: `${ARTIFACTS}/console-narrow.png`, fullPage: true });
    equal(await cleo.page.evaluate(() => document.documentElement.scrollWidth), 390);
    await cleo.page.context().close();
  });
  for (const [index, theme] of ["light", "dark"].entries()) {
    await check(`labels, roles and contrast are as they should be, ${theme}`, async () => {
      const { page } = windows[index];
      await page.evaluate(axe);
      const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
      equal(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`)}`), []);
    });
  }
  await check("the theme can be turned and is remembered", async () => {
    const shade = () => bob.page.evaluate(() => getComputedStyle(document.documentElement).colorScheme);
    equal(await shade(), "dark");
    await bob.page.getByRole("button", { name: "Use the light theme" }).click();
    equal(await shade(), "light");
    await bob.page.reload();
    await bob.connected();
    equal(await shade(), "light");
    await bob.page.getByRole("button", { name: "Use the dark theme" }).click();
  });
  await check("the page loads nothing from elsewhere", async () => {
    const loaded = await ann.page.evaluate(() => performance.getEntriesByType("resource").map(({ name }) => new URL(name).origin));
    equal([...new Set(loaded)], [origin]);
  });
  await check("it can be used by keyboard alone", async () => {
    const { keyboard } = ann.page;
    await ann.page.getByRole("button", { name: "Use the dark theme" }).focus();
    const reached = new Set();
    for (let count = 0; count < 40; count += 1) {
      await keyboard.press("Tab");
      reached.add(await ann.page.evaluate(nameOfFocused));
    }
    const wanted = ["channel", "name", "Message", "Messages", "Pause", "Filter frames by their text", "Frame to send, as it is", "Send frame", "JavaScript"];
    equal(wanted.filter((one) => !reached.has(one)), []);
    await ann.page.getByRole("group", { name: /^Frames, oldest first/ }).focus();
    for (const key of ["ArrowUp", "ArrowUp", "Home", "Enter"]) await keyboard.press(key);
    equal(await ann.frames().first().getAttribute("aria-expanded"), "true");
    await keyboard.press("Enter");
    await ann.page.getByRole("tab", { name: "JavaScript" }).focus();
    await keyboard.press("ArrowRight");
    equal(await ann.page.getByRole("tab", { selected: true }).textContent(), "pusher-js");
  });
}

/** Runs in the page. */
function nameOfFocused() {
  const focused = document.activeElement;
  return focused?.getAttribute("aria-label") ?? focused?.getAttribute("name") ?? focused?.textContent?.slice(0, 20);
}

/** Every frame is shown, bytes as hex; frames can be written by hand. */
async function inspects() {
  const { page } = ann;
  const writer = page.getByRole("textbox", { name: "Frame to send, as it is" });
  await check("a frame written by hand is sent, and its answer shown", async () => {
    await writer.fill('{"type":"shout","id":77}');
    await page.keyboard.press("Control+Enter");
    const answer = ann.frames().filter({ hasText: "unknown_type" });
    await answer.click();
    await page.getByText('"code": "unknown_type"').waitFor();
    equal(await ann.frames().filter({ hasText: "shout" }).filter({ has: page.getByRole("img", { name: "sent" }) }).count(), 1);
  });
  await check("a frame that is no JSON is sent as it is", async () => {
    await writer.fill("not json");
    await page.getByText("Not JSON; the server will say so.").waitFor();
    await page.getByRole("button", { name: "Send frame" }).click();
    await ann.frames().filter({ hasText: "bad_json" }).waitFor();
  });
  await check("bytes are shown as hex", async () => {
    await page.evaluate(
      (url) =>
        new Promise((done, fail) => {
          const socket = new WebSocket(url);
          socket.onerror = fail;
          socket.onclose = done;
          socket.onopen = () => {
            socket.send(Uint8Array.of(0, 255, 16, 65));
            socket.close();
          };
        }),
      raw,
    );
    await ann.sees("4 bytes: 00 ff 10 41");
    const frame = ann.frames().filter({ hasText: "binary" }).last();
    await frame.click();
    await page.locator(".frame pre", { hasText: "00 ff 10 41" }).waitFor();
  });
  await check("frames are filtered, held and cleared", async () => {
    await page.getByRole("searchbox").fill("hello from bob");
    equal(await ann.frames().count(), 1);
    await page.getByRole("searchbox").fill("");
    await page.getByRole("button", { name: "Pause" }).click();
    const held = await ann.frames().count();
    await bob.says("while held");
    await page.getByRole("button", { name: /Resume \(\d+ new\)/ }).waitFor();
    equal(await ann.frames().count(), held);
    await page.getByRole("button", { name: /Resume/ }).click();
    await ann.frames().filter({ hasText: "while held" }).waitFor();
    await page.getByRole("button", { name: "Clear" }).click();
    equal(await ann.frames().count(), 0);
  });
}

/** What the page gives to copy does what it says. */
async function snippets() {
  const sandbox = { encoding: "utf8", timeout: 15_000, env: { ...process.env, PATH: `${dirname(BINARY)}:${process.env.PATH}` } };
  await check("the JavaScript snippet works in a page of an allowed origin", async () => {
    const code = await ann.snippet("JavaScript");
    const page = await bare();
    await page.evaluate(code);
    await bob.sees("hello from JavaScript");
    await page.close();
  });
  await check("the pusher-js snippet subscribes", async () => {
    const code = await ann.snippet("pusher-js");
    const child = spawn("node", ["--input-type=module", "--eval", code], { cwd: HERE, stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text) => (output += text));
    const said = async (text) => {
      while (!output.includes(text)) {
        if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode} and no ${text}: ${output}`);
        await pause(20);
      }
    };
    try {
      await said("subscription_succeeded");
      await bob.says("hello to pusher-js");
      await said("hello to pusher-js");
    } finally {
      child.kill();
    }
  });
  await check("the curl snippet publishes", async () => {
    const { status, stdout, stderr } = spawnSync("sh", ["-c", await ann.snippet("curl")], sandbox);
    equal([status, /"position"/.test(stdout)], [0, true], stderr);
    await bob.sees("hello from curl");
  });
  await check("the switchboard snippet connects, publishes and subscribes", async () => {
    const commands = (await ann.snippet("switchboard")).split("\n").filter((line) => line && !line.startsWith("#"));
    const kind = (name) => commands.find((line) => line.startsWith(name));
    equal(kind("switchboard connect"), `switchboard connect ${raw}`);
    const token = kind("export ");
    const run = (command) => spawnSync("sh", ["-c", `${token}\n${command}`], sandbox);
    const published = run(kind("switchboard publish"));
    equal([published.status, published.status === 0 ? "" : published.stderr], [0, ""]);
    await bob.sees("hello from the terminal");
    const following = run(`{ sleep 1; ${kind("switchboard publish")} >&2; } & timeout 5 ${kind("switchboard subscribe")} -n 1`);
    equal([following.status, /hello from the terminal/.test(following.stdout)], [0, true]);
  });
}

/** A page of an allowed origin that is not the console: whatever answers, its origin counts. */
async function bare() {
  const page = await browser.newPage();
  await page.goto(`${origin}/healthz`);
  return page;
}

/** Nothing but `new WebSocket(…)`, from an allowed origin and from a foreign one. */
async function plain() {
  const join = (page, url) =>
    page.evaluate((address) => {
      globalThis.seen = [];
      globalThis.ended = undefined;
      globalThis.socket = new WebSocket(address);
      globalThis.socket.onopen = () => globalThis.seen.push("open");
      globalThis.socket.onmessage = ({ data }) => globalThis.seen.push(data);
      globalThis.socket.onclose = ({ code }) => (globalThis.ended = code);
    }, url);
  await check("a plain page chats at /chat", async () => {
    const pages = [await bare(), await bare()];
    for (const page of pages) {
      await join(page, addresses.chat);
      await page.waitForFunction(() => globalThis.seen[0] === "open");
    }
    await pages[0].evaluate(() => globalThis.socket.send("plain words"));
    for (const page of pages) await page.waitForFunction(() => globalThis.seen.includes("plain words"));
    for (const page of pages) await page.close();
  });
  await check("a page of a foreign origin is refused everywhere", async () => {
    const refusals = [];
    const foreign = createServer((_, response) => response.setHeader("content-type", "text/html").end("<!doctype html><title>foreign</title>"));
    await new Promise((listening) => foreign.listen(0, "127.0.0.1", listening));
    const page = await browser.newPage();
    page.on("websocket", (socket) => socket.on("socketerror", (error) => refusals.push(error)));
    await page.goto(`http://127.0.0.1:${foreign.address().port}/`);
    for (const url of [addresses.chat, addresses.ws, raw]) {
      await join(page, url);
      await page.waitForFunction(() => globalThis.ended !== undefined || globalThis.seen.length > 0);
      equal([url, ...(await page.evaluate(() => [globalThis.ended, globalThis.seen]))], [url, 1006, []]);
    }
    equal(refusals.map((error) => /\d{3}/.exec(error)?.[0]), ["403", "403", "403"]);
    await page.close();
    foreign.closeAllConnections();
    foreign.close();
  });
}

/** A window that was away, one that was reloaded, and a server that was restarted. */
async function comesBack() {
  await check("a reloaded window has its lines, once, and goes on", async () => {
    const before = await bob.said();
    await bob.page.reload();
    await bob.connected();
    await ann.says("after the reload");
    await bob.sees("after the reload");
    equal(await bob.said(), [...before, "after the reload"]);
  });
  await check("a window that was away catches up, in order", async () => {
    const before = await bob.said();
    await bob.page.goto("about:blank");
    await ann.presence((users) => !users.includes("bob"));
    const missed = ["one", "two", "three"].map((count) => `missed ${count}`);
    for (const text of missed) {
      await ann.says(text);
      await ann.sees(text);
    }
    await bob.page.goBack();
    await bob.connected();
    await bob.sees("caught up 3 missed messages");
    equal(await bob.said(), [...before, ...missed]);
  });
  await check("a refusal of the channel is said in words", async () => {
    const channel = bob.page.getByRole("textbox", { name: "Channel" });
    await channel.fill("no#hash");
    await bob.page.keyboard.press("Enter");
    await bob.page.getByRole("alert").getByText(/bad_channel/).waitFor();
    equal(await bob.page.getByRole("button", { name: "Send", exact: true }).isDisabled(), true);
    await channel.fill(CHANNEL);
    await bob.page.keyboard.press("Enter");
    await ann.presence((users) => users.includes("bob"));
  });
  await check("a token can be pasted, and a wrong one is refused in words", async () => {
    const { page } = bob;
    const { token } = await (await fetch(`${origin}/api/console/info`)).json();
    await page.getByRole("button", { name: "Use a token" }).click();
    await page.getByLabel("Token", { exact: true }).fill(`${token.slice(0, -6)}forged`);
    await page.keyboard.press("Enter");
    await page.getByRole("status").getByText(/^Disconnected: the token was refused/).waitFor();
    await page.getByLabel("Token", { exact: true }).fill(token);
    await page.keyboard.press("Enter");
    await page.getByText("Connected as ann", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Use a name" }).click();
    await page.getByRole("button", { name: "Change" }).click();
    await bob.connected();
  });
  await check("the server stops in good order, and the windows say so", async () => {
    for (const one of windows) one.expectErrors = true;
    equal(await server.stop(), 0);
    for (const { page } of windows) await page.getByRole("status").getByText(/^Reconnecting/).first().waitFor();
    await ann.page.getByText(/The counters stand still/).waitFor();
    await ann.page.screenshot({ path: `${ARTIFACTS}/console-disconnected.png` });
    await terminal.ended;
  });
  await check("a restarted server is found again, and what was lost is said", async () => {
    ({ server } = await serve(addresses));
    for (const one of windows) await one.connected();
    for (const one of windows) await one.presence((users) => users.join() === "ann,bob");
    await ann.page.getByText(/^history lost/).waitFor();
    await ann.says("after the restart");
    await bob.sees("after the restart");
    await bob.says("indeed");
    await ann.sees("indeed");
    await pause(1_500);
    await ann.page.getByText(/The counters stand still/).waitFor({ state: "detached" });
    for (const one of windows) one.expectErrors = false;
  });
  await check("no window logged an error", async () => {
    await pause(1_500);
    equal(windows.flatMap(({ errors }) => errors), []);
  });
}
