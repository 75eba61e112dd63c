// What the page remembers: channel and name in the address (`#room=lobby&name=ann`), and a channel's last lines and position for as long
// as the tab lives, so that a reload resumes. Knows nothing of the connection.

import type { Line } from "./room";
import type { Position } from "@switchboard/client";

export interface Place {
  channel: string;
  name: string;
}

const CHANNEL = "chat";
const WORDS = [
  ["amber", "brisk", "calm", "clever", "early", "gentle", "keen", "lucid", "mellow", "quiet", "rapid", "silver", "sunny", "witty"],
  ["badger", "crane", "dolphin", "falcon", "finch", "gecko", "heron", "lynx", "marten", "otter", "panda", "robin", "swift", "wren"],
];

export function readPlace(hash: string, random: () => number = Math.random): Place {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  return {
    channel: given.get("room")?.trim() || CHANNEL,
    name: given.get("name")?.trim() || remembered("switchboard:name") || WORDS.map((words) => words[Math.floor(random() * words.length)]).join("-"),
  };
}

export function writePlace({ channel, name }: Place): string {
  remember("switchboard:name", name);
  return `#${new URLSearchParams({ room: channel, name })}`;
}

export interface Kept {
  position: Position | null;
  lines: Line[];
}

const LINES_KEPT = 200;

export function readKept(url: string, channel: string): Kept {
  try {
    const kept = JSON.parse(remembered(`switchboard:lines:${url}:${channel}`) ?? "");
    if (Array.isArray(kept.lines)) return kept;
  } catch {
    // Nothing was kept, or by another version of this page.
  }
  return { position: null, lines: [] };
}

export function writeKept(url: string, channel: string, { position, lines }: Kept): void {
  remember(`switchboard:lines:${url}:${channel}`, JSON.stringify({ position, lines: lines.slice(-LINES_KEPT) }));
}

// A browser may forbid storage, or it may be full. The page works without: it only forgets.

function remembered(name: string): string | null {
  try {
    return sessionStorage.getItem(name);
  } catch {
    return null;
  }
}

function remember(name: string, value: string): void {
  try {
    sessionStorage.setItem(name, value);
  } catch {
    // See above.
  }
}
