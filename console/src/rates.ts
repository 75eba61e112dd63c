// From counters that only grow to rates over time. Pure; asked once a second with what /api/console/stats answered.

import type { Stats } from "./api";

export interface Rates {
  messagesIn: number;
  messagesOut: number;
  bytesIn: number;
  bytesOut: number;
}

export interface Series {
  /** Seconds since 1970, as the chart wants them. */
  times: number[];
  messagesIn: (number | null)[];
  messagesOut: (number | null)[];
}

export interface Recorded {
  latest: Stats | null;
  rates: Rates | null;
  series: Series;
}

export const SAMPLES_MAX = 120;
/** Between samples that are further apart than this, nothing is known, and the line breaks. */
const GAP_MS_MIN = 5_000;

export const NOTHING: Recorded = { latest: null, rates: null, series: { times: [], messagesIn: [], messagesOut: [] } };

/** Adds a sample. After a restart of the server, whose counters begin anew, the line breaks. */
export function record(before: Recorded, stats: Stats): Recorded {
  const { latest } = before;
  const elapsed = latest ? stats.now - latest.now : 0;
  if (latest && elapsed === 0) return before;
  const continues = latest !== null && elapsed > 0 && elapsed < GAP_MS_MIN && stats.uptime_ms >= latest.uptime_ms;
  const rates = continues ? between(latest, stats, elapsed) : null;
  const { times, messagesIn, messagesOut } = elapsed < 0 ? NOTHING.series : before.series;
  return {
    latest: stats,
    rates,
    series: {
      times: [...times, stats.now / 1000].slice(-SAMPLES_MAX),
      messagesIn: [...messagesIn, rates?.messagesIn ?? null].slice(-SAMPLES_MAX),
      messagesOut: [...messagesOut, rates?.messagesOut ?? null].slice(-SAMPLES_MAX),
    },
  };
}

function between(before: Stats, after: Stats, milliseconds: number): Rates {
  const each = (total: (stats: Stats) => number) => (Math.max(0, total(after) - total(before)) * 1000) / milliseconds;
  return {
    messagesIn: each((stats) => stats.messages_in),
    messagesOut: each((stats) => stats.messages_out),
    bytesIn: each((stats) => stats.bytes_in),
    bytesOut: each((stats) => stats.bytes_out),
  };
}
