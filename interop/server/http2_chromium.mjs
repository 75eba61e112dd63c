// Headless Chromium over HTTP/2: where it has a connection to the server (a page of the same origin was opened), a WebSocket goes over that.
// Argument: the server, as in native.py, with `admin`, `chromium` and `spki`.

import { chromium } from "playwright-core";
import { equal, main } from "../checks.mjs";

const server = JSON.parse(process.argv[2]);
const browser = await chromium.launch({
  executablePath: server.chromium,
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", `--ignore-certificate-errors-spki-list=${server.spki}`],
});
const page = await browser.newPage();

async function metric(name) {
  const text = await (await fetch(`http://${server.admin}/metrics`)).text();
  return Number(new RegExp(`^switchboard_${name} (\\d+)$`, "m").exec(text)?.[1] ?? NaN);
}

const join = ([base, count]) => {
  globalThis.sockets = Array.from({ length: count }, () => new WebSocket(`${base}/chat`));
  globalThis.seen = globalThis.sockets.map(() => []);
  globalThis.codes = [];
  const opened = globalThis.sockets.map(
    (socket, number) =>
      new Promise((resolve) => {
        socket.onopen = () => resolve("open");
        socket.onclose = ({ code }) => {
          globalThis.codes.push(code);
          resolve(code);
        };
        socket.onmessage = ({ data }) => globalThis.seen[number].push(data);
      }),
  );
  return Promise.all(opened);
};

await main({
  "the page comes over HTTP/2": async () => {
    // Nothing is there, but the page that says so has the origin.
    await page.goto(`${server.http}/nothing-here`);
    equal(await page.evaluate(() => performance.getEntriesByType("navigation")[0].nextHopProtocol), "h2");
  },
  "WebSockets open on its connection": async () => {
    const accepted = await metric("connections_accepted_total");
    equal(await page.evaluate(join, [server.base, 5]), Array(5).fill("open"));
    await page.evaluate(() => globalThis.sockets[0].send("from the page"));
    await page.waitForFunction(() => globalThis.seen.every((seen) => seen.includes("from the page")));
    equal([await metric("connections_http2"), await metric("connections_accepted_total")], [5, accepted]);
  },
  "large messages go round": async () => {
    await page.evaluate(() => globalThis.sockets[1].send("x".repeat(60_000)));
    await page.waitForFunction(() => globalThis.seen.every((seen) => seen.some((text) => text.length === 60_000)));
  },
  "they close in order": async () => {
    await page.evaluate(() => globalThis.sockets.forEach((socket) => socket.close(3001, "done")));
    await page.waitForFunction(() => globalThis.codes.length === 5);
    equal(await page.evaluate(() => globalThis.codes), Array(5).fill(3001));
  },
  "a reload ends them": async () => {
    equal(await page.evaluate(join, [server.base, 3]), Array(3).fill("open"));
    await page.reload();
    equal(await page.evaluate(join, [server.base, 1]), ["open"]);
    await page.evaluate(() => globalThis.sockets[0].send("after"));
    await page.waitForFunction(() => globalThis.seen[0].includes("after"));
    for (let tries = 0; tries < 200 && (await metric("connections_http2")) !== 1; tries += 1) await new Promise((done) => setTimeout(done, 20));
    equal(await metric("connections_http2"), 1);
  },
  "a refusal is an error of one WebSocket": async () => {
    const code = await page.evaluate((base) => new Promise((resolve) => (new WebSocket(`${base}/ws/nobody`).onclose = ({ code }) => resolve(code))), server.base);
    equal(code, 1006);
    equal(await page.evaluate(join, [server.base, 1]), ["open"]);
  },
}, () => browser.close());
