// What happens to a page, in Chromium: it is put away for the back button and brought back, the network goes and returns. And the WebSocket
// that reconnects, with the platform's own events.

import assert from "node:assert/strict";
import { once } from "node:events";
import { after, test } from "node:test";
import type { BrowserContext, Page } from "playwright-core";
import { WebSocketServer, type WebSocket } from "ws";
import { WELCOME } from "./script.js";
import { launch, serveSite } from "./site.js";

const browser = await launch();
const site = await serveSite();
after(async () => {
  site.close();
  await browser.close();
});

/** A server that greets and answers `ping`, and remembers what it heard. */
class Paper {
  readonly peers: WebSocket[] = [];
  readonly heard: string[] = [];
  private readonly server = new WebSocketServer({ port: 0, host: "127.0.0.1", handleProtocols: () => "switchboard.v1.json" });

  constructor() {
    this.server.on("connection", (peer) => {
      this.peers.push(peer);
      peer.on("message", (data) => {
        const { type } = JSON.parse(String(data)) as { type: string };
        this.heard.push(type);
        if (type === "ping") peer.send('{"type":"pong"}');
      });
      peer.send(JSON.stringify(WELCOME));
    });
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.server.address() as { port: number }).port}/ws`;
  }

  close(): void {
    for (const peer of this.peers) peer.terminate();
    this.server.close();
  }
}

async function opened(script: string): Promise<{ paper: Paper; page: Page; context: BrowserContext }> {
  const paper = new Paper();
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`${site.origin}/`);
  await page.evaluate(`import("/src/index.js").then(({ Client, ReconnectingWebSocket }) => {
    const url = ${JSON.stringify(paper.url)};
    ${script}
  })`);
  return { paper, page, context };
}

const client = (options = "{}") => `
  window.client = new Client(url, { transports: ["websocket"], ...${options} });
  window.states = [];
  client.on("state", ({ kind }) => states.push(kind));
  return client.connected();`;

const isOnline = (page: Page) => page.waitForFunction("client.state.kind === 'online'");

test("a page that is put away gives its connection up, is kept, and resumes when it comes back", async () => {
  const { paper, page } = await opened(client());
  const closed = once(paper.peers[0] as WebSocket, "close");
  await page.goto(`${site.origin}/elsewhere`);
  const [code] = await closed;
  assert.equal(code, 1000);
  // A page that was kept is not loaded again.
  await page.goBack({ waitUntil: "commit" });
  await isOnline(page);
  assert.deepEqual([await page.evaluate("states.join()"), paper.peers.length], ["connecting,online,suspended,connecting,online", 2]);
  paper.close();
});

test("the network's loss makes the client look, long before its heartbeat, and its return ends the wait", async () => {
  const { paper, page, context } = await opened(client("{ heartbeatGrace: 1_000, backoffBase: 3_600_000, backoffMax: 3_600_000 }"));
  await context.setOffline(true);
  await page.waitForFunction("client.state.kind === 'waiting' && client.state.cause.kind === 'silent'");
  await context.setOffline(false);
  await isOnline(page);
  assert.equal(paper.peers.length, 2);
  paper.close();
});

test("the WebSocket that reconnects has the platform's events", async () => {
  const script = `
    window.told = [];
    window.socket = new ReconnectingWebSocket(url, "switchboard.v1.json", { minReconnectionDelay: 1 });
    for (const type of ["open", "message", "close"]) socket.addEventListener(type, (event) => told.push(event));
    return new Promise((resolve) => socket.addEventListener("message", resolve, { once: true })).then(() => {});`;
  const { paper, page } = await opened(script);
  assert.equal(await page.evaluate("socket.protocol"), "switchboard.v1.json");
  (paper.peers[0] as WebSocket).close(4_321, "again");
  await page.waitForFunction("told.filter(({ type }) => type === 'open').length === 2");
  await page.evaluate("socket.send('{\"type\":\"ping\"}')");
  await until(() => paper.heard.includes("ping"));
  const classes = await page.evaluate("told.slice(0, 3).map((event) => event.constructor.name).join()");
  assert.equal(classes, "Event,MessageEvent,CloseEvent");
  assert.equal(await page.evaluate("`${told[2].code} ${told[2].reason} ${told[2].wasClean}`"), "4321 again true");
  await page.evaluate("(socket.binaryType = 'arraybuffer', socket.addEventListener('message', ({ data }) => (window.last = data)))");
  (paper.peers[1] as WebSocket).send(Uint8Array.of(1, 2));
  await page.waitForFunction("window.last instanceof ArrayBuffer && window.last.byteLength === 2");
  await page.evaluate("socket.close()");
  await page.waitForFunction("socket.readyState === 3");
  paper.close();
});

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!condition()) {
    assert.ok(performance.now() < deadline, "in 20 s");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
