// What a person does and sees on the console: one object a window. Knows the page by its roles and labels, as a screen reader does.

const WAIT_MS_MAX = 15_000;

export class ConsolePage {
  /** Errors in the browser's console while the server was up. */
  errors = [];
  expectErrors = false;

  static async open(browser, origin, { name, channel, colorScheme = "light", viewport = { width: 1360, height: 900 } }) {
    const context = await browser.newContext({ colorScheme, viewport });
    await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin });
    const page = await context.newPage();
    const opened = new ConsolePage(page, name);
    await page.goto(`${origin}/#${new URLSearchParams({ room: channel, name })}`);
    await opened.connected();
    return opened;
  }

  constructor(page, name) {
    this.page = page;
    this.name = name;
    this.log = page.getByRole("log", { name: "Messages" });
    page.setDefaultTimeout(WAIT_MS_MAX);
    page.on("console", (message) => {
      if (message.type() === "error" && !this.expectErrors) this.errors.push(`${name}: ${message.text()}`);
    });
    page.on("pageerror", (error) => this.errors.push(`${name}: ${error.message}`));
  }

  async connected() {
    await this.page.getByText(`Connected as ${this.name}`, { exact: true }).waitFor();
  }

  async says(text) {
    await this.page.getByRole("textbox", { name: "Message", exact: true }).fill(text);
    await this.page.keyboard.press("Enter");
  }

  async sees(text) {
    await this.log.getByText(text, { exact: true }).last().waitFor();
  }

  /** The texts of the messages, in order, without the notes between them. */
  async said() {
    return this.log.locator(".said .text").allTextContents();
  }

  /** How many pixels of the messages are below those that are shown. */
  async belowTheMessages() {
    return this.log.evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight);
  }

  async present() {
    const items = this.page.getByRole("complementary").getByRole("listitem");
    return (await items.locator(".who").allTextContents()).sort();
  }

  /** Waits until the present users satisfy a condition, and answers them. */
  async presence(condition) {
    const deadline = Date.now() + WAIT_MS_MAX;
    for (;;) {
      const users = await this.present();
      if (condition(users)) return users;
      if (Date.now() > deadline) throw new Error(`${this.name} sees present: ${users.join(", ") || "nobody"}`);
      await this.page.waitForTimeout(50);
    }
  }

  /** Waits until a counter's tile says a text: its number and what stands below it. */
  async counter(name, text) {
    const tile = this.page.locator(".tile", { has: this.page.getByText(name, { exact: true }) });
    await tile.getByRole("definition").filter({ hasText: new RegExp(`^${text}$`) }).waitFor();
  }

  frames() {
    return this.page.getByRole("group", { name: /^Frames, oldest first/ }).getByRole("button");
  }

  async snippet(title) {
    await this.page.getByRole("tab", { name: title, exact: true }).click();
    await this.page.getByRole("button", { name: `Copy the ${title} snippet` }).click();
    const copied = await this.page.evaluate(() => navigator.clipboard.readText());
    const shown = await this.page.getByRole("tabpanel").textContent();
    if (copied.trimEnd() !== shown.trimEnd()) throw new Error(`copied ${copied}, shown ${shown}`);
    return copied;
  }
}
