// The command `examples/run` as a person uses it: what it lists, what it refuses, and that behind Ctrl-C nothing of it is left.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { EXAMPLES, ROOT, names } from "../frame/examples.mjs";
import { Child } from "../frame/process.mjs";

const COMMAND = `${EXAMPLES}/run`;
const run = (...words) => spawnSync(COMMAND, words, { cwd: ROOT, encoding: "utf8", timeout: 20_000 });

export async function test({ check, until, assert }) {
  await check("it lists every example with a sentence, and each has its parts", () => {
    const { status, stdout } = run("--list");
    assert.equal(status, 0);
    const lines = stdout.trim().split("\n");
    assert.deepEqual(lines.map((line) => line.split(" ")[0]), names());
    for (const line of lines) assert.match(line, /^\S+ +[A-Z].*\.$/);
    for (const name of names()) for (const part of ["README.md", "test.mjs", "switchboard.toml"]) assert.ok(existsSync(`${EXAMPLES}/${name}/${part}`), `${name}/${part}`);
  });
  await check("without a name it says what it takes", () => {
    for (const words of [[], ["--help"]]) assert.match(run(...words).stdout, /examples\/run NAME/);
  });
  await check("what it does not understand it names", () => {
    for (const [words, named] of [[["nothing"], /no example nothing; there are: .*chat/], [["chat", "--loud"], /--loud/], [["chat", "--port", "x"], /--port .* x/], [["chat", "scores"], /one example at a time/]]) {
      const { status, stderr } = run(...words);
      assert.equal(status, 1);
      assert.match(stderr, named);
    }
  });
  await check("it starts an example, and Ctrl-C leaves nothing of it", async () => {
    const child = new Child("examples/run", COMMAND, ["stream"], { cwd: ROOT });
    const [, page] = await child.prints(/page +(http\S+)/);
    const [, server] = await child.prints(/server +(http\S+)/);
    const [, backend] = await child.prints(/backend +(http\S+)/);
    assert.match(await (await fetch(page)).text(), /<title>Streamed answers/);
    const where = await (await fetch(`${page}where.json`)).json();
    assert.deepEqual([where.http, where.backend], [server, backend]);
    for (const path of ["..%2fswitchboard.toml", "shared/..%2f..%2fstream/switchboard.toml", "nothing", "%zz"]) assert.equal((await fetch(page + path)).status, 404, path);
    assert.equal(await child.stop("SIGINT"), 0);
    for (const address of [page, server, backend]) await until(() => fetch(address).then(() => false, () => true), `${address} is silent`);
  });
  await check("a port that is taken is named, and nothing is left running", async () => {
    const first = new Child("examples/run", COMMAND, ["stream"], { cwd: ROOT });
    const [, port] = await first.prints(/page +http:\/\/127\.0\.0\.1:(\d+)/);
    const second = run("stream", "--port", port);
    assert.equal(second.status, 1);
    assert.match(second.stderr, new RegExp(`EADDRINUSE.*${port}`));
    await first.stop("SIGINT");
  });
}
