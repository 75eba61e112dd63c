// Two at the dashboard, and one who comes late: readings, alarms that begin and end, an alarm that somebody has seen, a sensor that falls silent, a restart.

export async function test({ start, newPage, check, until, shots, assert }) {
  const running = await start({ env: { TICK_MS: "200" } });
  let ann, bob;
  await check("all values are there at once", async () => {
    ann = await newPage();
    await until(async () => (await values(ann)).length === 8 && (await values(ann)).every((value) => /°C$/.test(value)), "all rooms have a value");
    await until(async () => (await ann.locator(".curve polyline").count()) === 8, "and a past");
    const points = await ann.locator("#room-office polyline").getAttribute("points");
    assert.ok(points.split(" ").length >= 60, "the past is the history's");
    await ann.getByText("No alarms").waitFor();
  });
  await check("readings come by the pattern", async () => {
    const before = await ann.locator("#room-kitchen polyline").getAttribute("points");
    await until(async () => (await ann.locator("#room-kitchen polyline").getAttribute("points")) !== before, "the curve goes on");
  });
  await check("a room that grows too warm is an alarm for everybody", async () => {
    bob = await newPage("", { scheme: "dark" });
    await bob.getByTitle("Heat Server room").click();
    for (const page of [ann, bob]) await page.getByText("Server room is above 26 °C").waitFor();
    await until(async () => (await ann.locator("#room-server-room").getAttribute("data-state")) === "alarm", "its card says so");
    assert.equal(await ann.title(), "(1) Sensors");
  });
  await check("who comes late finds the alarm there", async () => {
    const late = await newPage();
    await late.getByText("Server room is above 26 °C").waitFor();
    await late.context().close();
  });
  await check("that one has seen it, all are told, and who comes later", async () => {
    await ann.locator("#alarm-server-room").getByRole("button", { name: "Seen" }).click();
    for (const page of [ann, bob]) await page.locator('#alarm-server-room[data-seen="true"]').waitFor();
    await bob.reload();
    await bob.locator('#alarm-server-room[data-seen="true"]').waitFor();
  });
  await check("a sensor that falls silent is not believed", async () => {
    await bob.getByTitle("Unplug the sensor of Roof").click();
    await ann.locator('#room-roof[data-state="silent"]').waitFor();
    await bob.getByTitle("Cool Wine cellar").click();
    await ann.getByText("Wine cellar is below 9 °C").waitFor();
  });
  await check("it looks well", () => shots(ann));
  await check("an alarm that is over goes", async () => {
    await ann.getByTitle("Leave Server room alone").click();
    await ann.getByTitle("Leave Wine cellar alone").click();
    await bob.getByTitle("Plug in the sensor of Roof").click();
    for (const page of [ann, bob]) await page.getByText("No alarms").waitFor();
    for (const page of [ann, bob]) await page.locator('#room-roof[data-state="well"]').waitFor();
  });
  await check("after a kill of the server everything goes on, and who comes then sees all of it", async () => {
    await running.server.restart("SIGKILL");
    await bob.getByTitle("Heat Cold store").click();
    await ann.getByText("Cold store is above 7 °C").waitFor();
    const late = await newPage();
    await late.getByText("Cold store is above 7 °C").waitFor();
    await until(async () => (await values(late)).filter((value) => /°C$/.test(value)).length === 8, "all rooms have a value");
  });
}

const values = (page) => page.locator(".value").allTextContents();
