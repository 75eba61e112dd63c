// A page of the documentation in headless Chromium, as if it were a program: what it prints to its console is printed here, and this ends when it
// says that it has ended. Argument: `chromium` (its path), `folder` (the page's files), `live` (where its WebSocket leads) and `token` (what /token
// answers; 401 without), as JSON.

import { readFile } from "node:fs/promises";
import http from "node:http";
import { chromium } from "playwright-core";

const { chromium: executablePath, folder, live, token } = JSON.parse(process.argv[2]);
const TYPES = { "/index.html": "text/html", "/live.js": "text/javascript" };

const site = http.createServer(async ({ method, url }, response) => {
  if (method === "POST" && url === "/token") return response.writeHead(token ? 200 : 401).end(token);
  if (!TYPES[url]) return response.writeHead(404).end();
  const text = await readFile(`${folder}${url}`, "utf8");
  response.writeHead(200, { "Content-Type": TYPES[url] }).end(text.replace("ws://127.0.0.1:8080/ws", live));
});
await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
process.on("SIGTERM", () => browser.close().finally(() => process.exit(1)));
const page = await browser.newPage();
const ended = new Promise((resolve) => {
  page.on("console", (message) => {
    if (message.type() !== "log") return;
    console.log(message.text());
    if (message.text().startsWith("ended: ")) resolve();
  });
});
page.on("pageerror", (error) => console.log(`error in the page: ${error.message}`));
await page.goto(`http://127.0.0.1:${site.address().port}/index.html`);
await ended;
await browser.close();
process.exit(0);
