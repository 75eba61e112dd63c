// Which examples there are, and what each of them consists of: a folder with a `switchboard.toml` is one.

import { existsSync, readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The repository's root, with a slash at its end. */
export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
export const EXAMPLES = `${ROOT}examples`;

export function names() {
  return readdirSync(EXAMPLES).filter((name) => existsSync(`${EXAMPLES}/${name}/switchboard.toml`));
}

/** The first sentence below the title of its README. */
export function summary(name) {
  const [, text = ""] = readFileSync(`${EXAMPLES}/${name}/README.md`, "utf8").split(/\n\n/);
  return text.replace(/\s+/g, " ").split(/(?<=[.:]) /)[0].replace(/:$/, ".");
}

/** The paths of its parts; `null` for what it does not have. */
export function parts(name) {
  const folder = `${EXAMPLES}/${name}`;
  const given = (path) => (existsSync(path) ? path : null);
  const config = `${folder}/switchboard.toml`;
  return {
    config,
    backend: given(`${folder}/backend.mjs`),
    page: given(`${folder}/page`),
    // Whose configuration names a folder keeps its history there.
    durable: /^\s*data_dir\s*=/m.test(readFileSync(config, "utf8")),
  };
}
