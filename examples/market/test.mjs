// Two readers of the same prices: one is sent each, the other ten a second of each symbol. Both end with the same; a restart; a reader who comes late.

const SYMBOLS = 12;

export async function test({ start, newPage, check, until, shots, assert }) {
  const running = await start({ env: { RATE: "400" } });
  let slow, fast;
  await check("a chart begins with what was before", async () => {
    slow = await newPage();
    await until(async () => (await slow.locator("#symbols .change").allTextContents()).every((text) => /%$/.test(text)), "all symbols have a price and a past");
    assert.equal(await slow.locator("#symbols button").count(), SYMBOLS);
    await until(() => hasDrawn(slow), "the chart is drawn");
  });
  await check("hundreds are published, and at most ten a second of each symbol are sent", async () => {
    const before = { ...(await counts(slow)), at: Date.now() };
    await until(async () => (await counts(slow)).published > before.published + 1200, "twelve hundred more were published");
    const after = await counts(slow);
    const seconds = (Date.now() - before.at) / 1000;
    const drawn = after.drawn - before.drawn;
    // The count came from the server: what was not sent is known to have been published.
    assert.ok(after.published - before.published > drawn * 2, `${drawn} of ${after.published - before.published}`);
    assert.ok(drawn <= SYMBOLS * 10 * (seconds + 1), `${drawn} in ${seconds} s`);
  });
  await check("who wants each price is sent each", async () => {
    fast = await newPage("", { scheme: "dark" });
    await fast.getByRole("button", { name: "each" }).click();
    // What the subscription before this one had left out is counted by then.
    await until(async () => (await counts(fast)).drawn > 300, "each is sent");
    // A page that could not keep up for a moment has let prices be replaced: then the next four hundred are looked at.
    let before = await counts(fast);
    await until(async () => {
      const after = await counts(fast);
      if (after.drawn <= before.drawn + 400) return false;
      const all = after.published - after.drawn === before.published - before.drawn;
      before = after;
      return all;
    }, "four hundred were sent in a row and none was replaced");
  });
  await check("twice a second is less than ten times", async () => {
    await slow.getByRole("button", { name: "2/s" }).click();
    const before = await counts(slow);
    await until(async () => (await counts(slow)).published > before.published + 600, "six hundred more were published");
    const after = await counts(slow);
    assert.ok(after.published - before.published > (after.drawn - before.drawn) * 6, JSON.stringify({ before, after }));
    await slow.getByRole("button", { name: "10/s" }).click();
  });
  await check("another symbol's chart is a click away", async () => {
    await slow.getByRole("button", { name: /^IRIS/ }).click();
    await slow.locator("#name", { hasText: "Iris Optics" }).waitFor();
    assert.equal(await slow.locator("#symbols [aria-current=true]").count(), 1);
  });
  await check("it looks well", () => shots(slow));
  await check("prices go on after a restart of the server", async () => {
    await running.server.restart("SIGKILL");
    const before = await counts(slow);
    await until(async () => (await counts(slow)).published > before.published + 200, "prices come again");
    assert.equal(await slow.locator("#badge").getAttribute("data-state"), "online");
  });
  await check("when trade stops, a reader who skipped prices has the last ones", async () => {
    await running.backend.stop();
    await until(async () => (await prices(slow)).join() === (await prices(fast)).join(), "both show the same prices");
    assert.deepEqual(await prices(slow), await prices(fast));
  });
}

async function counts(page) {
  const [published, drawn] = await Promise.all(["#published", "#drawn"].map((id) => page.locator(id).textContent()));
  return { published: Number(published.replaceAll(",", "")), drawn: Number(drawn.replaceAll(",", "")) };
}

const prices = (page) => page.locator("#symbols .price").allTextContents();

/** There is something on the canvas. */
const hasDrawn = (page) => page.locator("#chart").evaluate((canvas) => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.some((byte) => byte !== 0));
