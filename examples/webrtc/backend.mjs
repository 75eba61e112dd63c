// Who somebody is: each open page is a party of its own to a call, so its user is another one each time, with the person's name in `info`.

import { randomBytes } from "node:crypto";
import { serve, text, token } from "../frame/backend.mjs";

const RIGHTS = [{ match: "call:*", allow: ["subscribe", "presence", "signal"] }];

serve({
  "POST /token": (body) => {
    const name = text(body, "name", 30);
    const user = `${name}-${randomBytes(4).toString("hex")}`;
    return { user, token: token(user, RIGHTS, { info: { name } }) };
  },
});
