// Workers as processes: what they do, retries, giving up; each killed with SIGKILL while it works, and the server too. Nothing is lost, and no result comes twice.

import { CHANNELS } from "./page/ledger.js";

const env = { LEASE_MS: "1500", WORK_MS: "120", WORKERS: "3" };

export async function test({ start, newPage, check, until, shots, assert }) {
  const running = await start({ env });
  const kept = async (channel) => (await running.call("history", { channel, limit: 1000 })).publications.map(({ data }) => data);
  const results = async () => (await kept(CHANNELS.results)).map(({ task }) => task).sort((one, other) => one - other);
  let page, other;
  await check("workers share out what is to be done, and every result comes once", async () => {
    page = await newPage();
    await page.getByRole("button", { name: "Add 20 pictures" }).click();
    await count(page, "done", 20);
    await count(page, "waiting", 0);
    const all = await results();
    assert.deepEqual(all, [...new Set(all)]);
    assert.equal(all.length, 20);
    const workers = new Set((await kept(CHANNELS.results)).map(({ worker }) => worker));
    assert.ok(workers.size > 1, "several have worked");
  });
  await check("what fails is tried again, and given up in the end", async () => {
    await page.getByRole("button", { name: "One that fails once" }).click();
    await count(page, "done", 21);
    await page.getByRole("button", { name: "One that always fails" }).click();
    await count(page, "dead", 1);
    await page.locator("#dead").getByText("IMG_2062.jpg · it cannot be read").waitFor();
    const [letter] = await kept(CHANNELS.dead);
    assert.deepEqual([letter.picture, letter.trouble], ["IMG_2062.jpg", "always"]);
  });
  await check("a worker that hangs is killed, and another does what it held", async () => {
    await page.getByRole("button", { name: "One that hangs" }).click();
    await count(page, "claimed", 1);
    const before = await page.locator("#workers li:not([data-holds=''])").getAttribute("data-worker");
    await page.getByRole("button", { name: `Kill worker ${before}` }).click();
    await until(async () => !(await workers(page)).includes(before), "it is gone");
    await count(page, "done", 22);
    const by = (await kept(CHANNELS.results)).at(-1).worker;
    assert.notEqual(by, before);
    await until(async () => (await workers(page)).length === 3, "another has come in its place");
  });
  await check("every worker is killed in the midst: nothing is lost, nothing comes twice", async () => {
    other = await newPage("", { scheme: "dark" });
    await count(other, "done", 22);
    // One for each of them, so that each holds one when it is killed.
    for (let worker = 1; worker <= 3; worker += 1) {
      await page.getByRole("button", { name: "One that hangs" }).click();
      await count(page, "claimed", worker);
    }
    for (const _ of [1, 2]) await page.getByRole("button", { name: "Add 20 pictures" }).click();
    await count(page, "waiting", 40);
    await shots(page);
    for (const worker of await workers(page)) await page.getByRole("button", { name: `Kill worker ${worker}` }).click();
    for (const one of [page, other]) await count(one, "done", 65);
    const all = await results();
    assert.deepEqual([all.length, new Set(all).size], [65, 65]);
  });
  await check("the server is killed in the midst, and a worker with it: nothing is lost, nothing comes twice", async () => {
    await page.getByRole("button", { name: "One that hangs" }).click();
    await count(page, "claimed", 1);
    const unlucky = await page.locator("#workers li:not([data-holds=''])").getAttribute("data-worker");
    await page.getByRole("button", { name: "Add 20 pictures" }).click();
    await count(page, "done", (done) => done > 67);
    await running.server.kill();
    await fetch(`${running.where.backend}/kill`, { method: "POST", body: JSON.stringify({ worker: unlucky }) });
    await running.server.start();
    for (const one of [page, other]) await count(one, "done", 86);
    const all = await results();
    assert.deepEqual([all.length, new Set(all).size], [86, 86]);
  });
  await check("a reload shows the same", async () => {
    const before = await page.locator("#counts dd").allTextContents();
    await page.reload();
    await until(async () => (await page.locator("#counts dd").allTextContents()).join() === before.join(), "the counts are there");
    assert.deepEqual(await page.locator("#tasks li").count(), await other.locator("#tasks li").count());
  });
}

/** Waits until so many tasks are in a state; `wanted` is a number or a condition. */
const count = async (page, state, wanted) => {
  const number = async () => Number(await page.locator(`#counts [data-state="${state}"] dd`).textContent());
  const fits = typeof wanted === "function" ? wanted : (found) => found === wanted;
  for (const deadline = Date.now() + 40_000; ; ) {
    const found = await number();
    if (fits(found)) return;
    if (Date.now() > deadline) throw new Error(`${found} are ${state}`);
    await new Promise((resume) => setTimeout(resume, 40));
  }
};
const workers = (page) => page.locator("#workers li[data-worker]").evaluateAll((items) => items.map((item) => item.dataset.worker));
