// A call: who is there by presence, and a direct connection to each of them, negotiated by signals. Knows nothing of what is said.

import { Peer } from "./peer.js";

export class Call {
  /** By user: `{ name, peer }`. */
  others = new Map();

  /** `tell` has `onChange()`, `onOpen(user)` and `onMessage(user, value)`. */
  constructor(client, name, user, tell) {
    Object.assign(this, { client, user, tell, channel: `call:${name}` });
  }

  enter() {
    const subscription = this.client.subscribe(this.channel, { presence: true });
    // Who is there begins with who comes. Of two who come at once, one is told of the other by `join`, and one finds the other there.
    subscription.on("join", ({ member }) => this.comes(member, true));
    subscription.on("leave", ({ member }) => this.goes(member.user));
    subscription.on("signal", ({ from, data }) => this.others.get(from?.user)?.peer.receive(data));
    for (const event of ["recovered", "lost"]) subscription.on(event, ({ users }) => this.are(users));
    subscription.ready.then(({ users }) => this.are(users));
  }

  are(users) {
    const here = new Set(users.map(({ user }) => user));
    for (const user of this.others.keys()) if (!here.has(user)) this.goes(user);
    users.forEach((user) => this.comes(user, false));
  }

  comes({ user, info }, begins) {
    if (user === this.user) return;
    const known = this.others.get(user);
    // Who was only away for the server is still there directly.
    if (known?.peer.state === "connected") {
      known.present = true;
      return this.tell.onChange();
    }
    known?.peer.close();
    const peer = new Peer({
      begins,
      // One of the two has to be, and both know which.
      polite: this.user < user,
      send: (signal) => this.signal(user, signal),
      onOpen: () => this.tell.onOpen(user),
      onMessage: (value) => this.tell.onMessage(user, value),
      onState: () => this.settle(user),
    });
    this.others.set(user, { name: info?.name ?? user, peer, present: true });
    this.tell.onChange();
  }

  /** The server does not see it any longer; a connection that stands is the better witness. */
  goes(user) {
    const other = this.others.get(user);
    if (!other) return;
    other.present = false;
    this.settle(user);
  }

  settle(user) {
    const other = this.others.get(user);
    if (other && !other.present && other.peer.state !== "connected") {
      other.peer.close();
      this.others.delete(user);
    }
    this.tell.onChange();
  }

  /** What is not delivered is not said again: when they meet the next time, they begin anew. */
  signal(user, signal) {
    this.client.signal(this.channel, { user }, signal).catch((error) => console.warn("a signal was not sent:", error.message));
  }

  /** To all who are reached directly. */
  say(value) {
    for (const { peer } of this.others.values()) peer.say(value);
  }

  sayTo(user, value) {
    this.others.get(user)?.peer.say(value);
  }
}
