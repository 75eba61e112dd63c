// What two people see of each other: messages in the same order, presence, typing; reloads, a second tab, a restart of the server, and a kill under their hands.

export async function test({ start, newPage, check, until, shots, assert }) {
  const running = await start();
  let ann, bob;
  await check("two people see each other come in", async () => {
    ann = await newPage("?user=ann");
    await sees(ann, "online");
    bob = await newPage("?user=bob");
    for (const page of [ann, bob]) await until(async () => (await people(page)).join() === "ann,bob", "both are listed");
    await ann.getByText("bob came in").waitFor();
  });
  await check("what is said arrives, in one order", async () => {
    await says(ann, "Good morning! Has anybody watered the tomatoes?");
    await bob.getByText("Good morning!").waitFor();
    await says(bob, "I did, before breakfast.");
    await says(bob, `<img src=x onerror="window.caught=1"> & <b>bold</b>`);
    await ann.getByText("& <b>bold</b>").waitFor();
    for (const page of [ann, bob]) assert.deepEqual(await said(page), ["Good morning! Has anybody watered the tomatoes?", "I did, before breakfast.", `<img src=x onerror="window.caught=1"> & <b>bold</b>`]);
    assert.equal(await ann.evaluate(() => window.caught), undefined);
  });
  await check("who types is told to the others", async () => {
    await bob.getByRole("textbox", { name: "Message", exact: true }).pressSequentially("The beans", { delay: 5 });
    await ann.getByText("bob is typing…").waitFor();
    assert.equal(await bob.locator("#typing").textContent(), "");
    await bob.keyboard.press("Enter");
    await ann.getByText("The beans", { exact: true }).waitFor();
    assert.equal(await ann.locator("#typing").textContent(), "");
  });
  await check("who comes later has the history", async () => {
    const cleo = await newPage("?user=cleo", { hold: true });
    await until(async () => (await said(cleo)).length === 4, "the history is there");
    await says(ann, "And the basil?");
    await bob.getByText("And the basil?").waitFor();
    await cleo.release();
    await cleo.getByText("And the basil?").waitFor();
    assert.deepEqual(await said(cleo), await said(ann));
    await cleo.context().close();
    await ann.getByText("cleo left").waitFor();
  });
  await check("a second tab is the same person", async () => {
    const second = await newPage("?user=ann", { beside: ann });
    await until(async () => (await people(second)).join() === "ann,bob", "ann is listed once");
    await second.close();
    await says(bob, "Still with us, ann?");
    await ann.getByText("Still with us, ann?").waitFor();
    assert.equal(await ann.getByText("ann left").count(), 0);
    assert.deepEqual(await people(bob), ["ann", "bob"]);
  });
  await check("a room of one's own, and how much is unread in the other", async () => {
    await ann.getByLabel("Name of a new room").fill("Greenhouse 2");
    await ann.keyboard.press("Enter");
    await ann.getByText("Nobody has said anything in greenhouse-2 yet.").waitFor();
    await says(bob, "One for later");
    await ann.getByTitle("1 unread").waitFor();
    await ann.getByRole("button", { name: "lobby" }).click();
    await ann.getByText("One for later").waitFor();
    assert.equal(await ann.getByTitle("1 unread").count(), 0);
  });
  await check("it looks well", async () => {
    await says(ann, "I have put the new seedlings beside the door, where they get the sun until noon. If anybody needs the space, just tell me and I will move them.");
    await bob.getByText("seedlings").waitFor();
    await shots(bob);
  });
  await check("a reload loses and doubles nothing", async () => {
    const before = await said(ann);
    await ann.reload();
    await until(async () => (await said(ann)).length === before.length, "everything is there again");
    assert.deepEqual(await said(ann), before);
    await until(async () => (await people(bob)).join() === "ann,bob", "ann is still there");
    assert.equal(await bob.getByText("ann left").count(), 0, "a reload is no leaving");
  });
  for (const [how, signal] of [["restarted", "SIGTERM"], ["killed", "SIGKILL"]]) {
    await check(`the server is ${how}: what is said meanwhile is said once it is back, once`, async () => {
      const before = await said(bob);
      await running.server.stop(signal);
      await sees(ann, "waiting");
      await says(ann, `While it was ${how}`);
      await ann.locator(".waits").waitFor();
      await running.server.start();
      await bob.getByText(`While it was ${how}`).waitFor();
      await until(async () => (await ann.locator(".waits").count()) === 0, "nothing waits any longer");
      // By no lesser way than before.
      for (const page of [ann, bob]) await page.locator("#badge").getByText("connected", { exact: true }).waitFor();
      for (const page of [ann, bob]) assert.deepEqual(await said(page), [...before, `While it was ${how}`]);
      await until(async () => (await people(bob)).join() === "ann,bob", "both are there again");
    });
  }
}

const says = async (page, words) => {
  await page.getByRole("textbox", { name: "Message", exact: true }).fill(words);
  await page.keyboard.press("Enter");
};
const said = (page) => page.locator("#log .text").allTextContents();
const people = async (page) => (await page.locator("#people li span:last-child").allTextContents()).map((name) => name.replace(" (you)", "")).sort();
const sees = (page, state) => page.locator(`#badge[data-state="${state}"]`).waitFor();
