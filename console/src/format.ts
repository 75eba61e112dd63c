// How numbers, times, sizes and bytes are written on the page. Pure.

export function bytes(count: number): string {
  if (count < 1_000) return `${Math.round(count)} B`;
  const [value, unit] = count < 999_950 ? [count / 1e3, "kB"] : count < 999_950_000 ? [count / 1e6, "MB"] : [count / 1e9, "GB"];
  return `${value.toFixed(value < 10 ? 2 : 1)} ${unit}`;
}

/** A count that keeps its width: 12,345 · 1.23 M. */
export function count(value: number): string {
  if (value < 1e6) return Math.round(value).toLocaleString("en");
  return value < 1e9 ? `${(value / 1e6).toFixed(2)} M` : `${(value / 1e9).toFixed(2)} G`;
}

export function rate(value: number): string {
  return value > 0 && value < 10 ? value.toFixed(1) : count(value);
}

/** The two largest units: 3 d 4 h · 4 h 12 min · 12 min 5 s · 5 s. */
export function duration(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const units: [number, string][] = [
    [Math.floor(seconds / 86_400), "d"],
    [Math.floor(seconds / 3_600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"],
    [seconds % 60, "s"],
  ];
  const first = units.findIndex(([value]) => value > 0);
  if (first < 0) return "0 s";
  return units
    .slice(first, first + 2)
    .filter(([value], index) => index === 0 || value > 0)
    .map(([value, unit]) => `${value} ${unit}`)
    .join(" ");
}

const two = (value: number) => String(value).padStart(2, "0");

export function clock(at: number): string {
  const date = new Date(at);
  return `${two(date.getHours())}:${two(date.getMinutes())}`;
}

export function clockExact(at: number): string {
  const date = new Date(at);
  return `${clock(at)}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

/** What an error says. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}

const HEX_BYTES_MAX = 4096;

/** Offset, sixteen bytes, and what of them is ASCII, a line for each sixteen; the first 4 KiB. */
export function hexDump(data: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < Math.min(data.length, HEX_BYTES_MAX); at += 16) {
    const row = [...data.subarray(at, at + 16)];
    const cells = row.map((byte) => byte.toString(16).padStart(2, "0"));
    const hex = `${cells.slice(0, 8).join(" ")}  ${cells.slice(8).join(" ")}`.padEnd(49);
    const text = row.map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "·")).join("");
    lines.push(`${at.toString(16).padStart(4, "0")}  ${hex} ${text}`.trimEnd());
  }
  if (data.length > HEX_BYTES_MAX) lines.push(`… ${bytes(data.length - HEX_BYTES_MAX)} more`);
  return lines.join("\n");
}

const TOKEN_SHOWN = 12;

/** JSON with line breaks, if it is JSON; otherwise as it is. Tokens are cut: what is on a screen gets photographed. */
export function prettyJson(text: string): string {
  try {
    const shorten = (name: string, value: unknown) =>
      name === "token" && typeof value === "string" && value.length > TOKEN_SHOWN ? `${value.slice(0, TOKEN_SHOWN)}…` : value;
    return JSON.stringify(JSON.parse(text), shorten, 2);
  } catch {
    return text;
  }
}
