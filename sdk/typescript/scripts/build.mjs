// Builds the package: modules for `import` in dist/esm, for `require` in dist/cjs, with their types, and the licences beside them.
// `node scripts/build.mjs`.

import { execFileSync } from "node:child_process";
import { copyFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const HERE = fileURLToPath(new URL("..", import.meta.url));
const TSC = `${HERE}/node_modules/typescript/bin/tsc`;
const COMMON = ["--project", `${HERE}/tsconfig.build.json`, "--noEmit", "false"];

rmSync(`${HERE}/dist`, { recursive: true, force: true });
tsc("--outDir", `${HERE}/dist/esm`);
tsc("--outDir", `${HERE}/dist/cjs`, "--module", "commonjs", "--verbatimModuleSyntax", "false");
writeFileSync(`${HERE}/dist/cjs/package.json`, '{ "type": "commonjs" }\n');
for (const name of ["LICENSE-APACHE", "LICENSE-MIT"]) copyFileSync(`${HERE}/../../${name}`, `${HERE}/${name}`);

function tsc(...more) {
  execFileSync(process.execPath, [TSC, ...COMMON, ...more], { stdio: "inherit" });
}
