// The chat on one channel: where and as whom, what was said, who is present, and a line to write.

import { useEffect, useState } from "preact/hooks";
import type { App, Info } from "./api";
import type { Seat } from "./app";
import { clock, plural, reasonOf } from "./format";
import { useStickyEnd } from "./hooks";
import { People, nameStyle } from "./people";
import type { Line, Room } from "./room";

interface Props {
  info: Info | null;
  app: App | null;
  seat: Seat;
  join: (seat: Seat) => void;
  room: Room | null;
}

export function Chat(props: Props) {
  const { seat, room } = props;
  return (
    <section class="card chat" aria-labelledby="chat-title">
      <div class="title">
        <h2 id="chat-title">Chat</h2>
        <span class="muted">whatever the protocol, everyone on the channel</span>
        <span class="stretch" />
        <a href={writePlaceOfAnother(seat.channel)} target="_blank" rel="noopener">
          Open a second window
        </a>
      </div>
      <Entrance {...props} />
      <div class="talk">
        <Log room={room} info={props.info} app={props.app} />
        <People members={room?.members ?? []} self={selfOf(room)} connected={room?.state.kind === "open"} />
      </div>
      <Composer room={room} />
    </section>
  );
}

/**
 * Where to, and as whom. Nothing changes until it is sent. The fields have keys, for one must not become another: what a name was
 * limited to, a token would be too.
 */
function Entrance({ info, app, seat, join }: Props) {
  const [draft, setDraft] = useState(seat);
  useEffect(() => setDraft(seat), [seat]);
  const named = info?.development === true;
  const [tokenShown, showToken] = useState(false);
  const wantsToken = info !== null && !named;
  const set = (change: Partial<Seat>) => setDraft({ ...draft, ...change });
  const submit = (event: Event) => {
    event.preventDefault();
    join({ ...draft, channel: draft.channel.trim() || seat.channel, name: draft.name.trim() || seat.name });
  };
  const same = draft.channel === seat.channel && draft.name === seat.name && draft.token === seat.token && draft.app === seat.app;
  return (
    <form class="entrance" onSubmit={submit}>
      <label key="channel">
        Channel
        <input name="channel" value={draft.channel} onInput={(event) => set({ channel: event.currentTarget.value })} maxLength={200} required spellcheck={false} autocomplete="off" autocapitalize="off" />
      </label>
      {named && !(tokenShown || draft.token) && (
        <label key="name">
          Name
          <input name="name" value={draft.name} onInput={(event) => set({ name: event.currentTarget.value })} maxLength={128} required spellcheck={false} autocomplete="off" autocapitalize="off" />
        </label>
      )}
      {(wantsToken || tokenShown || draft.token) && (
        <label key="token">
          Token
          <input name="token" type="password" value={draft.token} onInput={(event) => set({ token: event.currentTarget.value })} placeholder={app?.anonymous ? "none: a guest" : "paste a token"} spellcheck={false} autocomplete="off" />
        </label>
      )}
      {info && info.apps.length > 1 && (
        <label key="app">
          App
          <select name="app" value={draft.app || app?.id} onChange={(event) => set({ app: event.currentTarget.value })}>
            {info.apps.map(({ id }) => (
              <option key={id} value={id}>
                {id}
              </option>
            ))}
          </select>
        </label>
      )}
      <button type="submit" disabled={same}>
        {draft.channel === seat.channel ? "Change" : "Join"}
      </button>
      {named && (
        <button
          type="button"
          class="link"
          onClick={() => {
            showToken(!(tokenShown || draft.token));
            set({ token: "" });
          }}
        >
          {tokenShown || draft.token ? "Use a name" : "Use a token"}
        </button>
      )}
    </form>
  );
}

function Log({ room, info, app }: { room: Room | null; info: Info | null; app: App | null }) {
  const lines = room?.lines ?? [];
  const list = useStickyEnd(lines.at(-1)?.key);
  const self = selfOf(room);
  return (
    <div class="log" role="log" aria-label="Messages" aria-live="polite" tabIndex={0} {...list}>
      {lines.map((line, index) => (
        <Entry key={line.key} line={line} before={lines[index - 1]} self={self} />
      ))}
      {lines.length === 0 && <p class="empty">{emptyWords(room, info, app)}</p>}
    </div>
  );
}

function emptyWords(room: Room | null, info: Info | null, app: App | null): string {
  if (info && app && !room && !app.anonymous) return `The application ${app.id} wants a token. Paste one above.`;
  if (room?.refusal) return "Nothing comes from this channel. Choose another above.";
  if (room?.state.kind === "open") return "Nothing has been said here yet. Write something, or open a second window and talk to yourself.";
  return "As soon as the connection stands, messages appear here.";
}

const GROUP_MS = 120_000;

function Entry({ line, before, self }: { line: Line; before: Line | undefined; self: string | null }) {
  if (line.kind === "note") {
    return (
      <p class="note" data-tone={line.tone}>
        <span>{line.text}</span>
      </p>
    );
  }
  const goesOn = before?.kind === "message" && before.user === line.user && line.at - before.at < GROUP_MS;
  const mine = line.user !== null && line.user === self;
  return (
    <div class="said" data-mine={mine} data-follows={goesOn}>
      {!goesOn && (
        <p class="by">
          <b style={line.user === null ? undefined : nameStyle(line.user)}>{line.user ?? "unnamed"}</b>
          {mine && <span class="muted"> you</span>}
          <time class="number" dateTime={new Date(line.at).toISOString()}>
            {clock(line.at)}
          </time>
        </p>
      )}
      <p class={line.form === "text" ? "text" : "text code"}>{line.text}</p>
    </div>
  );
}

function Composer({ room }: { room: Room | null }) {
  const [text, setText] = useState("");
  const [failure, setFailure] = useState<string | null>(null);
  const open = room?.state.kind === "open" && room.refusal === null;
  const submit = async (event: Event) => {
    event.preventDefault();
    if (!room || !open || text === "") return;
    const said = text;
    setText("");
    setFailure(null);
    try {
      await room.say(said);
    } catch (error) {
      setFailure(`Not sent: ${reasonOf(error)}.`);
      // Nothing that was written is lost.
      setText((now) => now || said);
    }
  };
  const limit = room?.state.kind === "open" ? room.state.messageBytes : undefined;
  const tooLong = limit !== undefined && new TextEncoder().encode(JSON.stringify(text)).length > limit - 512;
  const trouble = room?.refusal ?? failure ?? (tooLong ? `Too long: a message may have ${plural(limit, "byte")}.` : null);
  return (
    <form class="composer" onSubmit={submit}>
      {trouble && (
        <p class="alert" role="alert">
          {trouble}
        </p>
      )}
      <input name="message" aria-label="Message" value={text} onInput={(event) => setText(event.currentTarget.value)} placeholder={open ? "Write a message" : room?.refusal ? "Not on this channel" : "Not connected"} autocomplete="off" />
      <button type="submit" class="primary" disabled={!open || text === "" || tooLong}>
        Send
      </button>
    </form>
  );
}

function selfOf(room: Room | null): string | null {
  return room?.state.kind === "open" ? room.state.user : (room?.identity.user ?? null);
}

/** The same channel as somebody else: the new window finds itself a name. */
function writePlaceOfAnother(channel: string): string {
  return `#${new URLSearchParams({ room: channel })}`;
}
