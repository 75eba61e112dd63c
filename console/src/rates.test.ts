import assert from "node:assert/strict";
import { test } from "node:test";
import type { Stats } from "./api";
import { NOTHING, SAMPLES_MAX, record } from "./rates";

function stats(now: number, messages: number, uptime = now): Stats {
  const zero = { connections: 0, sessions: 0, channels: 0, subscriptions: 0, errors: 0, dialects: {}, shards: [], ready: true };
  return { ...zero, now, uptime_ms: uptime, messages_in: messages, messages_out: 3 * messages, bytes_in: 10 * messages, bytes_out: 0 };
}

test("rates are per second, whatever passed between two samples", () => {
  let recorded = record(NOTHING, stats(1_000, 10));
  assert.equal(recorded.rates, null);
  recorded = record(recorded, stats(1_500, 20));
  assert.deepEqual(recorded.rates, { messagesIn: 20, messagesOut: 60, bytesIn: 200, bytesOut: 0 });
  assert.deepEqual(recorded.series, { times: [1, 1.5], messagesIn: [null, 20], messagesOut: [null, 60] });
  assert.equal(record(recorded, stats(1_500, 20)), recorded, "the same sample again says nothing new");
});

test("a restart breaks the line instead of plunging it", () => {
  const before = record(record(NOTHING, stats(1_000, 10)), stats(2_000, 20));
  const after = record(before, stats(3_000, 1, 500));
  assert.equal(after.rates, null);
  assert.deepEqual(after.series.messagesIn, [null, 10, null]);
});

test("nothing is drawn over a long silence", () => {
  const before = record(record(NOTHING, stats(1_000, 10)), stats(2_000, 20));
  assert.deepEqual(record(before, stats(62_000, 20_000)).series.messagesIn, [null, 10, null]);
});

test("a clock that was set back begins a new line, for a chart's times must grow", () => {
  const before = record(record(NOTHING, stats(9_000, 10)), stats(10_000, 20));
  assert.deepEqual(record(before, stats(1_000, 30, 20_000)).series.times, [1]);
});

test("the past is bounded", () => {
  let recorded = NOTHING;
  for (let second = 1; second <= 200; second += 1) recorded = record(recorded, stats(second * 1_000, second));
  assert.equal(recorded.series.times.length, SAMPLES_MAX);
  assert.equal(recorded.series.times.at(-1), 200);
});
