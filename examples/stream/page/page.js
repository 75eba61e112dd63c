// The page of the conversation that its address names: begins with what the backend knows, follows the channel from there.

import { ask, byId, connect, element } from "/shared/page.js";
import { Talk } from "./talk.js";

const FATES = { answers: "", complete: "", stopped: "stopped" };

if (location.hash === "") history.replaceState(null, "", `#${crypto.randomUUID()}`);
addEventListener("hashchange", () => location.reload());
const id = location.hash.slice(1);
const talk = new Talk();
const client = connect();

byId("another").href = location.href;
follow();
pace();

async function follow() {
  const since = await read();
  const subscription = client.subscribe(`talk:${id}`, since ? { since } : {});
  subscription.on("message", (message) => {
    if (!talk.take(message)) return void read();
    drawLast();
  });
  // The history does not reach back so far, or the server has begun anew: the backend knows.
  subscription.on("lost", read);
}

/** Everything that was said, and the position up to which that is so. */
async function read() {
  const known = await ask(`/talk?id=${id}`);
  talk.begin(known);
  byId("talk").replaceChildren(...talk.turns.map(drawn));
  if (talk.turns.length === 0) byId("talk").append(element("p", { className: "empty" }, "Nothing has been asked yet."));
  drawButtons();
  scrollTo(0, document.body.scrollHeight);
  return known.position;
}

function drawn(turn) {
  const text = element("span", { className: "text" }, turn.tokens.join("").trimStart());
  return element("article", {}, element("p", { className: "prompt" }, turn.prompt), element("p", { className: `answer ${turn.state}` }, text), element("p", { className: "fate number" }, fate(turn)));
}

const fate = (turn) => [`${turn.tokens.length} tokens`, FATES[turn.state]].filter(Boolean).join(", ");

/** The last turn only: the others do not change any more. */
function drawLast() {
  const atEnd = innerHeight + scrollY > document.body.scrollHeight - 80;
  const list = byId("talk");
  list.querySelector(".empty")?.remove();
  if (list.children.length < talk.turns.length) list.append(drawn(talk.last));
  const [, answer, told] = list.lastElementChild.children;
  answer.className = `answer ${talk.last.state}`;
  answer.firstChild.textContent = talk.last.tokens.join("").trimStart();
  told.textContent = fate(talk.last);
  drawButtons();
  if (atEnd) scrollTo(0, document.body.scrollHeight);
}

function drawButtons() {
  byId("stop").hidden = !talk.isBusy;
  byId("send").disabled = talk.isBusy;
}

async function pace() {
  const show = () => (byId("pace-words").textContent = byId("pace").value === "0" ? "on hold" : `${byId("pace").value} tokens/s`);
  byId("pace").oninput = () => {
    show();
    void ask("/pace", { pace: Number(byId("pace").value) });
  };
  byId("pace").value = (await ask("/pace")).pace;
  byId("pace").disabled = false;
  show();
}

byId("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  byId("refused").hidden = true;
  try {
    await ask("/ask", { id, prompt: byId("prompt").value, length: byId("length").value });
    byId("prompt").value = "";
  } catch (error) {
    byId("refused").textContent = error.message;
    byId("refused").hidden = false;
  }
});

byId("prompt").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  byId("ask").requestSubmit();
});

byId("stop").onclick = () => ask("/stop", { id });
