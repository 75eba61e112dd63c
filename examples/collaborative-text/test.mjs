// Several people at one text: in pages of Chromium, and many more beside the real server. What needs no server at all comes first.

import { absence, editors } from "./test/editors.mjs";
import { histories } from "./test/histories.mjs";
import { properties } from "./test/properties.mjs";
import { means } from "./test/simulate.mjs";

const SEED = Number(process.env.SEED ?? Date.now() % 1_000_000_000);

export async function test({ start, newPage, check, until, shots, assert }) {
  const silent = () => {};
  await check(`operations keep what they promise (SEED=${SEED})`, () => properties({ seed: SEED, rounds: 300, say: silent }));
  await check(`participants converge on paper (SEED=${SEED})`, () => histories({ seed: SEED, rounds: 300, say: silent }));

  const running = await start();
  let ada, ben, cy;
  await check("what one writes, the others see", async () => {
    [ada, ben, cy] = await Promise.all([newPage("?user=ada"), newPage("?user=ben"), newPage("?user=cy", { scheme: "dark" })]);
    for (const page of [ada, ben, cy]) await saved(page);
    await type(ada, "Shopping for the garden party\n\n- lemons, a lot\n- two melons\n");
    for (const page of [ben, cy]) await until(async () => (await text(page)).endsWith("two melons\n"), "the text is there");
  });
  await check("three who write at once come to the same text, and none of it is lost", async () => {
    await Promise.all([
      type(ada, " (the ripe ones)", "two melons"),
      type(ben, "- candles for the tables\n", "two melons\n"),
      type(cy, "big ", "Shopping for the "),
    ]);
    await same([ada, ben, cy], ["big garden party", "two melons (the ripe ones)", "candles for the tables"], until, assert);
  });
  await check("everybody sees where the others are", async () => {
    await put(ada, "lemons, ", 5);
    await put(ben, "for the tables");
    for (const page of [cy, ben]) await page.locator(".caret b", { hasText: "ada" }).waitFor();
    await cy.locator("mark").waitFor();
    await cy.locator(".caret b", { hasText: "ben" }).waitFor();
    assert.deepEqual(await cy.locator("#people li").allTextContents(), ["Ccy (you)", "Aada", "Bben"]);
    // A caret is behind the same words for everybody, while others write before it.
    await type(cy, "x", "");
    await until(async () => (await beforeCaret(cy, "ben")).endsWith("for the tables"), "the caret is where ben has it");
    await cy.keyboard.press("Backspace");
  });
  await check("it looks well", async () => {
    await same([ada, ben, cy], [], until, assert);
    await put(ada, "lemons, a", 6);
    await cy.locator("mark").waitFor();
    await shots(cy);
  });
  await check("undo takes back what one wrote oneself, and nothing of the others", async () => {
    await type(ada, "PEARS", "- ");
    await same([ada, ben, cy], ["PEARS"], until, assert);
    await type(ben, "napkins", "- ");
    await same([ada, ben, cy], ["PEARS", "napkins"], until, assert);
    await ada.locator("#text").focus();
    await ada.keyboard.press("Control+z");
    await until(async () => !(await text(ben)).includes("PEARS"), "it is taken back everywhere");
    await same([ada, ben, cy], ["napkins"], until, assert);
    await ada.getByRole("button", { name: "Redo" }).click();
    await same([ada, ben, cy], ["PEARS", "napkins"], until, assert);
  });
  await check("while a character is composed, others write on", async () => {
    const session = await ada.context().newCDPSession(ada);
    await put(ada, "party");
    await session.send("Input.imeSetComposition", { text: "に", selectionStart: 1, selectionEnd: 1 });
    await type(ben, "Hello! ", "");
    await until(async () => (await text(cy)).startsWith("Hello! "), "the others see it");
    await session.send("Input.insertText", { text: "日" });
    await same([ada, ben, cy], ["Hello! ", "party日"], until, assert);
  });
  await check("what is written while the server is away is there when it is back, with what others wrote", async () => {
    await running.server.stop();
    for (const page of [ada, ben]) await page.locator('#badge[data-state="waiting"]').waitFor();
    await type(ada, "- bread\n", "two melons (the ripe ones)\n");
    await type(ben, "- salt\n", "two melons (the ripe ones)\n");
    assert.equal(await ben.locator("#saved").textContent(), "Not connected: what you write waits here.");
    await running.server.start();
    await same([ada, ben, cy], ["- bread\n", "- salt\n"], until, assert);
  });
  await check("a reload and a newcomer have the same text", async () => {
    await cy.reload();
    const dan = await newPage("?user=dan");
    await same([ada, cy, dan], ["- bread\n"], until, assert);
    await dan.close();
    await until(async () => !(await cy.locator("#people").textContent()).includes("dan"), "who leaves is not listed");
  });
  await check(`many editors converge, though everything breaks (SEED=${SEED})`, async () => {
    const restart = () => running.server.restart("SIGKILL");
    await editors({ ...(await means()), url: running.where.ws, restart, document: "crowd", seed: SEED, count: 6, edits: 400, restarts: 2 });
  });
  await check("who was away for longer than the history reaches goes on from a snapshot", async () => {
    await absence({ ...(await means()), url: running.where.ws, document: "absence", seed: SEED });
  });
  await check("a server that has forgotten everything is told by those who know", async () => {
    await same([ada, ben, cy], [], until, assert);
    await running.server.stop();
    for (const page of [ada, ben, cy]) await page.locator('#badge[data-state="waiting"]').waitFor();
    await type(ada, "- apricots\n", "- bread\n");
    running.dataDir += "-other";
    await running.server.start();
    await same([ada, ben, cy], ["Hello! ", "- bread\n", "- apricots\n"], until, assert);
    const newcomer = await newPage("?user=eve");
    await same([ada, newcomer], ["- apricots\n"], until, assert);
  });
}

const text = (page) => page.locator("#text").inputValue();
const saved = (page) => page.locator('#saved[data-state="settled"]').waitFor();

/** Puts the caret behind words, or selects so many characters before it. */
async function put(page, words, selected = 0) {
  await page.locator("#text").evaluate((area, { words, selected }) => {
    const at = area.value.indexOf(words) + words.length;
    area.focus();
    area.setSelectionRange(at - selected, at);
  }, { words, selected });
}

/** Types key by key behind words. */
async function type(page, letters, behind = null) {
  if (behind !== null) await put(page, behind);
  else await page.locator("#text").focus();
  await page.keyboard.type(letters, { delay: 2 });
}

/** All have everything, it is the same text, and these words are in it once. */
async function same(pages, words, until, assert) {
  await until(async () => {
    for (const page of pages) await saved(page);
    const texts = await Promise.all(pages.map(text));
    return texts.every((one) => one === texts[0] && words.every((word) => one.includes(word)));
  }, `all have the same text, with ${JSON.stringify(words)}`);
  const found = await text(pages[0]);
  for (const word of words) assert.equal(found.split(word).length, 2, `${JSON.stringify(word)} is there once in ${JSON.stringify(found)}`);
}

/** What stands before somebody's caret. */
function beforeCaret(page, name) {
  return page.evaluate((wanted) => {
    const caret = [...document.querySelectorAll(".caret")].find((one) => one.textContent === wanted);
    const range = document.createRange();
    range.setStart(document.getElementById("mirror"), 0);
    range.setEndBefore(caret);
    // Of other carets there are the names.
    const part = range.cloneContents();
    for (const other of part.querySelectorAll(".caret")) other.remove();
    return part.textContent;
  }, name);
}
