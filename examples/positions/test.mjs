// Three on a field: by keys, by mouse and by touch; one of them is told only once a second; one leaves; the server is restarted.

export async function test({ start, newPage, check, until, shots, assert }) {
  const running = await start();
  let ann, bob;
  await check("players see each other", async () => {
    [ann, bob] = [await newPage("?user=ann"), await newPage("?user=bob", { scheme: "dark" })];
    for (const [page, other] of [[ann, "bob"], [bob, "ann"]]) await until(() => find(page, other), `${other} is seen`);
  });
  await check("who moves by keys is seen to move there, in binary frames", async () => {
    const before = await find(bob, "ann");
    await ann.keyboard.down("ArrowRight");
    await until(async () => (await find(bob, "ann")).x > before.x + 0.1, "ann has gone to the right");
    await ann.keyboard.up("ArrowRight");
    await together(ann, bob, "ann", until);
    assert.ok(Math.abs((await find(bob, "ann")).y - before.y) < 0.01, "and not up or down");
    const bytes = Number(await ann.locator("#bytes").textContent());
    // The header names channel and key; JSON with the same content takes twice as much.
    assert.ok(bytes > 10 && bytes < 160, `${bytes} bytes`);
  });
  await check("who presses somewhere goes there", async () => {
    const box = await bob.locator("#field").boundingBox();
    await bob.mouse.move(box.x + box.width * 0.25, box.y + box.height * 0.75);
    await bob.mouse.down();
    await bob.mouse.up();
    await until(async () => {
      const { x, y } = await find(ann, "bob");
      return Math.abs(x - 0.25) < 0.05 && Math.abs(y - 0.75) < 0.05;
    }, "ann sees bob arrive");
  });
  await check("who is told once a second gets the latest, and is told how much it stands for", async () => {
    await bob.getByRole("button", { name: "1/s" }).click();
    await until(() => find(bob, "ann"), "ann is there again");
    await ann.keyboard.down("ArrowLeft");
    await until(async () => Number(await bob.locator("#replaced").textContent()) > 5, "moves were replaced");
    await ann.keyboard.up("ArrowLeft");
    await together(ann, bob, "ann", until);
    await bob.getByRole("button", { name: "20/s" }).click();
  });
  await check("it looks well", async () => {
    const cleo = await newPage("?user=cleo");
    for (const [page, where] of [[cleo, [0.7, 0.3]], [ann, [0.45, 0.55]]]) {
      const box = await page.locator("#field").boundingBox();
      await page.mouse.click(box.x + box.width * where[0], box.y + box.height * where[1]);
    }
    await until(async () => Math.abs((await find(ann, "cleo")).x - 0.7) < 0.05, "cleo is there");
    await cleo.keyboard.down("ArrowDown");
    const { y } = await find(ann, "cleo");
    await until(async () => (await find(ann, "cleo")).y > y + 0.08, "cleo moves");
    await shots(ann);
    await cleo.keyboard.up("ArrowDown");
    await cleo.context().close();
  });
  await check("who leaves is gone", async () => {
    await until(async () => !(await find(ann, "cleo")) && !(await find(bob, "cleo")), "cleo is not seen");
  });
  await check("after a restart of the server everybody is there, and moves", async () => {
    await running.server.restart();
    for (const page of [ann, bob]) await page.locator('#badge[data-state="online"]').waitFor();
    await ann.keyboard.down("ArrowUp");
    await until(async () => ((await find(bob, "ann"))?.y ?? 1) < 0.3, "ann is seen to move");
    await ann.keyboard.up("ArrowUp");
    await together(ann, bob, "ann", until);
    assert.equal(await bob.locator("#players li").count(), 2, "nobody is there twice");
  });
}

/** Where a page draws somebody. */
function find(page, name) {
  return page.evaluate((wanted) => {
    const line = [...document.querySelectorAll("#players li")].find((one) => one.children[1].textContent.replace(" (you)", "") === wanted);
    return line ? { x: Number(line.dataset.x), y: Number(line.dataset.y) } : null;
  }, name);
}

/** Both draw somebody at the same place. */
function together(one, other, name, until) {
  return until(async () => {
    const [here, there] = [await find(one, name), await find(other, name)];
    return Math.hypot(here.x - there.x, here.y - there.y) < 0.01;
  }, `both see ${name} at one place`);
}
