// A room as the page knows it: what was said, who is there, how to come in without missing a line. Knows nothing of how it looks: it tells `onChange` what
// has changed, as `log` (draw it all anew), `line` (one more at the end), `sent`, `people` or `unread`.

const PAGE = 50;

export class Room {
  lines = [];
  people = new Map();
  unread = 0;
  more = false;
  failure = null;

  constructor(client, name, onChange) {
    Object.assign(this, { client, name, channel: `room:${name}`, change: (what, line) => onChange(this, what, line) });
  }

  async enter() {
    const since = await this.load();
    if (this.left) return;
    // Everything behind the lines that were read, so that nothing falls between reading and listening.
    const subscription = this.client.subscribe(this.channel, { since, presence: true });
    this.subscription = subscription;
    subscription.on("message", (message) => this.hear(message));
    subscription.on("join", ({ member }) => this.comes(member));
    subscription.on("leave", ({ member }) => this.goes(member));
    subscription.on("recovered", ({ users }) => this.are(users));
    subscription.on("lost", ({ users }) => {
      this.are(users);
      void this.load();
    });
    subscription.on("unsubscribed", ({ why }) => why.kind === "refused" && this.note(why.refusal.message));
    await subscription.ready;
  }

  leave() {
    this.left = true;
    this.subscription?.unsubscribe();
  }

  /** Reads the last lines, and answers the position up to which they reach. */
  async load() {
    const { messages, position, more } = await this.client.history(this.channel, { limit: PAGE });
    this.lines = [...messages.map(said), ...this.lines.filter(({ waits }) => waits)];
    this.more = more;
    this.change("log");
    return position;
  }

  async loadEarlier() {
    const before = this.lines.find(({ position }) => position)?.position;
    const { messages, more } = await this.client.history(this.channel, { limit: PAGE, before });
    this.lines.unshift(...messages.map(said));
    this.more = more;
    this.change("log");
  }

  /** Shows a line at once, and publishes it: once, whatever happens to the connection meanwhile. */
  async say(text, user) {
    const line = { kind: "said", id: crypto.randomUUID(), who: user, text, time: Date.now(), waits: true };
    this.lines.push(line);
    this.change("line", line);
    try {
      await this.client.publish(this.channel, { id: line.id, text }, { idempotencyKey: line.id });
    } catch (error) {
      this.lines = this.lines.filter((one) => one !== line);
      this.change("log");
      this.note(`“${text}” was not sent: ${error.message}`);
    }
  }

  hear(message) {
    const line = said(message);
    // Who has read the history again meets what was on its way.
    if (this.lines.some(({ id, waits }) => id === line.id && !waits)) return;
    const mine = this.lines.findIndex(({ id, waits }) => waits && id === line.id);
    if (mine >= 0) this.lines.splice(mine, 1);
    this.lines.push(line);
    this.unread += 1;
    this.change(mine >= 0 ? "log" : "line", line);
    this.change("unread");
  }

  are(users) {
    this.people = new Map(users.map((user) => [user.user, user]));
    this.change("people");
  }

  comes(member) {
    this.people.set(member.user, member);
    this.change("people");
    this.note(`${member.user} came in`);
  }

  goes({ user }) {
    this.people.delete(user);
    this.change("people");
    this.note(`${user} left`);
  }

  note(text) {
    const line = { kind: "note", text, time: Date.now() };
    this.lines.push(line);
    this.change("line", line);
  }
}

/** Another program may have published something else: then it is shown as the text that it is. */
function said({ data, publisher = "the house", timestamp, position, offset }) {
  const text = typeof data?.text === "string" ? data.text : JSON.stringify(data);
  return { kind: "said", id: data?.id ?? `${position?.epoch}:${offset}`, who: publisher, text, time: timestamp, position };
}
