// Tells users what has happened, and tells a user's other tabs what one of them has read. It keeps nothing: what a user was told is the history of the user's
// own channel.

import { randomUUID } from "node:crypto";
import { Refused, api, serve, text, token, userOf } from "../frame/backend.mjs";

serve({
  // Anybody is who they say they are: here an application asks for a password, or looks at its session. The user's own channel takes no further right.
  "POST /token": async (body) => ({ token: token(text(body, "user", 30), []) }),

  "POST /send": async (body, request) => {
    const [from, to] = [userOf(request), text(body, "to", 30)];
    await api("send_to_user", { user: to, event: "notification", data: { id: randomUUID(), from, text: text(body, "text", 300) } });
    // How many of the user's connections follow the channel at this moment.
    const { connections } = await api("presence", { user: to, limit: 0 });
    return { connections };
  },

  "POST /read": async (body, request) => {
    const { ids } = body;
    if (!Array.isArray(ids) || ids.length > 500 || ids.some((id) => typeof id !== "string" || id.length > 50)) throw new Refused(400, '"ids" has to be a list of ids');
    await api("send_to_user", { user: userOf(request), event: "read", data: { ids } });
  },
});
