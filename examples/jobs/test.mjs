// A job in two browsers: reloads in the midst, a restart of the server while it runs, a failure, a cancellation. Every page ends with every step, once.

const STEPS = [
  ...Array.from({ length: 8 }, (_, at) => `read reel ${at + 1} of 8`),
  ...Array.from({ length: 12 }, (_, at) => `graded scene ${at + 1} of 12`),
  ...Array.from({ length: 24 }, (_, at) => `encoded ${(at + 1) * 90} of 2160 frames`),
  ...Array.from({ length: 10 }, (_, at) => `sent ${(at + 1) * 48} of 480 MB`),
];
const READY = 44;

export async function test({ start, newPage, check, until, shots, assert }) {
  const running = await start({ env: { STEP_MS: "30" } });
  let owner, other;
  await check("a reload in the midst goes on with every step", async () => {
    owner = await newPage();
    await owner.getByRole("button", { name: "Export" }).click();
    await until(async () => (await lines(owner)).length > 2, "it has begun");
    await owner.reload();
    await is(owner, "waits for you");
    assert.deepEqual(await lines(owner), STEPS.slice(0, READY));
  });
  await check("whoever has the address sees the same, from the first step on", async () => {
    other = await newPage(new URL(owner.url()).hash, { scheme: "dark" });
    await is(other, "waits for you");
    assert.deepEqual(await lines(other), STEPS.slice(0, READY));
    assert.equal(await other.locator("#percent").textContent(), "81 %");
  });
  await check("it looks well", () => shots(owner, "waiting"));
  await check("the server is killed while the job runs: nothing is missing, nothing is doubled", async () => {
    await running.server.kill();
    await owner.locator('#badge[data-state="waiting"]').waitFor();
    // The job does not notice, but what it has to tell waits.
    await other.getByRole("button", { name: "Upload it" }).click();
    await running.server.start();
    for (const page of [owner, other]) {
      await is(page, "done");
      assert.deepEqual(await lines(page), STEPS);
      await page.getByText("“A week in the mountains” is online.").waitFor();
    }
    await shots(owner);
  });
  await check("what is over can still be looked at", async () => {
    await other.reload();
    await is(other, "done");
    assert.deepEqual(await lines(other), STEPS);
    assert.equal(await other.getByRole("button", { name: "Cancel" }).isVisible(), false);
  });
  await check("what happens between reading and listening is not missed", async () => {
    await owner.getByLabel("Film", { exact: true }).selectOption("The old bridge");
    await owner.getByRole("button", { name: "Export" }).click();
    await is(owner, "waits for you");
    const late = await newPage(new URL(owner.url()).hash, { hold: true });
    await until(async () => (await lines(late)).length === READY, "it has read");
    await owner.getByRole("button", { name: "Upload it" }).click();
    await is(owner, "done");
    assert.equal((await lines(late)).length, READY);
    await late.release();
    await is(late, "done");
    assert.deepEqual(await lines(late), STEPS);
  });
  await check("a failure is told, with what was done before it", async () => {
    await owner.getByLabel("Film", { exact: true }).selectOption("A damaged tape");
    await owner.getByRole("button", { name: "Export" }).click();
    await owner.getByText("It failed: the tape is damaged at 00:04:12.").waitFor();
    await is(owner, "failed");
    assert.deepEqual(await lines(owner), STEPS.slice(0, 26));
  });
  await check("a job is cancelled by somebody else who looks", async () => {
    await owner.getByLabel("Film", { exact: true }).selectOption("The old bridge");
    await owner.getByRole("button", { name: "Export" }).click();
    await is(owner, "waits for you");
    const third = await newPage(new URL(owner.url()).hash);
    await third.getByRole("button", { name: "Cancel" }).click();
    for (const page of [owner, third]) await is(page, "cancelled");
    assert.deepEqual(await lines(third), STEPS.slice(0, READY));
  });
  await check("an address that names no job says so", async () => {
    const lost = await newPage("#00000000-0000-4000-8000-000000000000");
    await lost.getByText("This job is not known, or was forgotten.").waitFor();
  });
}

const lines = (page) => page.locator("#lines li").allTextContents();
const is = (page, state) => page.locator("#state").getByText(state, { exact: true }).waitFor();
