// The page of notifications: reads the user's channel from its beginning, as far as it is kept, and follows it. What is read is said to the backend, and heard of by
// all tabs alike, this one included.

import { ask, avatar, byId, clock, connect, element, me, toast } from "/shared/page.js";
import { Inbox } from "./inbox.js";

const user = me();
const inbox = new Inbox();
let token = null;
const client = connect({ token: async () => (token = (await ask("/token", { user })).token) });

byId("me").textContent = user;
byId("to").value = user === "bob" ? "ann" : "bob";
byId("another").href = `?user=${byId("to").value}`;
draw();
follow();

async function follow() {
  const subscription = client.subscribe("#user", { since: await read() });
  subscription.on("message", (message) => {
    const item = inbox.take(message);
    draw();
    if (item) toast(`${item.from}: ${item.text}`);
  });
  subscription.on("lost", read);
}

/** Everything that is kept, page by page from the end, and the position up to which it was read. */
async function read() {
  let [pages, before, end] = [[], undefined, null];
  for (;;) {
    const page = await client.history("#user", { limit: 100, ...(before && { before }) });
    end ??= page.position;
    pages.unshift(...page.messages);
    if (!page.more || page.messages.length === 0) break;
    before = page.messages[0].position;
  }
  inbox.clear();
  pages.forEach((message) => inbox.take(message));
  draw();
  return end;
}

function draw() {
  const { all, unread } = inbox;
  byId("unread").hidden = unread.length === 0;
  byId("unread").textContent = String(unread.length);
  byId("read-all").disabled = unread.length === 0;
  document.title = unread.length > 0 ? `(${unread.length}) Notifications` : "Notifications";
  const entries = all.map((item) => {
    const button = element(
      "button",
      { type: "button", className: item.read ? "" : "unread", onclick: () => item.read || markRead([item.id]) },
      avatar(item.from),
      element("span", { className: "from" }, item.from, item.read ? null : element("span", { className: "unseen" }, ", unread")),
      element("time", {}, clock(item.time)),
      element("span", { className: "text" }, item.text),
    );
    return element("li", {}, button);
  });
  byId("inbox").replaceChildren(...(entries.length > 0 ? entries : [element("li", { className: "empty" }, "Nobody has told you anything yet.")]));
}

const markRead = (ids) => ask("/read", { ids }, token).catch((error) => toast(error.message));

byId("read-all").onclick = () => markRead(inbox.unread.map(({ id }) => id));

byId("send").addEventListener("submit", async (event) => {
  event.preventDefault();
  const to = byId("to").value.trim();
  const words = byId("text").value;
  byId("text").value = "";
  try {
    const { connections } = await ask("/send", { to, text: words }, token);
    const where = connections === 0 ? `${to} is away, and will find it` : connections === 1 ? `${to} has it in a tab` : `${to} has it in ${connections} tabs`;
    byId("sent").textContent = `Sent: ${where}.`;
  } catch (error) {
    byId("text").value ||= words;
    byId("sent").textContent = error.message;
  }
});
