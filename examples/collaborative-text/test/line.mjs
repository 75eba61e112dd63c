// A line to the server that can be cut: what a train's tunnel does. Knows nothing of what goes over it.

import { connect, createServer } from "node:net";

export class Line {
  sockets = new Set();
  isDown = false;

  /** To this WebSocket address; `url` is where clients go instead. */
  static async to(address) {
    const line = new Line();
    const { hostname, port, pathname } = new URL(address);
    line.server = createServer((near) => {
      if (line.isDown) return void near.destroy();
      const far = connect(Number(port), hostname);
      for (const [one, other] of [[near, far], [far, near]]) {
        line.sockets.add(one);
        one.on("error", () => {}).on("close", () => {
          line.sockets.delete(one);
          other.destroy();
        });
        one.pipe(other);
      }
    });
    await new Promise((listening) => line.server.listen(0, "127.0.0.1", listening));
    line.url = `ws://127.0.0.1:${line.server.address().port}${pathname}`;
    return line;
  }

  /** In the middle of whatever is on it. */
  cut() {
    for (const socket of this.sockets) socket.destroy();
  }

  /** Until it is up again. */
  down() {
    this.isDown = true;
    this.cut();
  }

  up() {
    this.isDown = false;
  }

  close() {
    this.cut();
    this.server.close();
  }
}
