import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { pusherName, rawAddress, shell, snippets, type Values } from "./snippets";

const VALUES: Values = {
  ws: "ws://127.0.0.1:8080/ws",
  raw: "ws://127.0.0.1:8080/raw/",
  api: "http://127.0.0.1:8080/api/v1",
  channel: "room:lobby",
  token: "T.O-K_EN",
  apiKey: "KEY",
  appKey: null,
  key: "APP-KEY",
};
const HOSTILE = `it's "$(touch x)" \`y\` \\ </script> \u2028 ☃`;

const code = (values: Values, id: string) => snippets(values).find((snippet) => snippet.id === id)?.code ?? "";

test("the reader's values are filled in", () => {
  for (const { id } of snippets(VALUES)) {
    assert.ok(code(VALUES, id).includes(id === "pusher" ? "room=3Alobby" : "room:lobby"), id);
    assert.ok(/T\.O-K_EN|KEY/.test(code(VALUES, id)), id);
  }
});

test("without a token none is spoken of", () => {
  for (const { id } of snippets(VALUES)) assert.doesNotMatch(code({ ...VALUES, token: null }, id), /\btoken\b/i, id);
});

test("raw addresses keep what a path may hold", () => {
  assert.equal(rawAddress(VALUES), "ws://127.0.0.1:8080/raw/room:lobby");
  assert.equal(rawAddress({ ...VALUES, channel: "a/b?c#d e", appKey: "k" }), "ws://127.0.0.1:8080/raw/a/b%3Fc%23d%20e?app=k");
});

test("names are written as the server writes them for Pusher's clients", () => {
  for (const [channel, name] of [
    ["room-1", "room-1"],
    ["a=b", "a=b"],
    ["room:1", "room=3A1"],
    ["a/b c", "a=2Fb=20c"],
    ["ä=", "=C3=A4=3D"],
    ["=41", "=3D41"],
  ]) {
    assert.equal(pusherName(channel as string), name);
  }
});

test("a word of a shell is one word, whatever it holds", () => {
  for (const word of [HOSTILE, "", "plain", "a b", "-n", "*", "~", "#x", "a\nb"]) {
    assert.equal(execFileSync("sh", ["-c", `printf %s ${shell(word)}`], { encoding: "utf8" }), word);
  }
});

test("JavaScript, Python and the shell read back a hostile channel", () => {
  const values = { ...VALUES, channel: HOSTILE };
  const asked: unknown[] = [];
  class WebSocket {
    onopen?: () => void;
    constructor() {
      setImmediate(() => this.onopen?.());
    }
    send(text: string) {
      asked.push(JSON.parse(text).channel);
    }
  }
  new Function("WebSocket", "console", `${code(values, "javascript")}; socket.onopen();`)(WebSocket, console);
  assert.deepEqual(asked, [HOSTILE, HOSTILE]);
  const assignment = code(values, "python").split("\n").find((line) => line.startsWith("CHANNEL"));
  const python = execFileSync("python3", ["-c", `${assignment}\nimport json; print(json.dumps(CHANNEL))`], { encoding: "utf8" });
  assert.equal(JSON.parse(python), HOSTILE);
  const curl = code(values, "curl").replace("curl ", "curl() { for last; do :; done; printf %s \"$last\"; }\ncurl ");
  assert.equal(JSON.parse(execFileSync("sh", ["-c", curl], { encoding: "utf8" })).channel, HOSTILE);
});
