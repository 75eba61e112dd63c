// Node's `ws` and Chromium in one room of the server, with and without compression: all hear the same. Argument: the server, as in
// interop/server/native.py, with `chromium` (its path).

import { setTimeout as sleep } from "node:timers/promises";
import { chromium } from "playwright-core";
import WebSocket from "ws";
import { equal, main, once } from "../checks.mjs";
import { messages } from "./messages.mjs";

const server = JSON.parse(process.argv[2]);
const browser = await chromium.launch({
  executablePath: server.chromium,
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
});

const KINDS = {
  plain: false,
  "with context": { threshold: 0 },
  "each alone": { serverNoContextTakeover: true, clientNoContextTakeover: true, threshold: 0 },
  "a small window": { serverMaxWindowBits: 10, clientMaxWindowBits: 10, threshold: 0 },
  "as it comes": true,
};

/** A client in the room, and what it heard, as text of the kind and the bytes. */
async function join(path, perMessageDeflate) {
  const socket = new WebSocket(server.base + path, { perMessageDeflate, maxPayload: 1 << 26 });
  const heard = [];
  socket.on("message", (data, binary) => heard.push([binary, data.toString("base64")]));
  await once(socket, "open");
  return { socket, heard };
}

async function hears(heard, expected) {
  while (heard.length < expected.length) await sleep(10);
  equal(heard.map(([binary, text]) => [binary, text.length]), expected.map(([binary, text]) => [binary, text.length]));
  equal(heard.every(([, text], index) => text === expected[index][1]), true);
}

const page = await browser.newPage();
await page.goto(server.page);

/** As `join`, in the browser. */
async function joinFromPage(url) {
  globalThis.heard = [];
  globalThis.socket = new WebSocket(url);
  globalThis.socket.binaryType = "arraybuffer";
  const base64 = (bytes) => {
    let text = "";
    for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
    return btoa(text);
  };
  globalThis.socket.onmessage = ({ data }) => {
    const bytes = typeof data === "string" ? new TextEncoder().encode(data) : new Uint8Array(data);
    globalThis.heard.push([typeof data !== "string", base64(bytes)]);
  };
  await new Promise((resolve, reject) => {
    globalThis.socket.onopen = resolve;
    globalThis.socket.onerror = () => reject(new Error("cannot connect"));
  });
  return globalThis.socket.extensions;
}

const SENT = messages();
const told = SENT.map((message) => [typeof message !== "string", Buffer.from(message).toString("base64")]);

await main(
  {
    "clients of every kind hear the same from each of them": async () => {
      for (const [name, kind] of Object.entries(KINDS)) {
        const path = `/raw/from-${name.replaceAll(" ", "-")}`;
        const clients = [];
        for (const other of Object.values(KINDS)) clients.push(await join(path, other));
        equal((await page.evaluate(joinFromPage, server.base + path)).startsWith("permessage-deflate"), true);
        const sender = await join(path, kind);
        for (const message of SENT) sender.socket.send(message, { compress: message.length % 2 === 0 });
        for (const { heard } of [...clients, sender]) await hears(heard, told);
        await page.waitForFunction((count) => globalThis.heard.length >= count, told.length);
        await hears(await page.evaluate(() => globalThis.heard), told);
        await page.evaluate(() => globalThis.socket.close());
        for (const { socket } of [...clients, sender]) {
          socket.close();
          await once(socket, "close");
        }
      }
    },
    "what a page says is heard": async () => {
      const { socket, heard } = await join("/raw/page", true);
      await page.evaluate(joinFromPage, `${server.base}/raw/page`);
      const text = "from the page, again and again ".repeat(500);
      await page.evaluate((text) => globalThis.socket.send(text), text);
      await hears(heard, [[false, Buffer.from(text).toString("base64")]]);
      socket.terminate();
    },
    "one compression serves all who keep no context": async () => {
      const clients = [];
      for (let index = 0; index < 20; index += 1) clients.push(await join("/raw/many", KINDS["each alone"]));
      const text = "for everybody ".repeat(200);
      clients[0].socket.send(text);
      for (const { heard } of clients) await hears(heard, [[false, Buffer.from(text).toString("base64")]]);
      for (const { socket } of clients) socket.terminate();
    },
  },
  () => browser.close(),
);
