// The page: charts that begin with the history of closes, prices at the rate that the reader wants, and the count of both.

import { ask, byId, connect, element } from "/shared/page.js";
import { drawChart, palette } from "./chart.js";

const SECONDS = 180;
const POINTS_MAX = 4_000;

const client = connect();
const { symbols, rate: published } = await ask("/symbols");
/** By symbol: `{ points, card, first }`. */
const stocks = new Map();
const counts = { drawn: 0, replaced: 0 };
let chosen = symbols[0].symbol;
let prices = null;
let asked = false;

for (const { symbol, name } of symbols) {
  const card = {
    price: element("span", { className: "price number" }, "–"),
    change: element("span", { className: "change number" }),
    line: element("canvas", { "aria-hidden": "true" }),
  };
  const button = element("button", { type: "button", onclick: () => choose(symbol) }, element("strong", {}, symbol), card.change, card.line, card.price);
  button.title = name;
  byId("symbols").append(element("li", {}, button));
  stocks.set(symbol, { name, points: [], card: { ...card, button } });
}

/** At most `rate` prices of each symbol in a second; 0 is each of them. */
function listen(rate) {
  prices?.unsubscribe();
  prices = client.subscribe("prices:all", rate > 0 ? { rate } : {});
  prices.on("message", ({ key, data, timestamp, conflated = 0 }) => {
    counts.drawn += 1;
    // This one stands for others, which the server has not sent.
    counts.replaced += conflated;
    add(key, timestamp, data, true);
    draw();
  });
  for (const button of document.querySelectorAll("#rates button")) {
    button.disabled = false;
    button.setAttribute("aria-pressed", String(Number(button.dataset.rate) === rate));
  }
}

/** What was before this page: the closes of the last minutes, and then each that follows, without a gap between. */
async function loadCloses() {
  const { messages, position } = await client.history("closes:all", { limit: 300 });
  messages.forEach(addCloses);
  const closes = client.subscribe("closes:all", { since: position });
  closes.on("message", addCloses);
}

/** By the server's clock, as prices are; those of a morning that nobody has seen are older than their publication. */
function addCloses({ data, timestamp }) {
  symbols.forEach(({ symbol }, index) => add(symbol, Math.min(data.at, timestamp), data.closes[index], false));
  draw();
}

function add(symbol, at, price, traded) {
  const stock = stocks.get(symbol);
  if (!stock || typeof price !== "number") return;
  const { points } = stock;
  // Two channels have no order between them: what comes late is no news, and in the same millisecond the trade counts.
  const last = points.at(-1)?.at ?? 0;
  if (at < last || (at === last && !traded)) return;
  points.push({ at, price });
  if (points.length > POINTS_MAX) points.splice(0, points.length - POINTS_MAX);
}

function choose(symbol) {
  chosen = symbol;
  draw();
}

/** With the next frame, whatever has come until then. */
function draw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    const inks = palette();
    for (const [symbol, stock] of stocks) drawStock(symbol, stock, inks);
    const { name, points } = stocks.get(chosen);
    byId("name").textContent = name;
    byId("symbol").textContent = chosen;
    byId("price").textContent = points.at(-1)?.price.toFixed(2) ?? "–";
    drawChart(byId("chart"), points, { now: points.at(-1)?.at ?? 0, seconds: SECONDS, grid: true, inks });
    byId("published").textContent = (counts.drawn + counts.replaced).toLocaleString("en");
    byId("drawn").textContent = counts.drawn.toLocaleString("en");
  });
}

function drawStock(symbol, { points, card }, inks) {
  const last = points.at(-1);
  if (!last) return;
  const change = (last.price / points[0].price - 1) * 100;
  card.price.textContent = last.price.toFixed(2);
  card.change.textContent = `${change < 0 ? "−" : "+"}${Math.abs(change).toFixed(2)} %`;
  card.change.dataset.sign = change < 0 ? "down" : "up";
  card.button.setAttribute("aria-current", String(symbol === chosen));
  drawChart(card.line, points, { now: last.at, seconds: SECONDS, grid: false, inks });
}

for (const button of document.querySelectorAll("#rates button")) button.addEventListener("click", () => listen(Number(button.dataset.rate)));
addEventListener("resize", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
byId("rate").textContent = published;
await loadCloses();
listen(10);
