// What the client takes from the world: time, chance, timers, and the life of a page. A test gives its own. Decides nothing.

export interface Environment {
  /** Milliseconds since 1970. It may jump. */
  now(): number;
  /** From 0 to 1, without 1. */
  random(): number;
  after(milliseconds: number, run: () => void): unknown;
  cancel(timer: unknown): void;
  /** Tells of the page's life until the returned function is called. */
  watch(life: Life): () => void;
}

export interface Life {
  /** The network is back, the page is seen again, or it came back from sleep. */
  onWake(): void;
  /** The network is gone: the connection, if there still is one, should be looked at. */
  onOffline(): void;
  /** The browser puts the page away and may bring it back. */
  onSuspend(): void;
}

export const PLATFORM: Environment = {
  now: () => Date.now(),
  random: () => Math.random(),
  after: (milliseconds, run) => setTimeout(run, milliseconds),
  cancel: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout> | undefined),
  watch: (life) => watchPage(life, globalThis as unknown as PageLike),
};

interface PageLike {
  readonly document?: { readonly visibilityState: string } & EventTarget;
  addEventListener?(type: string, listener: (event: Event) => void): void;
  removeEventListener?(type: string, listener: (event: Event) => void): void;
}

/** What happens to a page; nothing happens where there is none. */
export function watchPage(life: Life, page: PageLike): () => void {
  const { document } = page;
  if (!page.addEventListener || !page.removeEventListener) return () => {};
  const ends: (() => void)[] = [];
  const listen = (target: Pick<EventTarget, "addEventListener" | "removeEventListener">, type: string, listener: (event: Event) => void) => {
    target.addEventListener(type, listener);
    ends.push(() => target.removeEventListener(type, listener));
  };
  const window = page as unknown as EventTarget;
  listen(window, "online", () => life.onWake());
  listen(window, "offline", () => life.onOffline());
  // A page with a connection is not kept for the back button; one without is.
  listen(window, "pagehide", (event) => (event as PageTransitionEvent).persisted && life.onSuspend());
  listen(window, "pageshow", (event) => (event as PageTransitionEvent).persisted && life.onWake());
  if (document) {
    listen(document, "visibilitychange", () => document.visibilityState === "visible" && life.onWake());
    listen(document, "resume", () => life.onWake());
  }
  return () => ends.forEach((end) => end());
}
