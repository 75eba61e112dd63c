// One attempt in two parts: another way asks whether the server is there at all, and if it is, the best way is tried again. Knows nothing of when that is
// wise.

import type { Frame } from "../core/wire.js";
import type { Connection, Listener, Target, Transport } from "./transport.js";

export class Probing implements Transport {
  /** `onReached` is called when the server is there, before the best way is tried. */
  constructor(
    private readonly probe: Transport,
    private readonly best: Transport,
    private readonly onReached: () => void,
  ) {}

  get name(): string {
    return this.best.name;
  }

  open(target: Target, listener: Listener): Connection {
    const attempt = new Attempt();
    attempt.current = this.probe.open(target, {
      onOpen: () => {
        attempt.current?.abort();
        this.onReached();
        attempt.current = this.best.open(target, listener);
      },
      onFailed: (failure) => listener.onFailed(failure),
      onClosed: (_, reason) => listener.onFailed({ kind: "temporary", reason }),
      // A greeting on a connection that is given up already.
      onFrame: () => {},
    });
    return attempt;
  }
}

class Attempt implements Connection {
  current: Connection | null = null;

  get bufferedBytes(): number {
    return this.current?.bufferedBytes ?? 0;
  }

  send(frame: Frame): void {
    this.current?.send(frame);
  }

  close(code: number): void {
    this.current?.close(code);
  }

  abort(): void {
    this.current?.abort();
  }
}
