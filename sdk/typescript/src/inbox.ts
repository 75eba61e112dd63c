// Events on their way to a reader who takes them when it is ready. Owns their bounds; what follows from a full one is decided elsewhere.

export class Inbox<T> {
  private queue: { readonly item: T; readonly bytes: number }[] = [];
  private bytes = 0;
  private readonly waiting: ((result: IteratorResult<T, undefined>) => void)[] = [];
  private closed = false;
  /** It was full, and its source was stopped. */
  private stopped = false;

  constructor(
    private readonly eventsMax: number,
    private readonly bytesMax: number,
  ) {}

  get length(): number {
    return this.queue.length;
  }

  /** Queues an event in any case. True if this has filled the inbox: its source has to stop. */
  push(item: T, bytes: number): boolean {
    const reader = this.waiting.shift();
    if (reader) {
      reader({ done: false, value: item });
      return false;
    }
    this.queue.push({ item, bytes });
    this.bytes += bytes;
    const full = this.queue.length >= Math.max(1, this.eventsMax) || this.bytes >= Math.max(1, this.bytesMax);
    const filled = full && !this.stopped;
    this.stopped ||= full;
    return filled;
  }

  /** The next event if one waits. `goOn`: half is read, the source may go on. */
  take(): { readonly item: T; readonly goOn: boolean } | null {
    const first = this.queue.shift();
    if (!first) return null;
    this.bytes -= first.bytes;
    const goOn = this.stopped && this.queue.length <= this.eventsMax / 2 && this.bytes <= this.bytesMax / 2;
    if (goOn) this.stopped = false;
    return { item: first.item, goOn };
  }

  /** Waits for the next event, when `take` gave none. */
  wait(): Promise<IteratorResult<T, undefined>> {
    if (this.closed) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  /** Forgets what waits. */
  clear(): void {
    this.queue = [];
    this.bytes = 0;
  }

  /** Nothing more will come. */
  close(): void {
    this.closed = true;
    for (const reader of this.waiting.splice(0)) reader({ done: true, value: undefined });
  }
}
