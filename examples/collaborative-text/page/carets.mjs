// Tells the others where this user is, and hears where they are. A caret is worth nothing a moment later: the channel keeps no history, and of each
// author only the latest to who reads slowly. Presence on it says who is there.

import { Cursors } from "./cursors.mjs";

const TELL_EVERY_MS = 80;

export class Carets {
  timer = null;
  own = { from: 0, to: 0 };
  told = "";

  constructor(client, document, editor, name, onChange) {
    Object.assign(this, { client, editor, name, onChange, channel: `cursor:${document}` });
    this.cursors = new Cursors(editor.participant);
    const subscription = client.subscribe(this.channel, { presence: true, rate: 20 });
    subscription.on("message", ({ data, publisher }) => this.change(() => this.cursors.tell(data, publisher)));
    // Who comes has heard nothing yet.
    subscription.on("join", () => this.tell(true));
    subscription.on("leave", ({ member }) => this.change(() => this.cursors.leave(member.user)));
    for (const event of ["recovered", "lost"]) subscription.on(event, ({ users }) => this.are(users));
    void subscription.ready.then(({ users }) => this.are(users)).catch(() => {});
  }

  get others() {
    return [...this.cursors.others.values()];
  }

  are(users) {
    this.change(() => this.cursors.keepOnly(new Set(users.map(({ user }) => user))));
    this.tell(true);
  }

  change(change) {
    change();
    this.onChange();
  }

  /** The user's caret, or selection, is there. */
  moved(from, to) {
    this.own = { from, to };
    this.tell();
  }

  /** Tells it soon, when places in the view are places in the agreed text. */
  tell(again = false) {
    if (again) this.told = "";
    if (this.timer !== null) return;
    this.timer = setTimeout(() => {
      this.timer = null;
      if (this.editor.state !== "settled" || this.client.state.kind !== "online") return;
      const { by, agreed } = this.editor.participant;
      const place = { ...this.own, offset: agreed.position.offset };
      if (JSON.stringify(place) === this.told) return;
      this.told = JSON.stringify(place);
      // Whether it arrives is not worth waiting for: the next one will.
      this.client.publish(this.channel, { by, name: this.name, ...place }, { key: by, excludeSelf: true }).catch(() => {});
    }, TELL_EVERY_MS);
  }
}
