// The house as the page knows it: rooms, their readings, alarms, and which of those somebody has seen. Owns what is asked of the server. Knows nothing
// of how it looks: it calls `onChange`.

const READINGS_MAX = 90;
const PATTERN = "sensors/+/temperature";

export class House {
  /** By id: the room, and its readings `{ at, value }`. */
  rooms = new Map();
  alarms = [];
  seen = new Set();

  constructor(client, onChange) {
    Object.assign(this, { client, change: onChange });
  }

  enter() {
    // Each of these channels keeps its last value for those who come: there is nothing to wait for.
    this.client.subscribe("house:rooms").on("message", ({ data }) => this.are(data));
    this.client.subscribe("house:alarms").on("message", ({ data }) => {
      this.alarms = data;
      this.change();
    });
    // One subscription for all sensors, those that are added tomorrow too.
    const readings = this.client.subscribePattern(PATTERN);
    readings.on("message", (message) => this.read(message.channel.split("/")[1], message));
    // A pattern resumes nothing; each channel's history does.
    readings.on("lost", () => this.rooms.forEach((room) => this.load(room)));
    void this.followSeen();
  }

  are(rooms) {
    for (const room of rooms) {
      const known = this.rooms.get(room.id);
      const next = { ...room, readings: known?.readings ?? [] };
      this.rooms.set(room.id, next);
      if (!known) void this.load(next);
    }
    this.change();
  }

  /** The last readings, the latest among them: a page that opens shows at once what is. */
  async load({ id }) {
    const { messages } = await this.client.history(`sensors/${id}/temperature`, { limit: READINGS_MAX }).catch(() => ({ messages: [] }));
    for (const message of messages) this.read(id, message);
  }

  read(id, { data: value, timestamp: at, offset }) {
    const room = this.rooms.get(id);
    if (!room || typeof value !== "number") return;
    const { readings } = room;
    // What the history and the pattern both tell comes once, in its place.
    if (readings.some((one) => one.at === at && one.offset === offset)) return;
    readings.push({ at, offset, value });
    readings.sort((one, other) => one.at - other.at || one.offset - other.offset);
    if (readings.length > READINGS_MAX) readings.shift();
    this.change();
  }

  async followSeen() {
    const { messages, position } = await this.client.history("seen:house", { limit: 100 });
    const add = ({ data }) => {
      this.seen.add(data);
      this.change();
    };
    messages.forEach(add);
    this.client.subscribe("seen:house", { since: position }).on("message", add);
  }

  /** Somebody has seen an alarm: everybody is told. */
  acknowledge(id) {
    return this.client.publish("seen:house", id, { idempotencyKey: id });
  }
}
