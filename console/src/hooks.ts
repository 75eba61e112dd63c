// What the page follows over time: the server's description and counters, the one connection, and the theme.

import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { fetchInfo, fetchStats, type Info } from "./api";
import { reasonOf } from "./format";
import { NOTHING, record, type Recorded } from "./rates";
import { Room, type Identity } from "./room";

const STATS_MS = 1_000;
/** How soon what arrived is drawn: many frames make one drawing. A timer, for animation frames stand still in a hidden window. */
const DRAW_MS = 33;

/** The counters, once a second, and why they are not to be had, if so. */
export function useStats(): { recorded: Recorded; failure: string | null } {
  const [recorded, setRecorded] = useState(NOTHING);
  const [failure, setFailure] = useState<string | null>(null);
  useEffect(() => {
    let live = true;
    let timer: ReturnType<typeof setTimeout>;
    const ask = async () => {
      const begun = Date.now();
      try {
        const stats = await fetchStats();
        if (!live) return;
        setRecorded((before) => record(before, stats));
        setFailure(null);
      } catch (error) {
        if (!live) return;
        setFailure(reasonOf(error));
      }
      timer = setTimeout(ask, Math.max(100, STATS_MS - (Date.now() - begun)));
    };
    void ask();
    return () => {
      live = false;
      clearTimeout(timer);
    };
  }, []);
  return { recorded, failure };
}

/** What is running; asked again when `epoch` changes, as after a restart. */
export function useInfo(epoch: number | null): Info | null {
  const [info, setInfo] = useState<Info | null>(null);
  useEffect(() => {
    let live = true;
    let timer: ReturnType<typeof setTimeout>;
    const ask = async () => {
      try {
        const answer = await fetchInfo();
        if (live) setInfo(answer);
      } catch {
        // The counters tell why, once a second.
        if (live) timer = setTimeout(ask, STATS_MS);
      }
    };
    void ask();
    return () => {
      live = false;
      clearTimeout(timer);
    };
  }, [epoch]);
  return info;
}

/** The room of an identity; a new one when the identity changes. `null` while there is nobody to be. */
export function useRoom(identity: Identity | null): Room | null {
  const [, draw] = useState(0);
  const [room, setRoom] = useState<Room | null>(null);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const changed = useCallback(() => {
    timer.current ??= setTimeout(() => {
      timer.current = undefined;
      draw((count) => count + 1);
    }, DRAW_MS);
  }, []);
  const key = identity && JSON.stringify(identity);
  useEffect(() => {
    if (!identity) return setRoom(null);
    const opened = new Room(identity, changed);
    setRoom(opened);
    const hidden = () => opened.save();
    addEventListener("pagehide", hidden);
    return () => {
      removeEventListener("pagehide", hidden);
      opened.close();
    };
  }, [key]);
  return room;
}

export type Theme = "light" | "dark";

/** The theme in force, and a way to turn it. Without a choice the system's preference is followed. */
export function useTheme(): [Theme, () => void] {
  const [theme, setTheme] = useState<Theme>(themeInForce);
  useEffect(() => {
    const preference = matchMedia("(prefers-color-scheme: dark)");
    const follow = () => setTheme(themeInForce());
    preference.addEventListener("change", follow);
    return () => preference.removeEventListener("change", follow);
  }, []);
  const turn = () => {
    const next = theme === "dark" ? "light" : "dark";
    document.documentElement.dataset["theme"] = next;
    try {
      localStorage.setItem("switchboard:theme", next);
    } catch {
      // Storage is forbidden: the choice lasts as long as the page.
    }
    setTheme(next);
  };
  return [theme, turn];
}

function themeInForce(): Theme {
  const chosen = document.documentElement.dataset["theme"];
  if (chosen === "light" || chosen === "dark") return chosen;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

/** Seconds until a moment, counting down; 0 when it has come. */
export function useCountdown(at: number | null): number {
  const left = () => (at === null ? 0 : Math.max(0, Math.ceil((at - Date.now()) / 1000)));
  const [, tick] = useState(0);
  useEffect(() => {
    if (at === null) return;
    const timer = setInterval(() => tick((count) => count + 1), 250);
    return () => clearInterval(timer);
  }, [at]);
  return left();
}

/** A reference to a list that stays at its end while the reader is there, and stays put when not. */
export function useStickyEnd(last: unknown) {
  const list = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  // Before anything else can happen: a scroll event between drawing and this would find the list not at its end, as if the reader had left it.
  useLayoutEffect(() => {
    const element = list.current;
    if (element && atEnd.current) element.scrollTop = element.scrollHeight;
  }, [last]);
  const onScroll = () => {
    const element = list.current;
    if (element) atEnd.current = element.scrollHeight - element.scrollTop - element.clientHeight < 24;
  };
  return { ref: list, onScroll };
}
