// What the documents show compiles.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const PACKAGE = fileURLToPath(new URL("../..", import.meta.url));
const DOCUMENTS = ["README.md", "../../docs/howto/typescript-client.md"];

/** What a reader's own program brings. */
const GIVEN = `
declare const picture: number[];
declare const since: import("@switchboard/client").Position;
declare function show(...what: unknown[]): void;
declare function store(what: unknown): Promise<void>;
declare function loadEverythingAfresh(): void;
declare function fetchToken(): Promise<string>;
`;

test("the snippets of the documents compile", () => {
  const folder = `${PACKAGE}/build/snippets`;
  mkdirSync(folder, { recursive: true });
  let count = 0;
  for (const document of DOCUMENTS) {
    for (const [, snippet = ""] of readFileSync(`${PACKAGE}/${document}`, "utf8").matchAll(/```ts\n(.*?)```/gs)) {
      const imported = [...snippet.matchAll(/^import .*$/gm)].map(([line]) => line);
      const body = snippet.replaceAll(/^import .*$/gm, "");
      // A client that a document has made before.
      const client = /\bconst client\b/.test(body) ? "" : `declare const client: import("@switchboard/client").Client;\n`;
      writeFileSync(`${folder}/${(count += 1)}.ts`, `${imported.join("\n")}\n${client}${GIVEN}\n${body}\nexport {};\n`);
    }
  }
  assert.ok(count >= 7, `${count}`);
  const settings = {
    extends: "../../tsconfig.json",
    compilerOptions: { noUnusedLocals: false, noEmit: true, paths: { "@switchboard/client": ["../../src/index.ts"] } },
    include: ["*.ts"],
  };
  writeFileSync(`${folder}/tsconfig.json`, JSON.stringify(settings));
  const { status, stdout } = spawnSync(process.execPath, [`${PACKAGE}/node_modules/typescript/bin/tsc`, "--project", folder], { encoding: "utf8" });
  assert.equal(status, 0, stdout);
});
