// The page: what is running, the chat, the frames, the snippets, and who the reader is in all of them.

import { useEffect, useMemo, useState } from "preact/hooks";
import type { App as Application, Info } from "./api";
import { Chat } from "./chat";
import { Header } from "./header";
import { useInfo, useRoom, useStats, useTheme } from "./hooks";
import { Inspector } from "./inspector";
import { Overview } from "./overview";
import { readPlace, writePlace, type Place } from "./place";
import type { Identity } from "./room";
import { SnippetsPanel } from "./snippets_panel";

export interface Seat extends Place {
  app: string;
  /** A token that the reader brought, instead of one made for the name. */
  token: string;
}

export function App() {
  const { recorded, failure } = useStats();
  const started = recorded.latest ? Math.round((recorded.latest.now - recorded.latest.uptime_ms) / 2_000) : null;
  const info = useInfo(useSettled(started));
  const [theme, turnTheme] = useTheme();
  const [seat, setSeat] = useState<Seat>(() => ({ ...readPlace(location.hash), app: "", token: "" }));
  useEffect(() => {
    const follow = () => setSeat((before) => ({ ...before, ...readPlace(location.hash) }));
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  useEffect(() => {
    history.replaceState(null, "", writePlace(seat));
    document.title = `${seat.channel} · Switchboard`;
  }, [seat.channel, seat.name]);
  const app = info?.apps.find(({ id }) => id === seat.app) ?? info?.apps.find((one) => one.default) ?? info?.apps[0] ?? null;
  const identity = useMemo(() => (info && app ? identify(info, app, seat) : null), [info, app, seat]);
  const room = useRoom(identity);
  return (
    <>
      <Header info={info} room={room} theme={theme} turnTheme={turnTheme} />
      <main>
        <Overview info={info} recorded={recorded} failure={failure} theme={theme} />
        <div class="pair">
          <Chat info={info} app={app} seat={seat} join={setSeat} room={room} />
          <Inspector room={room} channel={seat.channel} />
        </div>
        {info && app && <SnippetsPanel info={info} app={app} seat={seat} />}
      </main>
    </>
  );
}

/** Who the reader is to the server. `null` as long as the application wants a token and there is none. */
function identify(info: Info, app: Application, seat: Seat): Identity | null {
  const token = seat.token.trim() || null;
  const made = token === null && info.development;
  if (token === null && !made && !app.anonymous) return null;
  return { url: addressOf(info, app), channel: seat.channel, user: made ? seat.name : null, app: app.id, token };
}

export function addressOf(info: Info, app: Application): string {
  return app.default ? info.addresses.ws : `${info.addresses.ws}/${encodeURIComponent(app.key)}`;
}

/** The server's start as computed from two clocks wavers; only a true restart counts. */
function useSettled(started: number | null): number | null {
  const [settled, settle] = useState(started);
  useEffect(() => {
    if (started !== null && (settled === null || Math.abs(started - settled) > 1)) settle(started);
  }, [started]);
  return settled;
}
