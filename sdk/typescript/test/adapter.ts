// The adapter of the client protocol suite in Node: orders in, one a line, and what the client tells out. `adapter.js [websocket|stream|poll]`
// says by which way it goes to the server.

import { createInterface } from "node:readline";
import { WebSocket } from "ws";
import { begin, obey, type Order } from "./orders.js";

const say = (event: object) => process.stdout.write(`${JSON.stringify(event)}\n`);
const way = (process.argv[2] ?? "websocket") as "websocket" | "stream" | "poll";
begin({ say, options: { WebSocket: WebSocket as never, transports: [way] } });
for await (const line of createInterface({ input: process.stdin })) {
  await obey(JSON.parse(line) as Order);
  say({ event: "done" });
}
process.exit(0);
