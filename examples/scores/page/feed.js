// Listens to one channel, by a WebSocket or an EventSource, and goes on behind the last thing it heard, whichever of the two it heard it by. Nothing here needs
// a library. Knows nothing of scores.

const WAIT_MS_MAX = 5_000;
const FAILURES_MAX = 2;

export class Feed {
  way = null;
  heard = 0;

  /** `position` is where to begin. Tells `onMessage({ event, data })`, `onState(kind, words)`, and `onLost()` when what was missed is gone. */
  constructor({ where, channel, position, onMessage, onState, onLost }) {
    Object.assign(this, { where, channel, position, onMessage, onState, onLost });
  }

  /** `automatic` begins with a WebSocket, and takes an EventSource once two of them in a row did not open. */
  use(choice) {
    this.choice = choice;
    this.failures = 0;
    this.open(choice === "eventsource" || !globalThis.WebSocket ? "eventsource" : "websocket");
  }

  open(way) {
    this.close();
    this.way = way;
    this.onState("waiting", "connecting…");
    if (way === "websocket") this.openSocket();
    else this.openEvents();
  }

  close() {
    clearTimeout(this.timer);
    // What it still says is no longer listened to.
    if (this.socket) this.socket.onmessage = this.socket.onclose = null;
    this.socket?.close();
    this.events?.close();
    this.socket = this.events = null;
  }

  openSocket() {
    const socket = (this.socket = new WebSocket(this.where.ws, ["switchboard.v1.json"]));
    const { channel } = this;
    let welcome = false;
    socket.onmessage = ({ data }) => {
      const said = JSON.parse(data);
      switch (said.type) {
        case "welcome":
          welcome = true;
          return socket.send(JSON.stringify({ type: "subscribe", id: 1, channel, since: this.position }));
        case "ok":
          this.failures = 0;
          this.onState("online", "connected by WebSocket");
          return this.stands(said);
        case "message":
          return this.hears({ ...this.position, offset: said.offset }, said.event, said.data);
      }
    };
    socket.onclose = () => {
      this.failures += 1;
      this.onState("waiting", "reconnecting…");
      const leave = this.choice === "automatic" && !welcome && this.failures >= FAILURES_MAX;
      this.later(leave ? "eventsource" : "websocket");
    };
  }

  openEvents() {
    const { epoch, offset } = this.position;
    const address = `${this.where.http}/sse?${new URLSearchParams({ channel: this.channel, format: "message", since: `${epoch}:${offset}` })}`;
    const events = (this.events = new EventSource(address));
    events.onopen = () => {
      this.failures = 0;
      this.onState("online", "connected by EventSource");
    };
    events.addEventListener("switchboard:subscribed", ({ data }) => this.stands(JSON.parse(data)));
    events.onmessage = ({ data, lastEventId }) => {
      const said = JSON.parse(data);
      this.hears(position(lastEventId), said.event, said.data);
    };
    // The browser comes back by itself, and says behind which event (Last-Event-ID). It gives up when it was answered, but with a refusal.
    events.onerror = () => {
      this.failures += 1;
      this.onState("waiting", "reconnecting…");
      if (events.readyState === EventSource.CLOSED) this.later("eventsource");
    };
  }

  stands({ position, recovered }) {
    if (recovered !== false) return;
    this.position = position;
    this.onLost();
  }

  hears(position, event, data) {
    this.position = position;
    this.heard += 1;
    this.onMessage({ event, data });
  }

  later(way) {
    const wait = Math.random() * Math.min(WAIT_MS_MAX, 250 * 2 ** this.failures);
    this.timer = setTimeout(() => this.open(way), wait);
  }
}

function position(id) {
  const [epoch, offset] = id.split(":");
  return { epoch, offset: Number(offset) };
}
