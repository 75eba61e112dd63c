"""The programs of docs/howto/languages, taken from their pages, each as a client of one server: what they promise is demanded of all of them at
once. Argument: `command` (the server's), `folder` (where they are written), `python`, `node`, `node_modules` and `chromium`, as JSON.

Prints one line for each program and promise. Knows the languages, and nothing of what is inside the programs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pathlib
import random
import shlex
import shutil
import signal
import socket
import sys
import urllib.request
from dataclasses import dataclass, field

from page import command, write_files
from relay import Relay

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PAGES = ROOT / "docs/howto/languages"
ABOUT = json.loads(sys.argv[1])
FOLDER = pathlib.Path(ABOUT["folder"])
CHANNEL = "room:lobby"
SECRET, API_KEY = "0123456789abcdef" * 4, "fedcba9876543210" * 4

START_SECONDS_MAX = 120  # compilers of several languages at a time
STEP_SECONDS_MAX = 60

CONFIGURATION = f"""\
[server]
listen = "127.0.0.1:PORT"
admin_listen = "off"
drain_window = "1s"

[heartbeat]
interval = "1s"

[history]
data_dir = "{FOLDER}/data"

[[apps]]
id = "main"
secret = "{SECRET}"
api_keys = ["{API_KEY}"]
origins = ["http://127.0.0.1:*"]
"""


@dataclass
class Language:
    page: str
    says: str
    environment: dict[str, str] = field(default_factory=dict)
    # Where it is not the page's own command: what is to be done first, and the commands.
    first: tuple[list[str], ...] = ()
    runs: list[str] | None = None
    signs: list[str] | None = None


GO = {"GO111MODULE": "off", "GOPATH": f"{FOLDER}/go:/usr/share/gocode", "GOCACHE": str(FOLDER.parent / "go-cache"), "GOFLAGS": ""}
GSON, JSON_NET = ABOUT["gson"], ABOUT["json_net"]

LANGUAGES = {
    # Its token comes from a server, as a page's does.
    "javascript": Language(
        "javascript.md",
        "hello from a page",
        runs=[*ABOUT["node"], str(HERE / "browser.mjs")],
        signs=[*ABOUT["command"], "token", "--user", "ann"],
    ),
    "node": Language("node.md", "hello from Node"),
    "python": Language("python.md", "hello from Python"),
    "php": Language("php.md", "hello from PHP"),
    "go": Language("go.md", "hello from Go", GO),
    "java": Language("java.md", "hello from Java"),
    "ruby": Language("ruby.md", "hello from Ruby"),
    "csharp": Language(
        "csharp.md",
        "hello from C#",
        first=(
            ["mcs", f"-r:{JSON_NET}", "-out:Live.exe", "Program.cs"],
            ["mcs", f"-r:{JSON_NET}", "-out:Sign.exe", "Sign.cs"],
        ),
        runs=["mono", "Live.exe"],
        signs=["mono", "Sign.exe", "ann"],
    ),
}


def free_port() -> int:
    """Below those that the system gives to connections that go out: it has to be free again at the restart."""
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            port = random.randrange(10_000, 30_000)
            probe.bind(("127.0.0.1", port))
            return port


class Server:
    """The server, which can be started again where it was."""

    def __init__(self) -> None:
        self.port = free_port()

    async def start(self) -> None:
        file = FOLDER / "switchboard.toml"
        file.write_text(CONFIGURATION.replace("PORT", str(self.port)))
        pipe = asyncio.subprocess.PIPE
        log = open(FOLDER / "serve.log", "a")
        self.process = await asyncio.create_subprocess_exec(
            *ABOUT["command"], "serve", "--config", str(file), stdout=pipe, stderr=log, stdin=asyncio.subprocess.DEVNULL
        )
        while line := (await self.process.stdout.readline()).decode():
            if "ws://127.0.0.1:" in line:
                self.rest = asyncio.create_task(self.process.stdout.read())
                return
        raise AssertionError("the server did not start")

    async def stop(self) -> int:
        self.process.terminate()
        return await self.process.wait()

    async def ask(self, method: str, **members: object) -> dict:
        headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}
        url = f"http://127.0.0.1:{self.port}/api/v1/{method}"
        request = urllib.request.Request(url, json.dumps(members).encode(), headers)

        def answer() -> dict:
            with urllib.request.urlopen(request, timeout=10) as response:
                return json.load(response)

        return await asyncio.to_thread(answer)

    async def said(self) -> list[tuple[str, str]]:
        """Who has published what."""
        history = await self.ask("history", channel=CHANNEL, limit=1000)
        publisher = lambda publication: publication.get("publisher", {}).get("user", "the application")  # noqa: E731
        return [(publisher(publication), publication["data"]["text"]) for publication in history["publications"]]


class Program:
    """A language's program, started and heard."""

    def __init__(self, name: str, language: Language, relay: Relay):
        self.name, self.language, self.relay = name, language, relay
        self.token = ""
        self.folder = FOLDER / name
        self.lines: list[str] = []
        self.news = asyncio.Event()

    async def start(self, log: str) -> None:
        environment = {
            **self.environment(),
            "SWITCHBOARD_URL": f"ws://127.0.0.1:{self.relay.port}/ws",
            "SWITCHBOARD_TOKEN": self.token,
        }
        self.log = open(self.folder / log, "w")
        pipe, nothing, both = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL, asyncio.subprocess.STDOUT
        self.process = await asyncio.create_subprocess_exec(
            *self.command(), cwd=self.folder, env=environment, stdin=nothing, stdout=pipe, stderr=both, start_new_session=True
        )
        self.reading = asyncio.create_task(self.read())

    def environment(self) -> dict[str, str]:
        path = f"{pathlib.Path(ABOUT['python'][0]).parent}:{os.environ['PATH']}"
        return {**os.environ, **self.language.environment, "PATH": path}

    async def sign(self) -> None:
        """Has the page's other program sign a token, for a user of the language's name."""
        words = self.language.signs or shlex.split(command(PAGES / self.language.page, "sign"))
        words = [self.name if word == "ann" else word for word in words]
        environment = {**self.environment(), "SWITCHBOARD_SECRET": SECRET}
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*words, cwd=self.folder, env=environment, stdout=pipe)
        self.token = (await process.communicate())[0].decode().strip()

    def command(self) -> list[str]:
        if self.name == "javascript":
            about = {"chromium": ABOUT["chromium"], "folder": str(self.folder), "token": self.token}
            about["live"] = f"ws://127.0.0.1:{self.relay.port}/ws"
            return [*self.language.runs, json.dumps(about)]
        return self.language.runs or shlex.split(command(PAGES / self.language.page, "run"))

    async def read(self) -> None:
        while line := await self.process.stdout.readline():
            self.log.write(line.decode(errors="replace"))
            self.log.flush()
            self.lines.append(line.decode(errors="replace").rstrip("\n"))
            self.news.set()
        self.lines.append("")
        self.news.set()

    async def prints(self, line: str) -> None:
        while line not in self.lines:
            if self.lines[-1:] == [""]:
                raise AssertionError(f"it ended without `{line}`; its output: {self.log.name}")
            self.news.clear()
            await self.news.wait()

    async def ends(self, line: str) -> None:
        await self.prints(line)
        await self.process.wait()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, 9)


def prepare(name: str, language: Language) -> pathlib.Path:
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    write_files(PAGES / language.page, folder)
    if name == "node":
        (folder / "node_modules").symlink_to(ABOUT["node_modules"])
    if name == "java":
        (folder / "gson.jar").symlink_to(GSON)
    if name == "csharp":
        (folder / "Newtonsoft.Json.dll").symlink_to(JSON_NET)
    return folder


async def compile_first(program: Program) -> None:
    for words in program.language.first:
        process = await asyncio.create_subprocess_exec(*words, cwd=program.folder, stdin=asyncio.subprocess.DEVNULL)
        if await process.wait() != 0:
            raise AssertionError(f"`{shlex.join(words)}` fails")


class Run:
    """All programs, and what has been demanded of them. One that failed is not asked again."""

    def __init__(self, server: Server, programs: list[Program]):
        self.server, self.programs = server, programs
        self.failures = 0
        self.published: list[str] = []

    async def publish(self, *texts: str) -> None:
        for text in texts:
            await self.server.ask("publish", channel=CHANNEL, data={"text": text})
            self.published.append(f"the application: {text}")

    async def demand(self, promise: str, what, seconds: float = STEP_SECONDS_MAX) -> None:
        await asyncio.gather(*(self.one(promise, program, what, seconds) for program in list(self.programs)))

    async def one(self, promise: str, program: Program, what, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await what(program)
        except TimeoutError:
            reason = f"not done within {seconds} s; the last that it printed: {program.lines[-1:]}"
        except (AssertionError, OSError) as error:
            reason = str(error)
        else:
            return print(f"ok {program.name}: {promise}", flush=True)
        print(f"not ok {program.name}: {promise}: {reason}", flush=True)
        self.failures += 1
        self.programs.remove(program)

    async def says_hello(self, program: Program) -> None:
        await compile_first(program)
        await program.sign()
        await program.start("output.log")
        says = program.language.says
        await program.prints(f"{program.name}: {says}")
        if (program.name, says) not in await self.server.said():
            raise AssertionError("nothing was published in its name")

    async def hears_all(self, program: Program) -> None:
        """Everything that was published since it has been there, in order and once."""
        await program.prints(self.published[-1])
        heard = [line for line in program.lines if line.startswith("the application: ")]
        if heard != self.published:
            raise AssertionError(f"it heard {heard} of {self.published}")

    async def through_outages(self) -> None:
        await self.demand("signs its token, connects with it, publishes and hears itself", self.says_hello, START_SECONDS_MAX)
        await self.publish("live")
        await self.demand("hears what is published", self.hears_all)
        for program in self.programs:
            program.relay.shut = True
            program.relay.break_all()
        await self.publish("missed 1", "missed 2", "missed 3")
        for program in self.programs:
            program.relay.shut = False
        await self.publish("live again")
        await self.demand("comes back where it was", self.hears_all)
        status = await self.server.stop()
        await self.server.start()
        await self.publish("after the restart")
        await self.demand("survives a restart of the server", self.hears_all)
        for program in self.programs:
            program.relay.silence_all()
        before = {program.name: program.relay.opened for program in self.programs}
        await self.publish("into silence")
        await self.demand("leaves a connection that is silent", lambda program: reconnects(program, before[program.name]))
        await self.demand("misses nothing of that", self.hears_all)
        for program in self.programs:
            await self.server.ask("disconnect", user=program.name, code=4011, reason="signed out")
        await self.demand("ends when it is told to", lambda program: program.ends("ended: signed out"))
        print(f"{'ok' if status == 0 else 'not ok'} the server ends with 0 ({status=})", flush=True)
        self.failures += status != 0

    async def with_a_wrong_token(self) -> None:
        for program in self.programs:
            program.lines.clear()
            # The page learns from its own server that nobody is signed in.
            program.token = "" if program.name == "javascript" else "wrong"
        words = lambda program: "not signed in" if program.name == "javascript" else "the token is refused"  # noqa: E731

        async def is_refused(program: Program) -> None:
            await program.start("refused.log")
            await program.ends(f"ended: {words(program)}")

        await self.demand("ends when its token is refused", is_refused)

    async def publish_from_php(self) -> None:
        environment = {**os.environ, "SWITCHBOARD_API_KEY": API_KEY, "SWITCHBOARD_API_URL": f"http://127.0.0.1:{self.server.port}"}
        once = shlex.split(command(PAGES / "php.md", "once"))
        process = await asyncio.create_subprocess_exec(*once, cwd=FOLDER / "php", env=environment)
        done = await process.wait() == 0 and ("the application", "hello from PHP") in await self.server.said()
        print(f"{'ok' if done else 'not ok'} php: publishes by the HTTP API", flush=True)
        self.failures += not done


async def reconnects(program: Program, before: int) -> None:
    while program.relay.opened == before:
        await asyncio.sleep(0.05)


async def main() -> int:
    shutil.rmtree(FOLDER / "data", ignore_errors=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    server = Server()
    await server.start()
    async with contextlib.AsyncExitStack() as stack:
        programs = []
        for name, language in LANGUAGES.items():
            prepare(name, language)
            relay = await stack.enter_async_context(Relay(server.port))
            programs.append(Program(name, language, relay))
        run = Run(server, list(programs))
        try:
            await run.publish_from_php()
            await run.through_outages()
            await run.with_a_wrong_token()
        finally:
            for program in programs:
                if hasattr(program, "process"):
                    program.kill()
            await server.stop()
    return 1 if run.failures else 0


async def until_told() -> int:
    """What was started ends with this process."""
    running = asyncio.ensure_future(main())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    return await running


if __name__ == "__main__":
    sys.exit(asyncio.run(until_told()))
