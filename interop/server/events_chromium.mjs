// Chromium's EventSource and fetch, in a page of another origin that may connect and in one that may not. Argument: the server, as in native.py, with
// `chromium`, and over TLS `spki`.

import { chromium } from "playwright-core";
import { equal, main } from "../checks.mjs";

const server = JSON.parse(process.argv[2]);
const args = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];
if (server.spki) args.push(`--ignore-certificate-errors-spki-list=${server.spki}`);
const browser = await chromium.launch({ executablePath: server.chromium, args });
const context = await browser.newContext();
const page = await context.newPage();
await page.goto(server.page);

const publish = ([url, channel, data]) =>
  fetch(`${url}/client/v1/publish`, {
    method: "POST",
    body: JSON.stringify({ channel, data }),
    headers: { "Content-Type": "application/json" },
  }).then((answer) => answer.status);

/** Opens an EventSource, and resolves with its first subscription or its state when it fails. */
const listen = (url) =>
  new Promise((resolve) => {
    globalThis.source?.close();
    globalThis.source = new EventSource(url);
    globalThis.seen = [];
    globalThis.source.onmessage = ({ data, lastEventId }) => globalThis.seen.push([data, lastEventId]);
    globalThis.source.addEventListener("switchboard:subscribed", ({ data }) => resolve(JSON.parse(data).channel));
    globalThis.source.onerror = () => resolve(globalThis.source.readyState);
  });

await main(
  {
    "a page of an allowed origin listens and publishes": async () => {
      equal(await page.evaluate(listen, `${server.http}/sse?channel=page:a`), "page:a");
      equal(await page.evaluate(publish, [server.http, "page:a", "from the page"]), 200);
      await page.waitForFunction(() => globalThis.seen.length === 1);
      const [[data, id]] = await page.evaluate(() => globalThis.seen);
      equal([data, /^[0-9a-f]+:1$/.test(id)], ["from the page", true]);
    },
    "an id brings it back": async () => {
      const id = await page.evaluate(() => globalThis.seen[0][1]);
      equal(await page.evaluate(publish, [server.http, "page:a", "meanwhile"]), 200);
      equal(await page.evaluate(listen, `${server.http}/sse?channel=page:a&since=${id}`), "page:a");
      await page.waitForFunction(() => globalThis.seen.length === 1);
      equal(await page.evaluate(() => globalThis.seen[0][0]), "meanwhile");
    },
    "fetch reads lines as they come, and a token in a header needs its preflight": async () => {
      const url = `${server.http}/stream?channel=room:lines`;
      const types = await page.evaluate(
        async ([url, token]) => {
          const answer = await fetch(url, { headers: { Authorization: `Bearer ${token}` } });
          const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
          let text = "";
          while (text.split("\n").length < 3) text += (await reader.read()).value;
          await reader.cancel();
          return text.trim().split("\n").map((line) => JSON.parse(line)).map(({ type, user }) => [type, user ?? null]);
        },
        [url, server.tokens.ann],
      );
      equal(types, [["welcome", "ann"], ["subscribed", null]]);
    },
    "polls can be read": async () => {
      const answer = await page.evaluate((url) => fetch(url).then((answer) => answer.json()), `${server.http}/poll?channel=page:a`);
      equal([answer.messages, answer.channels[0].position.offset], [[], 2]);
    },
    "a refusal can be read, and ends an EventSource": async () => {
      const refused = await page.evaluate(
        (url) => fetch(url, { headers: { Authorization: "Bearer wrong" } }).then(async (answer) => [answer.status, (await answer.json()).error.code]),
        `${server.http}/sse?channel=room:a`,
      );
      equal(refused, [401, "bad_token"]);
      equal(await page.evaluate(listen, `${server.http}/sse?channel=`), 2);
    },
    "a page of another origin gets nothing": async () => {
      const foreign = await context.newPage();
      await foreign.goto(server.foreign_page);
      equal(await foreign.evaluate(listen, `${server.http}/sse?channel=page:a`), 2);
      equal(await foreign.evaluate(async ([url, ...more]) => fetch(`${url}/client/v1/publish`, { method: "POST", body: JSON.stringify(more) }).catch(() => "blocked"), [server.http, "page:a"]), "blocked");
      await foreign.close();
    },
    "a page that goes away is gone": async () => {
      await page.close();
      const streams = async () => /^switchboard_streams (\d+)$/m.exec(await (await fetch(`http://${server.admin}/metrics`)).text())?.[1];
      for (let tries = 0; tries < 500 && (await streams()) !== "0"; tries += 1) await new Promise((done) => setTimeout(done, 20));
      equal(await streams(), "0");
    },
  },
  () => browser.close(),
);
