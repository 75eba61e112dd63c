// Three pages of Chromium that talk to each other directly: they find each other, draw and chat, one comes late, one leaves, and the server goes away and
// comes back in between.

export async function test({ start, newPage, check, until, shots, assert }) {
  const running = await start();
  let ann, bob, cleo;
  await check("two pages that come at the same moment agree", async () => {
    [ann, bob] = await Promise.all([newPage("?user=ann"), newPage("?user=bob", { scheme: "dark" })]);
    await met([ann, bob], 1, until);
  });
  await check("what one says and draws the other has", async () => {
    await says(ann, "Shall we draw the garden?");
    await bob.getByText("Shall we draw the garden?").waitFor();
    await draws(ann, [[0.2, 0.7], [0.35, 0.3], [0.5, 0.7], [0.2, 0.7]]);
    await until(async () => (await strokes(bob)) === (await strokes(ann)) && (await strokes(bob)) >= 12, "the strokes are there");
    assert.ok(await hasDrawn(bob), "and drawn");
  });
  await check("who comes late meets both, and has the drawing", async () => {
    await draws(bob, [[0.6, 0.5], [0.85, 0.5], [0.85, 0.75], [0.6, 0.75], [0.6, 0.5]]);
    cleo = await newPage("?user=cleo");
    await met([ann, bob, cleo], 2, until);
    await until(async () => (await strokes(cleo)) === (await strokes(ann)), "all strokes are there");
    await says(cleo, "I have brought a pond.");
    for (const page of [ann, bob]) await page.getByText("I have brought a pond.").waitFor();
  });
  await check("it looks well", () => shots(ann));
  await check("nothing of it went over the server", async () => {
    const { publications } = await running.call("history", { channel: "call:studio" });
    assert.deepEqual(publications, []);
    const { position } = await running.call("channel", { channel: "call:studio" });
    assert.equal(position.offset, 0, "nothing was ever published");
  });
  await check("without the server the pages go on talking", async () => {
    await running.server.stop("SIGKILL");
    for (const page of [ann, bob, cleo]) await page.locator('#badge[data-state="waiting"]').waitFor();
    await says(bob, "Is anybody there?");
    for (const page of [ann, cleo]) await page.getByText("Is anybody there?").waitFor();
    const before = await strokes(ann);
    await draws(cleo, [[0.1, 0.1], [0.3, 0.12]]);
    await until(async () => (await strokes(ann)) > before && (await strokes(ann)) === (await strokes(cleo)), "and drawing");
  });
  await check("when it is back nobody has met twice, and a newcomer is met", async () => {
    await running.server.start();
    for (const page of [ann, bob, cleo]) await page.locator('#badge[data-state="online"]').waitFor();
    const dan = await newPage("?user=dan");
    await met([ann, bob, cleo, dan], 3, until);
    await says(dan, "Hello, all of you");
    for (const page of [ann, bob, cleo]) await page.getByText("Hello, all of you").waitFor();
    await dan.context().close();
  });
  await check("who leaves is gone", async () => {
    await met([ann, bob, cleo], 2, until);
  });
}

/** Each of these pages is connected to so many others directly, and knows of no more. */
async function met(pages, count, until) {
  await until(async () => {
    for (const page of pages) {
      if ((await page.locator('#people li[data-state="connected"]').count()) !== count) return false;
      if ((await page.locator("#people li").count()) !== count + 1) return false;
    }
    return true;
  }, `each is connected to ${count}`);
}

async function says(page, words) {
  await page.getByLabel("Say something").fill(words);
  await page.keyboard.press("Enter");
}

/** Draws a line through places on the pad. */
async function draws(page, places) {
  const box = await page.locator("#pad").boundingBox();
  const at = ([x, y]) => [box.x + x * box.width, box.y + y * box.height];
  await page.mouse.move(...at(places[0]));
  await page.mouse.down();
  for (const place of places.slice(1)) await page.mouse.move(...at(place), { steps: 6 });
  await page.mouse.up();
}

const strokes = async (page) => Number(await page.locator("#strokes").textContent());
const hasDrawn = (page) => page.locator("#pad").evaluate((canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some((byte) => byte !== 0));
