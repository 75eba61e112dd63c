// Programs to copy, with the reader's own addresses, channel and token in them. Pure; every value is quoted for its language.

export interface Values {
  /** `ws://HOST/ws` or `ws://HOST/ws/KEY`. */
  ws: string;
  /** `ws://HOST/raw/`: the channel follows. */
  raw: string;
  /** `http://HOST/api/v1`. */
  api: string;
  channel: string;
  token: string | null;
  apiKey: string | null;
  /** The key of the application; `null` for the default one. */
  appKey: string | null;
  /** The same, for protocols whose addresses always have it. */
  key: string;
}

export interface Snippet {
  id: string;
  title: string;
  /** Begins a comment in this language. */
  comment: string;
  code: string;
}

export function snippets(values: Values): Snippet[] {
  return [
    { id: "javascript", title: "JavaScript", comment: "//", code: javascript(values) },
    { id: "pusher", title: "pusher-js", comment: "//", code: pusher(values) },
    { id: "eventsource", title: "EventSource", comment: "//", code: eventSource(values) },
    { id: "python", title: "Python", comment: "#", code: python(values) },
    { id: "curl", title: "curl", comment: "#", code: curl(values) },
    { id: "switchboard", title: "switchboard", comment: "#", code: commands(values) },
  ];
}

/** The raw address of a channel. Level separators and colons stay readable, as the server takes them. */
export function rawAddress({ raw, channel, appKey }: Values): string {
  const path = encodeURIComponent(channel).replaceAll("%3A", ":").replaceAll("%2F", "/");
  return `${raw}${path}${appKey === null ? "" : `?app=${encodeURIComponent(appKey)}`}`;
}

/** A string that JavaScript and Python both read as this text. */
function literal(text: string): string {
  return JSON.stringify(text).replaceAll("\u2028", "\\u2028").replaceAll("\u2029", "\\u2029");
}

/** One word of a POSIX shell. */
export function shell(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

function javascript(values: Values): string {
  const { ws, channel, token } = values;
  const protocols = token === null ? `"switchboard.v1.json"` : `["switchboard.v1.json", "switchboard.token." + token]`;
  return `${token === null ? "" : `const token = ${literal(token)};\n`}const socket = new WebSocket(${literal(ws)}, ${protocols});
const send = (message) => socket.send(JSON.stringify(message));

socket.onopen = () => {
  send({ type: "subscribe", channel: ${literal(channel)} });
  send({ type: "publish", channel: ${literal(channel)}, data: "hello from JavaScript" });
};
socket.onmessage = ({ data }) => console.log(JSON.parse(data));

// Or nothing but text: whatever one sends, everyone in the channel receives.
const plain = new WebSocket(${literal(rawAddress(values))});
plain.onmessage = ({ data }) => console.log(data);
`;
}

/** A channel's name in Pusher's alphabet: `=XX` for each byte that is not in it, and for `=` itself. */
export function pusherName(channel: string): string {
  if (/^[\w\-=@,.;]*$/.test(channel) && !/^[^=]*(=[\dA-F]{2}[^=]*)+$/.test(channel)) return channel;
  const written = (byte: number) => {
    const character = String.fromCharCode(byte);
    return /[\w\-@,.;]/.test(character) ? character : `=${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  };
  return [...new TextEncoder().encode(channel)].map(written).join("");
}

function pusher({ ws, channel, key }: Values): string {
  const { hostname, port, protocol } = new URL(ws);
  const secure = protocol === "wss:";
  const at = port || (secure ? "443" : "80");
  return `// npm install pusher-js
import Pusher from "pusher-js";

const pusher = new Pusher(${literal(key)}, {
  wsHost: ${literal(hostname)},
  wsPort: ${at},
  wssPort: ${at},
  forceTLS: ${secure},
  enabledTransports: ["ws", "wss"],
  cluster: "",
});

pusher.subscribe(${literal(pusherName(channel))}).bind_global((event, data) => console.log(event, data));
`;
}

/** Pages whose events come with a token have it in a cookie: EventSource sends no headers. */
function eventSource({ api, channel, token, appKey }: Values): string {
  const base = api.replace(/\/api\/v1$/, "");
  const app = appKey === null ? "" : `&app=${encodeURIComponent(appKey)}`;
  const header = token === null ? "" : `, Authorization: "Bearer " + token`;
  return `${token === null ? "" : `const token = ${literal(token)};\n`}const channel = ${literal(channel)};

// Events come by themselves, and what was missed when the connection comes back.
const events = new EventSource(${literal(`${base}/sse?channel=`)} + encodeURIComponent(channel)${app === "" ? "" : ` + ${literal(app)}`});
events.onmessage = ({ data }) => console.log(data);

// Publishing is a request.
fetch(${literal(`${base}/client/v1/publish${appKey === null ? "" : `?app=${encodeURIComponent(appKey)}`}`)}, {
  method: "POST",
  headers: { "Content-Type": "application/json"${header} },
  body: JSON.stringify({ channel, data: "hello from EventSource" }),
});
`;
}

function python({ ws, channel, token }: Values): string {
  const header = token === null ? "" : `, additional_headers={"Authorization": "Bearer " + TOKEN}`;
  return `# pip install websockets
import asyncio
import json

from websockets.asyncio.client import connect

${token === null ? "" : `TOKEN = ${literal(token)}\n`}CHANNEL = ${literal(channel)}


async def main():
    async with connect(${literal(ws)}${header}) as socket:
        await socket.send(json.dumps({"type": "subscribe", "channel": CHANNEL}))
        await socket.send(json.dumps({"type": "publish", "channel": CHANNEL, "data": "hello from Python"}))
        async for message in socket:
            print(json.loads(message))


asyncio.run(main())
`;
}

function curl({ api, channel, apiKey }: Values): string {
  const body = JSON.stringify({ channel, data: "hello from curl" });
  return `# Publish over HTTP, with an API key${apiKey === null ? " of the application" : ""}.
curl ${shell(`${api}/publish`)} \\
  -H ${shell(`Authorization: Bearer ${apiKey ?? "API-KEY"}`)} \\
  -H 'Content-Type: application/json' \\
  -d ${shell(body)}
`;
}

function commands(values: Values): string {
  const { ws, channel, token } = values;
  const to = `--url ${shell(ws)}`;
  return `# Type a line, see what arrives.
switchboard connect ${shell(rawAddress(values))}
${token === null ? "" : `\nexport SWITCHBOARD_TOKEN=${shell(token)}`}
# Follow the channel; publish to it from another terminal.
switchboard subscribe ${to} ${shell(channel)}
switchboard publish ${to} ${shell(channel)} 'hello from the terminal'
`;
}
