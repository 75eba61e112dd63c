// The head of the page: name and version, the state of the connection in words, the theme.

import type { Info } from "./api";
import { useCountdown, type Theme } from "./hooks";
import { Mark, Moon, Sun } from "./icons";
import type { Room, State } from "./room";

export function Header(props: { info: Info | null; room: Room | null; theme: Theme; turnTheme: () => void }) {
  const { info, room, theme, turnTheme } = props;
  return (
    <header class="head">
      <h1>
        <Mark /> Switchboard
      </h1>
      {info && <span class="version number">{info.version}</span>}
      {info?.development && (
        <span class="badge" title="Generated keys, loopback only. Configure an application before others may connect.">
          development
        </span>
      )}
      <span class="stretch" />
      <Connection state={room?.state ?? { kind: "idle" }} retry={() => room?.retry()} />
      <button type="button" class="quiet icon" onClick={turnTheme} aria-label={theme === "dark" ? "Use the light theme" : "Use the dark theme"}>
        {theme === "dark" ? <Sun /> : <Moon />}
      </button>
    </header>
  );
}

function Connection({ state, retry }: { state: State; retry: () => void }) {
  const seconds = useCountdown(state.kind === "waiting" ? state.retryAt : null);
  const waits = state.kind === "waiting";
  return (
    <div class="connection" data-state={state.kind}>
      <span class="dot" aria-hidden="true" />
      <span role="status" class="words" title={waits || state.kind === "stopped" ? state.why : undefined}>
        {words(state)}
      </span>
      {waits && seconds > 0 && (
        <span class="number muted" aria-hidden="true">
          {seconds} s
        </span>
      )}
      {(waits || state.kind === "stopped") && (
        <button type="button" class="small" onClick={retry}>
          {waits ? "Retry now" : "Connect"}
        </button>
      )}
    </div>
  );
}

function words(state: State): string {
  switch (state.kind) {
    case "idle":
      return "Not connected";
    case "connecting":
      return state.again ? "Reconnecting…" : "Connecting…";
    case "open":
      return state.user === null ? "Connected" : `Connected as ${state.user}`;
    case "waiting":
      return `Reconnecting: ${state.why}`;
    case "stopped":
      return `Disconnected: ${state.why}`;
  }
}
