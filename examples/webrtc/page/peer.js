// One direct connection to one other page: perfect negotiation over whatever carries signals. One side begins; after that both run the same code,
// and either may offer again at any moment, when the network has changed, say. Where two offers cross, the polite side takes its own back. Knows nothing
// of channels and of what is said over it.

export class Peer {
  channel = null;
  making = false;
  ignoring = false;
  /** What has come, one after the other: a description is set before the candidates that belong to it. */
  queue = Promise.resolve();

  /**
   * `begins` is true on one side, and so is `polite`. `send(signal)` takes what the other page's `receive` is to be given; `onOpen`,
   * `onMessage(value)` and `onState` tell what becomes of it.
   */
  constructor({ begins, polite, send, onOpen, onMessage, onState }) {
    Object.assign(this, { polite, send, onOpen, onMessage, onState });
    // Without servers that tell an address from outside it reaches the local network only; an application names its own here.
    this.connection = new RTCPeerConnection({ iceServers: [] });
    this.connection.onicecandidate = ({ candidate }) => send({ candidate });
    this.connection.onnegotiationneeded = () => this.offer();
    this.connection.ondatachannel = ({ channel }) => this.adopt(channel);
    this.connection.onconnectionstatechange = () => {
      if (this.connection.connectionState === "failed") this.connection.restartIce();
      onState();
    };
    if (begins) this.adopt(this.connection.createDataChannel("pad"));
  }

  adopt(channel) {
    this.channel = channel;
    channel.onopen = () => this.onOpen();
    channel.onmessage = ({ data }) => this.onMessage(JSON.parse(data));
    // The other page has closed it: sooner than silence says so.
    channel.onclose = () => this.onState();
  }

  /** As a connection has it: `"connected"`, `"failed"`, … */
  get state() {
    return this.channel?.readyState === "closed" ? "closed" : this.connection.connectionState;
  }

  /** Says something to the other page, if there is a way. */
  say(value) {
    if (this.channel?.readyState === "open") this.channel.send(JSON.stringify(value));
  }

  async offer() {
    try {
      this.making = true;
      await this.connection.setLocalDescription();
      this.send({ description: this.connection.localDescription });
    } finally {
      this.making = false;
    }
  }

  /** What the other page has sent. */
  receive(signal) {
    this.queue = this.queue.then(() => this.take(signal)).catch((error) => console.warn("a signal was of no use:", error.message));
    return this.queue;
  }

  async take({ description, candidate }) {
    const { connection } = this;
    if (!description) {
      // Candidates of an offer that was ignored fit nothing here.
      await connection.addIceCandidate(candidate ?? undefined).catch((error) => {
        if (!this.ignoring) throw error;
      });
      return;
    }
    const collision = description.type === "offer" && (this.making || connection.signalingState !== "stable");
    this.ignoring = !this.polite && collision;
    if (this.ignoring) return;
    // If two offers cross, this takes the own one back.
    await connection.setRemoteDescription(description);
    if (description.type !== "offer") return;
    await connection.setLocalDescription();
    this.send({ description: connection.localDescription });
  }

  close() {
    this.connection.onconnectionstatechange = null;
    if (this.channel) this.channel.onclose = null;
    this.connection.close();
  }
}
