// Two users, one of them with two tabs: what is told, counted and read; who is away; a reload, and a restart of the server.

export async function test({ start, newPage, check, until, shots, assert }) {
  const running = await start();
  let ann, second, bob;
  await check("what is sent to a user is seen in all of the user's tabs, and in nobody else's", async () => {
    ann = await newPage("?user=ann");
    second = await newPage("?user=ann", { beside: ann });
    bob = await newPage("?user=bob");
    for (const page of [ann, second, bob]) await online(page);
    await sends(bob, "ann", "Your parcel has been handed over to the carrier.");
    await bob.getByText("Sent: ann has it in 2 tabs.").waitFor();
    for (const page of [ann, second]) await until(async () => (await unread(page)) === 1, "one is unread");
    assert.equal(await second.title(), "(1) Notifications");
    assert.equal(await bob.locator("#inbox button").count(), 0);
  });
  await check("what is read in one tab is read in the other", async () => {
    await sends(bob, "ann", "Carla has commented on your plan: “Looks good to me.”");
    for (const page of [ann, second]) await until(async () => (await unread(page)) === 2, "two are unread");
    await ann.getByRole("button", { name: /parcel/ }).click();
    for (const page of [ann, second]) await until(async () => (await unread(page)) === 1, "one is unread");
    await second.getByRole("button", { name: "Mark all as read" }).click();
    for (const page of [ann, second]) await until(async () => (await unread(page)) === 0, "none is unread");
    assert.equal(await ann.title(), "Notifications");
  });
  await check("a reload shows the same", async () => {
    await sends(bob, "ann", "Invoice 2041 is due on Friday.");
    await until(async () => (await unread(ann)) === 1, "one is unread");
    await ann.reload();
    await until(async () => (await texts(ann)).length === 3, "three are there");
    assert.equal(await unread(ann), 1);
    assert.deepEqual(await texts(ann), await texts(second));
  });
  await check("whoever is away finds it later", async () => {
    await sends(bob, "carl", "Welcome, Carl.");
    await bob.getByText("Sent: carl is away, and will find it.").waitFor();
    const carl = await newPage("?user=carl", { hold: true });
    await carl.getByRole("button", { name: /Welcome, Carl/ }).waitFor();
    await sends(bob, "carl", "The plan is in the usual folder.");
    await until(async () => (await running.call("history", { user: "carl" })).publications.length === 2, "it has been sent");
    await carl.release();
    await until(async () => (await unread(carl)) === 2, "two are unread");
    assert.deepEqual(await texts(carl), ["The plan is in the usual folder.", "Welcome, Carl."]);
    await carl.context().close();
  });
  await check("it looks well", async () => {
    await sends(ann, "bob", "Thank you, it has arrived.");
    await sends(bob, "ann", "The build of release 4.2 has passed on all platforms, and waits for somebody to say the word.");
    await until(async () => (await unread(ann)) === 2, "two are unread");
    await ann.evaluate(() => document.querySelector(".toast")?.remove());
    await shots(ann);
  });
  await check("nobody is told without a token, nor by a forged one", async () => {
    for (const authorization of ["", "Bearer nonsense", "Bearer e30.eyJzdWIiOiJib2IiLCJleHAiOjk5OTk5OTk5OTl9.AAAA"]) {
      const answer = await fetch(`${running.where.backend}/send`, { method: "POST", headers: { authorization }, body: JSON.stringify({ to: "ann", text: "hello" }) });
      assert.equal(answer.status, 401);
    }
  });
  await check("the server is killed: what is sent meanwhile comes once it is back, once, and read stays read", async () => {
    const before = await texts(ann);
    await running.server.kill();
    await ann.locator('#badge[data-state="waiting"]').waitFor();
    await sends(bob, "ann", "Sent while nobody listened.");
    await running.server.start();
    for (const page of [ann, second]) await until(async () => (await unread(page)) === 3, "three are unread");
    assert.deepEqual(await texts(ann), ["Sent while nobody listened.", ...before]);
    await second.getByRole("button", { name: "Mark all as read" }).click();
    for (const page of [ann, second]) await until(async () => (await unread(page)) === 0, "none is unread");
  });
}

const online = (page) => page.locator('#badge[data-state="online"]').waitFor();
const texts = (page) => page.locator("#inbox .text").allTextContents();
const unread = async (page) => Number((await page.locator("#unread").textContent()) || 0);
const sends = async (page, to, text) => {
  await page.getByLabel("To").fill(to);
  await page.getByLabel("Text").fill(text);
  await page.getByRole("button", { name: "Send" }).click();
};
