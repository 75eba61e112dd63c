// The newsroom's goals in two browsers, one by WebSocket and one by EventSource; changing between them; a browser in which no WebSocket opens; a restart of the server.

export async function test({ start, newPage, check, until, shots, assert }) {
  const running = await start({ env: { TICK_MS: "0", MINUTE: "37" } });
  let socket, events;
  await check("a page listens by a WebSocket, another by an EventSource", async () => {
    socket = await newPage();
    await socket.getByText("connected by WebSocket").waitFor();
    events = await newPage("", { scheme: "dark" });
    await events.getByRole("button", { name: "EventSource" }).click();
    await events.getByText("connected by EventSource").waitFor();
  });
  await check("a goal is seen by both", async () => {
    await scores(socket, "Northbridge");
    for (const page of [socket, events]) await until(async () => (await score(page, 0)) === "1:0", "1:0");
    await scores(events, "Harbour City");
    for (const page of [socket, events]) {
      await until(async () => (await score(page, 0)) === "1:1", "1:1");
      assert.deepEqual(await ticker(page), ["Harbour City", "Northbridge"]);
    }
  });
  await check("whoever changes the way misses and repeats nothing", async () => {
    let go;
    const held = new Promise((resolve) => (go = resolve));
    await events.route("**/sse?**", (route) => held.then(() => route.continue()));
    for (const [way, team] of [["WebSocket", "Old Mill"], ["EventSource", "Riverside"], ["WebSocket", "Riverside"]]) {
      await events.getByRole("button", { name: way, exact: true }).click();
      // While it is between the two.
      const before = (await ticker(socket)).length;
      await scores(socket, team);
      await until(async () => (await ticker(socket)).length > before, "the other page knows");
      if (way === "EventSource") go();
      await events.getByText(`connected by ${way}`).waitFor();
      await until(async () => (await ticker(events)).join() === (await ticker(socket)).join(), "both know the same");
    }
    await until(async () => (await score(events, 1)) === "1:2", "1:2");
    assert.deepEqual(await ticker(events), ["Riverside", "Riverside", "Old Mill", "Harbour City", "Northbridge"]);
    await events.getByRole("button", { name: "EventSource" }).click();
  });
  await check("where no WebSocket gets through, it takes an EventSource by itself", async () => {
    const behind = await newPage("", { prepare: noSocketOpens });
    await behind.getByText("connected by EventSource").waitFor();
    await scores(socket, "Rovers");
    await until(async () => (await score(behind, 3)) === "0:1", "0:1");
    await behind.context().close();
  });
  await check("it looks well", async () => {
    for (const team of ["Castle Park", "Union 04", "Castle Park", "Lakeside"]) await scores(socket, team);
    await until(async () => (await score(socket, 2)) === "2:1" && (await score(socket, 3)) === "1:1", "the last goals");
    await shots(socket);
  });
  await check("the server is restarted: what falls meanwhile is seen once it is back, in order and once", async () => {
    const before = await ticker(socket);
    await until(async () => (await ticker(events)).length === before.length, "both know the same");
    await running.server.stop();
    for (const page of [socket, events]) await page.locator('#badge[data-state="waiting"]').waitFor();
    // The backend knows of the goals, and publishes them when it can.
    for (const [match, side] of [[0, 0], [0, 0]]) void fetch(`${running.where.backend}/goal`, { method: "POST", body: JSON.stringify({ match, side }) });
    await running.server.start();
    for (const page of [socket, events]) {
      await until(async () => (await score(page, 0)) === "3:1", "3:1");
      assert.deepEqual(await ticker(page), ["Northbridge", "Northbridge", ...before]);
    }
  });
  await check("a reload begins with the scores as they are", async () => {
    await socket.reload();
    await socket.getByText("connected by WebSocket").waitFor();
    assert.equal(await score(socket, 0), "3:1");
    assert.equal(await score(socket, 2), "2:1");
  });
  await check("a history that is lost is read from the backend", async () => {
    await running.server.stop();
    for (const page of [socket, events]) await page.locator('#badge[data-state="waiting"]').waitFor();
    // A server that knows nothing of what was: its positions are of another epoch.
    running.dataDir += "-other";
    await running.server.start();
    for (const page of [socket, events]) await page.locator('#badge[data-state="online"]').waitFor();
    await scores(socket, "Union 04");
    for (const page of [socket, events]) await until(async () => (await score(page, 2)) === "2:2", "2:2");
  });
}

const scores = (page, team) => page.getByRole("button", { name: `Goal for ${team}` }).click();
const score = async (page, match) => (await page.locator(`#match-${match} b`).allTextContents()).join(":");
const ticker = (page) => page.locator("#ticker strong").allTextContents();

/** As behind a proxy that knows no upgrades. Runs in the page. */
function noSocketOpens() {
  globalThis.WebSocket = class {
    constructor() {
      setTimeout(() => this.onclose?.({ code: 1006 }), 1);
    }
    close() {}
    send() {}
  };
}
