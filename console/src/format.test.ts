import assert from "node:assert/strict";
import { test } from "node:test";
import { bytes, count, duration, hexDump, prettyJson, rate } from "./format";
import { readPlace, writePlace } from "./place";

test("numbers and sizes", () => {
  assert.deepEqual([0, 999, 1000, 12_345, 999_949, 1_234_567, 5e9].map(bytes), ["0 B", "999 B", "1.00 kB", "12.3 kB", "999.9 kB", "1.23 MB", "5.00 GB"]);
  assert.deepEqual([0, 12_345, 1_234_567].map(count), ["0", "12,345", "1.23 M"]);
  assert.deepEqual([0, 0.4, 9.96, 10.4, 1234].map(rate), ["0", "0.4", "10.0", "10", "1,234"]);
});

test("durations show their two largest units", () => {
  const shown = [0, 999, 5_000, 725_000, 3_600_000, 15_120_000, 273_600_000].map(duration);
  assert.deepEqual(shown, ["0 s", "0 s", "5 s", "12 min 5 s", "1 h", "4 h 12 min", "3 d 4 h"]);
});

test("bytes are shown as hex and ASCII", () => {
  const dump = hexDump(Uint8Array.from([0, 255, 65, 66, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 126, 127]));
  assert.deepEqual(dump.split("\n"), [
    "0000  00 ff 41 42 01 02 03 04  05 06 07 08 09 0a 0b 0c  ··AB············",
    "0010  7e 7f                                             ~·",
  ]);
  assert.equal(hexDump(new Uint8Array(5000)).split("\n").at(-1), "… 904 B more");
});

test("JSON is laid out, other text is left alone, tokens are cut", () => {
  assert.equal(prettyJson('{"a":[1]}'), '{\n  "a": [\n    1\n  ]\n}');
  assert.equal(prettyJson("not {json"), "not {json");
  assert.equal(prettyJson('{"token":"0123456789abcdefgh"}'), '{\n  "token": "0123456789ab…"\n}');
});

test("channel and name live in the address", () => {
  assert.deepEqual(readPlace("#room=lobby&name=ann"), { channel: "lobby", name: "ann" });
  const strange = { channel: "a&b=c #+ü/☃", name: "<b>" };
  assert.deepEqual(readPlace(writePlace(strange)), strange);
  assert.deepEqual(readPlace("", () => 0), { channel: "chat", name: "amber-badger" });
});
