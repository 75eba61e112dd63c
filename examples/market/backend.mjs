// A toy exchange: prices that wander, hundreds of them a second to `prices:all`, and all of them once a second to `closes:all`.
// RATE is how many prices it publishes in a second.

import { api, serve } from "../frame/backend.mjs";

const RATE = Number(process.env.RATE ?? 400);
const TICK_MS = 50;
const CLOSES = 180;

const SYMBOLS = [
  ["ALDR", "Alder & Sons", 41.2],
  ["BRCK", "Brickworks", 118.5],
  ["CNDL", "Candlelight", 9.84],
  ["DYNM", "Dynamo Motors", 231.1],
  ["EAST", "Eastern Ferries", 27.35],
  ["FLUX", "Flux Energy", 64.7],
  ["GRNT", "Granite Hills", 152.9],
  ["HARB", "Harbour Light", 18.22],
  ["IRIS", "Iris Optics", 88.4],
  ["JUNO", "Juno Bakeries", 33.06],
  ["KEEL", "Keel Shipyards", 12.71],
  ["LOOM", "Loom Textiles", 57.18],
];
const prices = new Map(SYMBOLS.map(([symbol, , price]) => [symbol, { price, calm: 0.0001 + Math.random() * 0.0002, drift: 0 }]));

/** A price wanders, and is drawn on in one direction for a while. */
function wander(symbol) {
  const stock = prices.get(symbol);
  stock.drift = stock.drift * 0.99 + (Math.random() - 0.5) * stock.calm * 0.2;
  stock.price *= 1 + stock.drift + (Math.random() - 0.5) * stock.calm;
  return Number(stock.price.toFixed(2));
}

const closes = () => SYMBOLS.map(([symbol]) => Number(prices.get(symbol).price.toFixed(2)));
const random = () => SYMBOLS[Math.floor(Math.random() * SYMBOLS.length)][0];

// A morning's trade that nobody has seen, so that charts do not begin empty.
const requests = [];
for (let second = CLOSES; second > 0; second -= 1) {
  for (let times = 0; times < RATE; times += 1) wander(random());
  requests.push({ method: "publish", channel: "closes:all", data: { at: Date.now() - second * 1000, closes: closes() } });
}
for (let from = 0; from < requests.length; from += 100) await api("batch", { requests: requests.slice(from, from + 100) });

/** Each price has its symbol as key: the newer takes the place of the older where that still waits. */
async function trade() {
  const due = performance.now();
  for (let published = 0; ; ) {
    const count = Math.min(100, Math.floor(((performance.now() - due) / 1000) * RATE) - published);
    if (count > 0) {
      const traded = Array.from({ length: count }, random);
      published += count;
      await api("batch", { requests: traded.map((symbol) => ({ method: "publish", channel: "prices:all", key: symbol, data: wander(symbol) })) });
    }
    await new Promise((resume) => setTimeout(resume, TICK_MS));
  }
}

async function close() {
  for (;;) {
    await new Promise((resume) => setTimeout(resume, 1000 - (Date.now() % 1000)));
    await api("publish", { channel: "closes:all", data: { at: Date.now(), closes: closes() } });
  }
}

for (const work of [trade, close]) {
  work().catch((error) => {
    console.error(error);
    process.exit(1);
  });
}

serve({ "GET /symbols": () => ({ symbols: SYMBOLS.map(([symbol, name]) => ({ symbol, name })), rate: RATE }) });
