// Every frame of the page's connection, as it was on the wire, and a box to send one by hand.

import { useEffect, useState } from "preact/hooks";
import { bytes, clockExact, hexDump, plural, prettyJson, reasonOf } from "./format";
import { useStickyEnd } from "./hooks";
import type { Frame, Room } from "./room";

const SHOWN_MAX = 300;

export function Inspector({ room, channel }: { room: Room | null; channel: string }) {
  const [paused, pause] = useState<Frame[] | null>(null);
  const [filter, setFilter] = useState("");
  const [direction, setDirection] = useState<"" | "in" | "out">("");
  const [opened, open] = useState<ReadonlySet<number>>(new Set());
  const frames = room?.frames ?? [];
  const held = paused ?? frames;
  const found = held.filter((frame) => (direction === "" || frame.direction === direction) && matches(frame, filter));
  const waiting = paused ? frames.filter(({ id }) => id > (paused.at(-1)?.id ?? 0)).length : 0;
  const list = useStickyEnd(found.at(-1)?.id);
  useEffect(() => pause(null), [room]);
  const toggle = (id: number) => {
    const next = new Set(opened);
    if (!next.delete(id)) next.add(id);
    open(next);
  };
  const clear = () => {
    room?.clearFrames();
    pause(paused && []);
    open(new Set());
  };
  return (
    <section class="card inspector" aria-labelledby="inspector-title">
      <div class="title">
        <h2 id="inspector-title">Frames</h2>
        <span class="muted number">{found.length === held.length ? plural(held.length, "frame") : `${found.length} of ${plural(held.length, "frame")}`}</span>
        <span class="stretch" />
        <button type="button" class="small" aria-pressed={paused !== null} onClick={() => pause(paused ? null : frames)}>
          {paused ? (waiting ? `Resume (${waiting} new)` : "Resume") : "Pause"}
        </button>
        <button type="button" class="small" onClick={clear}>
          Clear
        </button>
      </div>
      <div class="filters">
        <input type="search" aria-label="Filter frames by their text" placeholder="Filter" value={filter} onInput={(event) => setFilter(event.currentTarget.value)} spellcheck={false} />
        <select aria-label="Direction" value={direction} onChange={(event) => setDirection(event.currentTarget.value as "" | "in" | "out")}>
          <option value="">in and out</option>
          <option value="in">in</option>
          <option value="out">out</option>
        </select>
      </div>
      <div class="frames" role="group" aria-label="Frames, oldest first; the arrow keys go from one to the next" tabIndex={0} onKeyDown={walk} {...list}>
        {found.slice(-SHOWN_MAX).map((frame) => (
          <Row key={frame.id} frame={frame} open={opened.has(frame.id)} toggle={toggle} />
        ))}
        {found.length === 0 && <p class="empty">{held.length === 0 ? "Nothing has passed yet." : "No frame matches."}</p>}
      </div>
      <Sender room={room} channel={channel} />
    </section>
  );
}

function Row({ frame, open, toggle }: { frame: Frame; open: boolean; toggle: (id: number) => void }) {
  const { type, rest } = summaryOf(frame);
  return (
    <div class="frame" data-direction={frame.direction}>
      <button type="button" tabIndex={-1} aria-expanded={open} onClick={() => toggle(frame.id)}>
        <time class="number">{clockExact(frame.at)}</time>
        <span class="arrow" role="img" aria-label={frame.direction === "in" ? "received" : "sent"}>
          {frame.direction === "in" ? "↓" : "↑"}
        </span>
        <span class="summary">
          <b>{type}</b> {rest}
        </span>
        <span class="size number">{bytes(frame.size)}</span>
      </button>
      {open && <pre tabIndex={0}>{typeof frame.data === "string" ? prettyJson(frame.data) : hexDump(frame.data)}</pre>}
    </div>
  );
}

/** The list is one stop for the tabulator, however many frames it has; the arrow keys go through it, from its newest end. */
function walk(event: KeyboardEvent & { currentTarget: HTMLElement }) {
  const rows = [...event.currentTarget.querySelectorAll<HTMLElement>(".frame > button")];
  const at = rows.indexOf(document.activeElement as HTMLElement);
  const before = at < 0 ? rows.length - 1 : at - 1;
  const next = { ArrowUp: before, ArrowDown: at < 0 ? rows.length - 1 : at + 1, Home: 0, End: rows.length - 1 }[event.key];
  const row = next === undefined ? undefined : rows[next];
  if (!row) return;
  event.preventDefault();
  row.focus();
}

interface Summary {
  /** The message's type, or that it is binary; empty for text of no known form. */
  type: string;
  rest: string;
}

const SUMMARY_MAX = 200;
const HEX_BYTES_MAX = 24;
/** A frame never changes, and is drawn many times. */
const summaries = new WeakMap<Frame, Summary>();

function summaryOf(frame: Frame): Summary {
  const known = summaries.get(frame);
  if (known) return known;
  const made = summarize(frame);
  summaries.set(frame, made);
  return made;
}

function summarize({ data }: Frame): Summary {
  if (typeof data !== "string") {
    const shown = [...data.subarray(0, HEX_BYTES_MAX)].map((byte) => byte.toString(16).padStart(2, "0"));
    return { type: "binary", rest: shown.join(" ") };
  }
  try {
    const { type, ...members } = JSON.parse(data);
    if (typeof type === "string") {
      const written = Object.entries(members).map(([name, value]) => `${name}: ${JSON.stringify(name === "token" ? "…" : value)}`);
      return { type, rest: written.join(", ").slice(0, SUMMARY_MAX) };
    }
  } catch {
    // Not JSON: shown as it is.
  }
  return { type: "", rest: data.slice(0, SUMMARY_MAX) };
}

function matches({ data }: Frame, filter: string): boolean {
  if (filter === "") return true;
  const text = typeof data === "string" ? data : `binary\n${new TextDecoder().decode(data)}\n${hexDump(data)}`;
  return text.toLowerCase().includes(filter.toLowerCase());
}

function examples(channel: string): [string, object][] {
  return [
    ["ping", { type: "ping", id: 1 }],
    ["publish", { type: "publish", id: 2, channel, data: { text: "hello" } }],
    ["presence", { type: "presence", id: 3, channel }],
    ["history", { type: "history", id: 4, channel, limit: 10 }],
    ["subscribe", { type: "subscribe", id: 5, channel: "another" }],
    ["batch", { type: "batch", messages: [{ type: "ping", id: 6 }, { type: "presence", id: 7, channel }] }],
  ];
}

function Sender({ room, channel }: { room: Room | null; channel: string }) {
  const [text, setText] = useState('{"type":"ping","id":1}');
  const [failure, setFailure] = useState<string | null>(null);
  const flaw = flawOf(text);
  const send = () => {
    setFailure(null);
    try {
      room?.sendRaw(text);
    } catch (error) {
      setFailure(`Not sent: ${reasonOf(error)}.`);
    }
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    send();
  };
  return (
    <form
      class="sender"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <div class="examples" role="group" aria-label="Examples of a frame">
        {examples(channel).map(([name, message]) => (
          <button key={name} type="button" class="chip" onClick={() => setText(JSON.stringify(message))}>
            {name}
          </button>
        ))}
      </div>
      <textarea aria-label="Frame to send, as it is" aria-describedby="sender-hint" rows={2} value={text} onInput={(event) => setText(event.currentTarget.value)} onKeyDown={onKeyDown} spellcheck={false} />
      <div class="below">
        <span id="sender-hint" class="hint" data-bad={flaw !== null || failure !== null} role="status">
          {failure ?? flaw ?? "Ctrl + Enter sends"}
        </span>
        <button type="submit" disabled={room?.state.kind !== "open" || text === ""}>
          Send frame
        </button>
      </div>
    </form>
  );
}

/** What the server will find wrong with it. It may be sent all the same: this is where one tries such things. */
function flawOf(text: string): string | null {
  try {
    const value = JSON.parse(text);
    const object = typeof value === "object" && value !== null && !Array.isArray(value);
    return object ? null : "Not a JSON object; the server will say so.";
  } catch {
    return text === "" ? null : "Not JSON; the server will say so.";
  }
}
