// What has to be so where a page says `see`. Each check gets the reader's world: `browser`, `folder`, `ports`, `terminals`, and `people`, the pages that are
// open, by the name of the place and of who signed in there.

import { readFileSync, readdirSync } from "node:fs";
import http2 from "node:http2";
import net from "node:net";
import WebSocket from "ws";
import { equal } from "../checks.mjs";
import { connect, open } from "../http2/websocket.mjs";

const PORTS = { nginx: 8443, haproxy: 8444 };

/** Signs in, and is there when the list shows it. */
async function signIn({ browser, people }, place, url, name) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  const person = { page, name, sockets: 0 };
  page.on("websocket", () => (person.sockets += 1));
  page.on("pageerror", (error) => console.log(`# ${name}'s page: ${error.message}`));
  await page.goto(url);
  await page.fill("input[name=name]", name);
  await page.click("#sign-in button");
  await page.waitForFunction((name) => document.querySelector("#users").textContent.includes(name), name);
  people[place] = { ...people[place], [name]: person };
  return person;
}

async function say({ page }, text) {
  await page.fill("input[name=text]", text);
  await page.click("#say button");
}

const lines = ({ page }) => page.$$eval("#messages li", (items) => items.map((item) => item.textContent));
const users = ({ page }) => page.textContent("#users");

/** Waits until the last messages are these, each once. */
async function shows({ page, name }, ...last) {
  const seen = (last) => {
    const lines = [...document.querySelectorAll("#messages li")].map((item) => item.textContent);
    return lines.slice(-last.length).join("\n") === last.join("\n");
  };
  await page.waitForFunction(seen, last).catch(async () => {
    throw new Error(`${name} sees ${JSON.stringify(await lines({ page }))} instead of ${JSON.stringify(last)}`);
  });
}

async function talk(world, place, url) {
  const ann = await signIn(world, place, url, "Ann");
  const bob = await signIn(world, place, url, "Bob");
  await ann.page.waitForFunction(() => document.querySelector("#users").textContent.startsWith("Ann, Bob"));
  await say(ann, `hello Bob, over ${place}`);
  for (const one of [ann, bob]) await shows(one, `Ann: hello Bob, over ${place}`);
  await say(bob, `hello Ann, over ${place}`);
  for (const one of [ann, bob]) await shows(one, `Ann: hello Bob, over ${place}`, `Bob: hello Ann, over ${place}`);
}

/** Waits until a page has opened another WebSocket than those before, and says that it is connected. */
async function isBack({ page, sockets }, person) {
  while (person.sockets === sockets) await new Promise((resolve) => setTimeout(resolve, 20));
  await page.waitForFunction(() => document.querySelector("#state").textContent === "connected");
}

const apiKey = ({ folder }) => readFileSync(`${folder}/api-key`, "utf8").trim();
const certificate = ({ folder }) => readFileSync(`${folder}/cert.pem`);

async function publish(world, text) {
  const answer = await fetch(`http://127.0.0.1:${world.ports[8080]}/api/v1/publish`, {
    method: "POST",
    headers: { Authorization: `Bearer ${apiKey(world)}` },
    body: JSON.stringify({ channel: "room:lobby", data: { text } }),
  });
  equal(answer.status, 200);
}

async function token({ ports }, name) {
  const site = `http://127.0.0.1:${ports[3000]}`;
  const signedIn = await fetch(`${site}/sign-in`, { method: "POST", body: name });
  const cookie = signedIn.headers.get("set-cookie").split(";")[0];
  return (await (await fetch(`${site}/token`, { method: "POST", headers: { cookie } })).json()).token;
}

/** A WebSocket from another address of this machine, which is no proxy's. Resolves to it once it is welcomed, or to the status that it is refused with. */
function from(address, world, port, token, headers = {}) {
  const options = { localAddress: address, ca: certificate(world), headers: { Authorization: `Bearer ${token}`, ...headers } };
  const socket = new WebSocket(`wss://127.0.0.1:${port}/ws`, options);
  return new Promise((resolve, reject) => {
    socket.on("unexpected-response", (request, response) => resolve(response.statusCode) ?? request.destroy());
    socket.on("error", reject);
    socket.once("message", () => resolve(socket));
  });
}

function listens(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, "127.0.0.1", () => resolve(true) ?? socket.destroy());
    socket.on("error", () => resolve(false));
  });
}

/** The processes that a process has started. */
function children(parent) {
  return readdirSync("/proc").filter((id) => {
    try {
      return /^\d+$/.test(id) && readFileSync(`/proc/${id}/stat`, "utf8").replace(/^.*\) /, "").split(" ")[1] === String(parent);
    } catch {
      return false;
    }
  });
}

export const checks = {
  async "somebody-listens"({ ports }) {
    const { api_key: key } = await (await fetch(`http://127.0.0.1:${ports[8081]}/api/console/info`)).json();
    const ask = () =>
      fetch(`http://127.0.0.1:${ports[8080]}/api/v1/channel`, {
        method: "POST",
        headers: { Authorization: `Bearer ${key}` },
        body: JSON.stringify({ channel: "room:lobby" }),
      });
    while (!(await (await ask()).json()).occupied) await new Promise((resolve) => setTimeout(resolve, 20));
  },

  async "the-receiver-listens"({ ports }) {
    while (!(await listens(ports[3000]))) await new Promise((resolve) => setTimeout(resolve, 20));
  },

  async "the-channel-is-occupied"({ terminals }) {
    // It may be told as vacated again while we look: it stands in what the receiver printed.
    while (!terminals.get("receiver").output.includes("channel_occupied")) await new Promise((resolve) => setTimeout(resolve, 20));
  },

  async "ann-and-bob-chat"(world) {
    await talk(world, "plain", `http://127.0.0.1:${world.ports[3000]}/`);
    const { Ann, Bob } = world.people.plain;
    // What was said by curl before they came.
    equal((await lines(Ann))[0], "ann: is anybody there?");
    equal(await lines(Bob), await lines(Ann));
    await Ann.page.screenshot({ path: `${world.folder}/../chat.png` });
    // Somebody who comes late, and goes.
    const carla = await signIn(world, "late", `http://127.0.0.1:${world.ports[3000]}/`, "Carla");
    await carla.page.waitForFunction(() => document.querySelectorAll("#messages li").length === 3);
    equal(await lines(carla), await lines(Ann));
    await carla.page.context().close();
    await Ann.page.waitForFunction(() => document.querySelector("#users").textContent === "Ann, Bob");
  },

  async "the-house-is-heard"({ people }) {
    for (const person of Object.values(people.plain)) await shows(person, "the house: dinner is ready");
    people.plain.Bob.before = { ...people.plain.Bob, sockets: 1 };
  },

  async "bob-is-back"({ people: { plain } }) {
    await isBack(plain.Bob.before, plain.Bob);
    equal(await users(plain.Ann), "Ann, Bob");
    await say(plain.Ann, "welcome back");
    await shows(plain.Bob, "the house: dinner is ready", "Ann: welcome back");
  },

  async "only-what-is-new"({ people: { plain } }) {
    for (const person of Object.values(plain)) {
      await person.page.waitForFunction(() => document.querySelector("#messages").textContent === "the house: back again");
      await person.page.$eval("#messages li", (item) => (item.dataset.stays = "yes"));
    }
  },

  async "both-messages-once"({ people: { plain } }) {
    for (const person of Object.values(plain)) {
      await shows(person, "the house: back again", "the house: and now nothing is lost");
      equal((await lines(person)).length, 2);
      // It came back where it was, and did not begin afresh.
      equal(await person.page.$$eval("#messages li", (items) => items.map((item) => item.dataset.stays ?? "new")), ["yes", "new"]);
      await person.page.context().close();
    }
  },

  async "chat-over-tls"(world, proxy) {
    // Neither of them says when it listens.
    while (!(await listens(world.ports[PORTS[proxy]]))) await new Promise((resolve) => setTimeout(resolve, 20));
    await talk(world, proxy, `https://localhost:${world.ports[PORTS[proxy]]}/`);
  },

  async "events-over-http2"(world, proxy) {
    const session = await new Promise((resolve, reject) => {
      const session = http2.connect(`https://localhost:${world.ports[PORTS[proxy]]}`, { ca: certificate(world) });
      session.on("error", reject).once("connect", () => resolve(session));
    });
    equal(session.alpnProtocol, "h2");
    const stream = session.request({ ":path": "/sse?channel=room:lobby", authorization: `Bearer ${await token(world, "Dora")}` });
    let text = "";
    stream.setEncoding("utf8").on("data", (piece) => (text += piece));
    const arrives = async (part) => {
      while (!text.includes(part)) await new Promise((resolve) => setTimeout(resolve, 10));
    };
    await arrives("switchboard:subscribed");
    // One at a time: each has to come while nothing else does.
    for (const n of [1, 2, 3]) {
      await publish(world, `event ${n} over ${proxy}`);
      await arrives(`data: {"text":"event ${n} over ${proxy}"}`);
    }
    session.destroy();
  },

  async "websockets-over-http2"(world, proxy) {
    const session = await connect(`https://localhost:${world.ports[PORTS[proxy]]}`, { ca: certificate(world) });
    const socket = await open(session, "/ws", { authorization: `Bearer ${await token(world, "Emil")}` });
    const welcome = await new Promise((resolve) => socket.once("message", (text) => resolve(JSON.parse(text))));
    equal([welcome.type, welcome.user], ["welcome", "Emil"]);
    socket.terminate();
    session.destroy();
  },

  async "limits-by-address"(world, proxy) {
    const port = world.ports[PORTS[proxy]];
    const mine = await token(world, "Fred");
    const sockets = await Promise.all(Array.from({ length: 50 }, () => from("127.0.0.2", world, port, mine)));
    equal(sockets.filter((socket) => typeof socket === "number"), []);
    equal(await from("127.0.0.2", world, port, mine), 503);
    const forged = { "X-Forwarded-For": "203.0.113.9", Forwarded: "for=203.0.113.9" };
    equal(await from("127.0.0.2", world, port, mine, forged), 503);
    const other = await from("127.0.0.3", world, port, mine, forged);
    equal(typeof other, "object");
    for (const socket of [...sockets, other]) socket.terminate();
  },

  async "connections-survive-a-reload"(world, proxy) {
    const { Ann, Bob } = world.people[proxy];
    const master = Number(readFileSync(`${world.folder}/${proxy}.pid`, "utf8"));
    // The old workers stay for the pages, and the new ones are there.
    const workers = { nginx: 3, haproxy: 2 }[proxy];
    while (children(master).length < workers) await new Promise((resolve) => setTimeout(resolve, 20));
    await say(Ann, `still here, over ${proxy}`);
    await shows(Bob, `Ann: still here, over ${proxy}`);
    equal([Ann.sockets, Bob.sockets], [1, 1]);
    const newcomer = await from("127.0.0.3", world, world.ports[PORTS[proxy]], await token(world, "Gina"));
    newcomer.terminate();
  },

  async "pages-come-back"(world) {
    for (const proxy of ["nginx", "haproxy"]) {
      for (const person of Object.values(world.people[proxy])) await isBack({ ...person, sockets: 1 }, person);
    }
    await publish(world, "good night");
    for (const proxy of ["nginx", "haproxy"]) {
      for (const person of Object.values(world.people[proxy])) await shows(person, "the house: good night");
    }
  },
};
