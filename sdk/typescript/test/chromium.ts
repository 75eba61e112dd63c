// The adapter of the client protocol suite in Chromium: a page that runs the client, between the suite and a browser. `chromium.js
// [websocket|stream|poll]`; CHROMIUM names the browser.

import { createInterface } from "node:readline";
import { launch, serveSite } from "./site.js";

const { origin } = await serveSite();
const browser = await launch();
const page = await browser.newPage();
page.on("pageerror", (error) => console.error(error));
const say = (line: string) => process.stdout.write(`${line}\n`);
await page.exposeFunction("tell", say);
await page.goto(`${origin}/`);
await page.evaluate((way) => Object.assign(window, { way }), process.argv[2] ?? "websocket");
await page.evaluate(`import("/test/page.js")`);
for await (const line of createInterface({ input: process.stdin })) {
  await page.evaluate(`obey(${line})`);
  say('{"event":"done"}');
}
await browser.close();
process.exit(0);
