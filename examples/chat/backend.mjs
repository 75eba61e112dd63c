// The chat's backend: it says who somebody is, and which rooms have people in them. What is said never passes through it.

import { api, serve, text, token } from "../frame/backend.mjs";

const RIGHTS = [
  { match: "room:*", allow: ["subscribe", "publish", "presence", "history"] },
  { match: "typing:*", allow: ["subscribe", "publish"] },
];

serve({
  // Anybody is who they say they are: here an application asks for a password, or looks at its session.
  "POST /token": async (body) => ({ token: token(text(body, "user", 30), RIGHTS) }),

  "GET /rooms": async () => {
    const { channels } = await api("channels", { prefix: "room:", limit: 100 });
    return { rooms: channels.map(({ channel, users }) => ({ name: channel.slice("room:".length), people: users })) };
  },
});
