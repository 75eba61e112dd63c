// The package `eventsource`, Node's fetch and Node's http2 against the server's event streams and lines. Argument: the server, as in native.py.

import http2 from "node:http2";
import { EventSource } from "eventsource";
import { equal, main } from "../checks.mjs";

const server = JSON.parse(process.argv[2]);
const open = new Set();

function events(query, options = {}) {
  const source = new EventSource(`${server.http}/sse?${query}`, options);
  open.add(source);
  return source;
}

/** The next event of a type. */
const next = (source, type = "message") =>
  new Promise((resolve, reject) => {
    source.addEventListener(type, resolve, { once: true });
    source.addEventListener("error", ({ code, message }) => code && reject(new Error(`${code} ${message}`)), { once: true });
  });

async function request(kind, body, headers = {}) {
  const answer = await fetch(`${server.http}/client/v1/${kind}`, { method: "POST", body: JSON.stringify(body), headers });
  return { status: answer.status, ...(await answer.json()) };
}

const publish = (channel, data, more = {}, headers = {}) => request("publish", { channel, data, ...more }, headers);
const bearer = { Authorization: `Bearer ${server.tokens.ann}` };
/** How eventsource is given headers. */
const as = (headers) => ({ fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, ...headers } }) });

/** The lines of a response, as they come. */
async function* lines(body) {
  let text = "";
  for await (const piece of body.pipeThrough(new TextDecoderStream())) {
    text += piece;
    for (let end; (end = text.indexOf("\n")) >= 0; text = text.slice(end + 1)) yield text.slice(0, end);
  }
}

await main(
  {
    "payloads come as they are, under their event's name": async () => {
      const source = events("channel=events:plain");
      await next(source, "switchboard:subscribed");
      const got = [next(source), next(source, "score"), next(source, "switchboard:binary")];
      await publish("events:plain", { n: 1 });
      await publish("events:plain", "two\nlines, and \u2028 ☃", { event: "score" });
      await publish("events:plain", "AP8Q", { encoding: "base64" });
      const [first, second, third] = await Promise.all(got);
      equal([JSON.parse(first.data), second.data], [{ n: 1 }, "two\nlines, and \u2028 ☃"]);
      equal([JSON.parse(third.data).data, JSON.parse(third.data).encoding], ["AP8Q", "base64"]);
    },
    "one id holds the positions of several channels": async () => {
      const query = "channel=events:a&channel=events:b";
      const first = events(query);
      let subscribed = 0;
      await new Promise((done) => first.addEventListener("switchboard:subscribed", () => (subscribed += 1) === 2 && done()));
      const seen = [];
      first.onmessage = ({ data, lastEventId }) => seen.push([JSON.parse(data).data, lastEventId]);
      for (let n = 0; n < 6; n += 1) await publish(n % 2 ? "events:a" : "events:b", n);
      while (seen.length < 6) await new Promise((done) => setTimeout(done, 10));
      first.close();
      await publish("events:a", 6);
      for (const [number, [last, id]] of seen.entries()) {
        const back = events(`${query}&lastEventId=${encodeURIComponent(id)}`);
        const recovered = [];
        back.addEventListener("switchboard:subscribed", ({ data }) => recovered.push(JSON.parse(data).recovered));
        const got = [];
        await new Promise((done) => {
          back.onmessage = ({ data }) => got.push(JSON.parse(data).data) && got.length === 6 - number && done();
        });
        back.close();
        equal([last, recovered, got.sort()], [number, [true, true], [0, 1, 2, 3, 4, 5, 6].slice(number + 1)]);
      }
    },
    "what a server does not know is not recovered": async () => {
      const source = events("channel=events:a&lastEventId=12345");
      equal(JSON.parse((await next(source, "switchboard:subscribed")).data).recovered, false);
    },
    "presence is told": async () => {
      const ann = events("channel=room:people&presence=1", as(bearer));
      equal(JSON.parse((await next(ann, "switchboard:subscribed")).data).users.map(({ user }) => user), ["ann"]);
      const joined = next(ann, "switchboard:join");
      const bob = events("channel=room:people", as({ Authorization: `Bearer ${server.tokens.bob}` }));
      equal(JSON.parse((await joined).data).user, "bob");
      const left = next(ann, "switchboard:leave");
      bob.close();
      equal(JSON.parse((await left).data).user, "bob");
    },
    "refusals end it and say why": async () => {
      const refused = (query, options) =>
        new Promise((resolve) => {
          const source = events(query, options);
          source.onerror = ({ code }) => resolve([code, source.readyState]);
        });
      equal(await refused("channel=events:a", as({ Authorization: "Bearer wrong" })), [401, 2]);
      equal(await refused(""), [400, 2]);
      equal(await refused("channel=events:a&app=nobody"), [404, 2]);
    },
    "requests are those of their token": async () => {
      const { status, position } = await publish("room:posted", [1], { event: "e" }, bearer);
      equal(status, 200);
      const { publications } = await request("history", { channel: "room:posted" }, bearer);
      equal(publications.map(({ data, event, publisher }) => [data, event, publisher.user]), [[[1], "e", "ann"]]);
      const conflict = await publish("room:posted", 2, { if_position: { ...position, offset: 9 } }, bearer);
      equal([conflict.status, conflict.error.code], [409, "conflict"]);
      equal((await request("presence", { channel: "room:posted" }, bearer)).total, 0);
    },
    "lines come through fetch": async () => {
      const control = new AbortController();
      const answer = await fetch(`${server.http}/stream?channel=events:lines`, { signal: control.signal });
      equal([answer.status, answer.headers.get("content-type")], [200, "application/x-ndjson"]);
      const reader = lines(answer.body);
      const types = [];
      for await (const line of reader) {
        const { type, data } = JSON.parse(line);
        types.push(type);
        if (type === "subscribed") await publish("events:lines", "hello");
        if (type === "message") equal(data, "hello");
        if (type === "message") break;
      }
      equal(types, ["welcome", "subscribed", "message"]);
      control.abort();
    },
    "many streams share a connection of HTTP/2": async () => {
      const session = http2.connect(server.http);
      const streams = Array.from({ length: 20 }, (_, n) => session.request({ ":path": `/sse?channel=events:h2&channel=events:${n}` }));
      const texts = streams.map(() => "");
      streams.forEach((stream, n) => stream.setEncoding("utf8").on("data", (text) => (texts[n] += text)));
      const all = async (part) => {
        while (!texts.every((text) => text.includes(part))) await new Promise((done) => setTimeout(done, 10));
      };
      await all('"subscribed","channel":"events:h2"');
      const post = session.request({ ":path": "/client/v1/publish", ":method": "POST" });
      post.end(JSON.stringify({ channel: "events:h2", data: "over h2" }));
      await all('"data":"over h2"');
      streams.forEach((stream) => stream.close(http2.constants.NGHTTP2_CANCEL));
      session.close();
    },
  },
  () => open.forEach((source) => source.close()),
);
