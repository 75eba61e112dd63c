// The page of scores: begins with what the backend knows, then follows what it pushes.

import { ask, byId, element, hue, showState, where } from "/shared/page.js";
import { Feed } from "./feed.js";

const TICKER_MAX = 12;
const WAYS = { websocket: "a WebSocket", eventsource: "an EventSource" };

let scores = await ask("/matches");
drawAll();

const feed = new Feed({ where, channel: "scores", position: scores.position, onMessage, onState, onLost: afresh });
for (const button of byId("ways").querySelectorAll("button")) button.onclick = () => choose(button.dataset.way);
choose("automatic");

function choose(way) {
  for (const button of byId("ways").querySelectorAll("button")) button.setAttribute("aria-pressed", String(button.dataset.way === way));
  feed.use(way);
}

function onState(kind, words) {
  showState(kind, words);
  byId("way").textContent = `Listening by ${WAYS[feed.way]}; ${feed.heard} messages so far.`;
}

function onMessage({ event, data }) {
  byId("way").textContent = `Listening by ${WAYS[feed.way]}; ${feed.heard} messages so far.`;
  if (event === "kick-off") {
    scores = { ...scores, ...data };
    byId("ticker").replaceChildren();
    return drawAll();
  }
  scores.minute = data.minute;
  drawMinute();
  if (event === "goal") onGoal(data);
}

function onGoal({ match: id, minute, goals, by }) {
  const match = scores.matches[id];
  match.goals = goals;
  drawMatch(match);
  const card = byId(`match-${id}`);
  card.classList.remove("scored");
  // Read, so that the animation begins anew.
  void card.offsetWidth;
  card.classList.add("scored");
  const line = `${match.home} ${goals.join(" : ")} ${match.away}`;
  byId("ticker").prepend(element("li", {}, element("span", { className: "number" }, `${minute}’`), element("strong", {}, by), element("span", { className: "muted small" }, line)));
  while (byId("ticker").children.length > TICKER_MAX) byId("ticker").lastChild.remove();
}

/** What was missed is no longer kept. The backend knows how it stands now. */
async function afresh() {
  scores = await ask("/matches");
  drawAll();
}

function drawAll() {
  byId("matches").replaceChildren(...scores.matches.map((match) => element("li", { className: "card match", id: `match-${match.id}` })));
  scores.matches.forEach(drawMatch);
  drawMinute();
}

function drawMatch(match) {
  const sides = [match.home, match.away].map((team, side) =>
    element(
      "div",
      { className: "side" },
      element("span", { className: "crest", style: { "--hue": hue(team) } }),
      element("span", { className: "grow" }, team),
      element("b", { className: "number" }, String(match.goals[side])),
    ),
  );
  const buttons = [match.home, match.away].map((team, side) =>
    element("button", { className: "quiet", type: "button", onclick: () => ask("/goal", { match: match.id, side }) }, `Goal for ${team}`),
  );
  byId(`match-${match.id}`).replaceChildren(...sides, element("footer", {}, ...buttons));
}

function drawMinute() {
  byId("minute").textContent = scores.minute < 90 ? `${scores.minute}’` : "Final";
  byId("played").value = scores.minute;
}
