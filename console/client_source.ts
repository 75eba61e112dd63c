// Where the builds find the client: its sources beside this folder, so that nothing has to be built or installed before.

import { fileURLToPath } from "node:url";

export const CLIENT = { "@switchboard/client": fileURLToPath(new URL("../sdk/typescript/src/index.ts", import.meta.url)) };
