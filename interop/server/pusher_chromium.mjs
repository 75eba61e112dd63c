// pusher-js and Laravel Echo in headless Chromium against the server; the application's own server is in this process. Argument: the server,
// as in native_chromium.mjs.

import { readFileSync } from "node:fs";
import { chromium } from "playwright-core";
import { equal, main } from "../checks.mjs";
import { nodeApplication } from "./pusher_application.mjs";

const about = JSON.parse(process.argv[2]);
const scripts = [
  "../node_modules/pusher-js/dist/web/pusher-with-encryption.js",
  "../node_modules/laravel-echo/dist/echo.iife.js",
  "./pusher_checks.js",
].map((script) => readFileSync(new URL(script, import.meta.url), "utf8"));

const trust = about.spki ? [`--ignore-certificate-errors-spki-list=${about.spki}`] : [];
const browser = await chromium.launch({
  executablePath: about.chromium,
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", ...trust],
});

// The page speaks to the server by TLS; the application's server, which trusts other authorities than the page, only signs and asks.
const application = nodeApplication(about);

async function openPage(url) {
  const page = await browser.newPage();
  await page.exposeFunction("callApplication", application);
  await page.goto(url);
  for (const script of scripts) await page.addScriptTag({ content: script });
  return page;
}

const page = await openPage(about.page);
const names = await page.evaluate(() => Object.keys(globalThis.pusherChecks).filter((name) => name !== "tools"));
const run = ([name, about]) => {
  const Echo = globalThis.Echo.default ?? globalThis.Echo;
  return globalThis.pusherChecks[name]({ Pusher: globalThis.Pusher, Echo, about, application: globalThis.callApplication });
};
// The page needs no secret, and no page of an application has it.
const shown = { base: about.base, pusher: { key: about.pusher.key } };

await main({
  ...Object.fromEntries(names.map((name) => [name, () => page.evaluate(run, [name, shown])])),
  "a page of a foreign origin is refused": async () => {
    const foreign = await browser.newPage();
    await foreign.goto(about.foreign_page);
    const socket = foreign.waitForEvent("websocket").then((opened) => opened.waitForEvent("socketerror"));
    await foreign.evaluate((url) => void new WebSocket(url), `${about.base}/app/${about.pusher.key}?protocol=7`);
    equal(/Unexpected response code: (\d+)/.exec(await socket)?.[1], "403");
    await foreign.close();
  },
}, () => browser.close());
