// Chromium, and a site whose pages can load the compiled client. Knows nothing of what they do with it.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { chromium, type Browser } from "playwright-core";

const BUILD = fileURLToPath(new URL("..", import.meta.url));
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync"];

/** CHROMIUM names the browser. Pages may be kept for the back button, as they are for people. */
export function launch(): Promise<Browser> {
  const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
  return chromium.launch({ executablePath, args: FLAGS, ignoreDefaultArgs: ["--disable-back-forward-cache"] });
}

/** Its origin, and how to end it. */
export async function serveSite(): Promise<{ origin: string; close: () => void }> {
  const site = createServer(async ({ url }, response) => {
    const path = new URL(url ?? "/", "http://localhost").pathname;
    const module = /^\/(src|test)\/[\w/]+\.js$/.test(path);
    const body = module ? await readFile(`${BUILD}${path}`).catch(() => null) : "<!doctype html><title>The client</title>";
    response.writeHead(body === null ? 404 : 200, { "Content-Type": module ? "text/javascript" : "text/html" }).end(body);
  });
  await new Promise<void>((resolve) => site.listen(0, "127.0.0.1", resolve));
  const { port } = site.address() as { port: number };
  return { origin: `http://127.0.0.1:${port}`, close: () => site.close() };
}
