// A line chart on a canvas: prices over time, the latest at the right edge. Knows nothing of where they come from.

import { colour } from "/shared/page.js";

/** The stylesheet's colours, which are others in the dark: asked for once a frame, not for each of many charts. */
export function palette() {
  return Object.fromEntries(["good", "bad", "good-faint", "bad-faint", "line", "muted"].map((name) => [name, colour(`--${name}`)]));
}

/** Draws `points` of `{ at, price }`, the last `seconds` of them, in the colours of `inks`. `grid` writes prices and times beside it. */
export function drawChart(canvas, points, { now, seconds, grid, inks }) {
  const { width, height } = canvas.getBoundingClientRect();
  const scale = devicePixelRatio;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  const shown = points.filter(({ at }) => at >= now - seconds * 1000);
  if (shown.length < 2) return;
  const edge = grid ? { top: 12, right: 62, bottom: 24, left: 6 } : { top: 3, right: 3, bottom: 3, left: 0 };
  const [low, high] = range(shown);
  const x = (at) => edge.left + (1 - (now - at) / (seconds * 1000)) * (width - edge.left - edge.right);
  const y = (price) => edge.top + (1 - (price - low) / (high - low)) * (height - edge.top - edge.bottom);
  if (grid) drawGrid(pen, inks, { width, height, edge, low, high, x, y, now, seconds });

  const rises = shown.at(-1).price >= shown[0].price;
  const ink = rises ? inks.good : inks.bad;
  pen.beginPath();
  for (const { at, price } of shown) pen.lineTo(x(at), y(price));
  pen.strokeStyle = ink;
  pen.lineWidth = grid ? 2 : 1.5;
  pen.lineJoin = "round";
  pen.stroke();
  pen.lineTo(x(shown.at(-1).at), height - edge.bottom);
  pen.lineTo(x(shown[0].at), height - edge.bottom);
  const fill = pen.createLinearGradient(0, edge.top, 0, height - edge.bottom);
  fill.addColorStop(0, inks[rises ? "good-faint" : "bad-faint"]);
  fill.addColorStop(1, "transparent");
  pen.fillStyle = fill;
  pen.fill();
  if (!grid) return;
  const last = shown.at(-1);
  pen.fillStyle = ink;
  pen.beginPath();
  pen.arc(x(last.at), y(last.price), 3.5, 0, 7);
  pen.fill();
}

function range(points) {
  const prices = points.map(({ price }) => price);
  const [low, high] = [Math.min(...prices), Math.max(...prices)];
  const room = Math.max((high - low) * 0.12, high * 0.0005);
  return [low - room, high + room];
}

function drawGrid(pen, inks, { width, height, edge, low, high, x, y, now, seconds }) {
  pen.font = "12px system-ui, sans-serif";
  pen.strokeStyle = inks.line;
  pen.fillStyle = inks.muted;
  pen.lineWidth = 1;
  pen.textBaseline = "middle";
  const step = round((high - low) / 4);
  for (let price = Math.ceil(low / step) * step; price < high; price += step) {
    const at = Math.round(y(price)) + 0.5;
    pen.beginPath();
    pen.moveTo(edge.left, at);
    pen.lineTo(width - edge.right, at);
    pen.stroke();
    pen.fillText(price.toFixed(2), width - edge.right + 10, at);
  }
  pen.textBaseline = "alphabetic";
  pen.textAlign = "center";
  const apart = width < 480 ? 60 : 30;
  for (let ago = apart; ago < seconds; ago += apart) {
    const at = x(now - ago * 1000);
    if (at > 30) pen.fillText(`−${ago} s`, at, height - 6);
  }
  pen.textAlign = "start";
}

/** 1, 2 or 5 and zeros. */
function round(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 5, 10].find((one) => value <= one * power);
}
