// The adapter's part in a page: what test/chromium.ts talks to.

import { begin, obey } from "./orders.js";

const page = window as unknown as { tell(line: string): void; way: "websocket" | "stream" | "poll"; obey: typeof obey };
begin({ say: (event) => page.tell(JSON.stringify(event)), options: { transports: [page.way] } });
page.obey = obey;
