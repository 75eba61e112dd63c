// Listeners by the name of what they listen to. Knows nothing of what is told.

export class Emitter<Events extends object> {
  private readonly listeners = new Map<keyof Events, Set<(event: never) => void>>();

  /** Calls `listener` at each event of this name, until the returned function is called. */
  on<Name extends keyof Events>(name: Name, listener: (event: Events[Name]) => void): () => void {
    let set = this.listeners.get(name);
    if (!set) this.listeners.set(name, (set = new Set()));
    // Of its own, so that one function may listen twice.
    const own = (event: Events[Name]) => listener(event);
    set.add(own);
    return () => void set.delete(own);
  }

  emit<Name extends keyof Events>(name: Name, event: Events[Name]): void {
    for (const listener of [...(this.listeners.get(name) ?? [])] as ((event: Events[Name]) => void)[]) attempt(() => listener(event));
  }

  get isEmpty(): boolean {
    return [...this.listeners.values()].every((set) => set.size === 0);
  }
}

/** Runs the application's code. What it throws is the application's to see, and stops nothing of ours. */
export function attempt(run: () => void): void {
  try {
    run();
  } catch (error) {
    const { reportError } = globalThis as { reportError?: (error: unknown) => void };
    if (reportError) return reportError(error);
    setTimeout(() => {
      throw error;
    });
  }
}
