// What a user has been told, folded from the history of the user's channel: `notification` adds one, `read` marks some. Every tab folds the same, so every tab
// shows the same. Knows nothing of how it looks.

export class Inbox {
  items = new Map();

  /** Answers the notification, if it is one and new. */
  take({ event, data, timestamp }) {
    if (event === "read") {
      for (const id of data.ids) if (this.items.has(id)) this.items.get(id).read = true;
      return null;
    }
    if (event !== "notification" || this.items.has(data.id)) return null;
    const item = { ...data, time: timestamp, read: false };
    this.items.set(data.id, item);
    return item;
  }

  clear() {
    this.items.clear();
  }

  /** Newest first. */
  get all() {
    return [...this.items.values()].reverse();
  }

  get unread() {
    return this.all.filter(({ read }) => !read);
  }
}
