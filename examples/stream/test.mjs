// An answer in two browsers: reloads while it is held and while it flows, stopping, and a restart of a server that forgets. What the pages show is what the model gave.

import { tokens } from "./model.mjs";

const answerTo = (prompt, count) => [...tokens(prompt, count)].join("").trimStart();

export async function test({ start, newPage, check, until, shots, assert }) {
  const running = await start();
  let ann, bob;
  await check("an answer comes token by token, and is whole", async () => {
    ann = await newPage();
    await pace(ann, 120);
    await asks(ann, "How do rivers arrive?", "short");
    await until(async () => (await answer(ann)).length > 0, "it begins");
    await whole(ann);
    assert.equal(await answer(ann), answerTo("How do rivers arrive?", 60));
  });
  await check("held in the midst and reloaded, it goes on without a lost or doubled token", async () => {
    await asks(ann, "And what of the boat?", "endless");
    await until(async () => (await answer(ann)).length > 100, "it flows");
    await pace(ann, 0);
    await ann.reload();
    await ann.locator(".answers").waitFor();
    const held = await answer(ann);
    assert.ok(held.length > 0 && answerTo("And what of the boat?", 3_000).startsWith(held), "a beginning of the answer");
    await pace(ann, 60);
    await until(async () => (await answer(ann)).length > held.length, "it goes on");
  });
  await check("whoever comes later reads along", async () => {
    bob = await newPage(new URL(ann.url()).hash, { scheme: "dark" });
    await bob.locator(".answers").waitFor();
    await pace(bob, 0);
    await until(async () => (await answer(ann)) === (await answer(bob)), "both are at the same token");
    await shots(ann);
    await pace(bob, 60);
  });
  await check("the server begins anew and has forgotten: the backend knows, and nothing is lost or doubled", async () => {
    const before = (await answer(ann)).length;
    await running.server.kill();
    await ann.locator('#badge[data-state="waiting"]').waitFor();
    await running.server.start();
    await fetch(`${running.where.backend}/pace`, { method: "POST", body: JSON.stringify({ pace: 1_000 }) });
    for (const page of [ann, bob]) {
      await until(async () => (await answer(page)).length > before, "it goes on");
      await whole(page);
      assert.equal(await answer(page), answerTo("And what of the boat?", 3_000));
    }
  });
  await check("an answer is stopped by somebody who reads along, and the next one can be asked", async () => {
    await pace(ann, 60);
    await asks(ann, "Tell me about the letter", "endless");
    await until(async () => (await answer(bob)).length > 60, "it flows");
    await bob.getByRole("button", { name: "Stop" }).click();
    for (const page of [ann, bob]) await page.getByText(/tokens, stopped$/).waitFor();
    assert.equal(await answer(ann), await answer(bob));
    assert.ok(answerTo("Tell me about the letter", 3_000).startsWith(await answer(ann)));
    await pace(ann, 120);
    await asks(bob, "And the lamp?", "short");
    for (const page of [ann, bob]) {
      await until(async () => (await page.locator("article").count()) === 4, "the fourth");
      await whole(page);
      assert.equal(await answer(page), answerTo("And the lamp?", 60));
    }
  });
  await check("a reload shows the whole conversation", async () => {
    const before = await ann.locator(".text").allTextContents();
    await ann.reload();
    await until(async () => (await ann.locator("article").count()) === 4, "all four are there");
    assert.deepEqual(await ann.locator(".text").allTextContents(), before);
  });
  await check("two cannot ask at once", async () => {
    await pace(ann, 0);
    const id = new URL(ann.url()).hash.slice(1);
    const ask = () => fetch(`${running.where.backend}/ask`, { method: "POST", body: JSON.stringify({ id, prompt: "Again?" }) });
    const answers = await Promise.all([ask(), ask()]);
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 409]);
    for (const page of [ann, bob]) await page.getByRole("button", { name: "Stop" }).waitFor();
    assert.equal(await bob.getByRole("button", { name: "Ask" }).isDisabled(), true);
  });
}

const answer = async (page) => (await page.locator(".text").last().textContent()) ?? "";
const whole = (page) => page.locator("article:last-child .complete").waitFor();
const asks = async (page, prompt, length) => {
  const before = await page.locator("article").count();
  await page.getByLabel("Length of the answer").selectOption(length);
  await page.getByLabel("Question").fill(prompt);
  await page.getByRole("button", { name: "Ask" }).click();
  await page.locator("article").nth(before).waitFor();
};
/** As by hand, and then it has been heard. */
const pace = async (page, value) => {
  const heard = page.waitForResponse((response) => response.url().endsWith("/pace") && response.request().method() === "POST");
  await page.getByLabel("Tokens a second").fill(String(value));
  await heard;
};
