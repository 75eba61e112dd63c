// Headless Chromium against the server. Argument: the server, as in native.py, with `page` and `foreign_page` (addresses whose origin
// is allowed and is not), `chromium` (its path) and, for wss://, `spki` (the hash of the one certificate key to trust).

import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";
import { equal, main } from "../checks.mjs";

const server = JSON.parse(process.argv[2]);
const source = readFileSync(new URL("./native_checks.js", import.meta.url), "utf8");

const trust = server.spki ? [`--ignore-certificate-errors-spki-list=${server.spki}`] : [];
const browser = await chromium.launch({
  executablePath: server.chromium,
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", ...trust],
});

async function openPage(url) {
  const page = await browser.newPage();
  await page.goto(url);
  await page.evaluate(source);
  return page;
}

const page = await openPage(server.page);
const names = await page.evaluate(() => Object.keys(globalThis.nativeChecks));
const run = ([name, about]) => globalThis.nativeChecks[name](about);
const shared = names.map((name) => [name, () => page.evaluate(run, [name, server])]);

const join = (base) =>
  new Promise((resolve) => {
    globalThis.seen = [];
    globalThis.chat = new WebSocket(`${base}/chat`);
    const name = `${Math.random()}`;
    globalThis.chat.onopen = () => globalThis.chat.send(name);
    globalThis.chat.onclose = ({ code }) => resolve(code);
    // Hearing its own name tells a page that it is in the room.
    globalThis.chat.onmessage = ({ data }) => (data === name ? resolve("open") : globalThis.seen.push(data));
  });

await main({
  ...Object.fromEntries(shared),
  "two pages chat": async () => {
    const two = await openPage(server.page);
    for (const one of [page, two]) equal(await one.evaluate(join, server.base), "open");
    await page.evaluate(() => globalThis.chat.send("from one page"));
    await two.waitForFunction(() => globalThis.seen.includes("from one page"));
    await two.evaluate(() => globalThis.chat.send("from the other"));
    await page.waitForFunction(() => globalThis.seen.includes("from the other"));
    await two.close();
  },
  "a reload closes the socket and a new one opens": async () => {
    const reloaded = await openPage(server.page);
    equal(await reloaded.evaluate(join, server.base), "open");
    await reloaded.reload();
    equal(await reloaded.evaluate(join, server.base), "open");
    await reloaded.close();
  },
  "a page of a foreign origin is refused": async () => {
    const foreign = await browser.newPage();
    await foreign.goto(server.foreign_page);
    for (const path of ["/chat", "/ws", "/raw/room"]) {
      const socket = foreign.waitForEvent("websocket").then((opened) => opened.waitForEvent("socketerror"));
      await foreign.evaluate((url) => void new WebSocket(url), server.base + path);
      const reason = await socket;
      equal([path, /Unexpected response code: (\d+)/.exec(reason)?.[1] ?? reason], [path, "403"]);
    }
    await foreign.close();
  },
}, () => browser.close());
