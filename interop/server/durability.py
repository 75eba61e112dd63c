"""What was acknowledged survives: the server is killed with SIGKILL at random moments under load and started again on the same folder,
and its disk is made full. Argument: the server's command, a folder and how many times to kill it, as JSON.
"""

import asyncio
import contextlib
import itertools
import json
import pathlib
import random
import re
import resource
import shutil
import signal
import subprocess
import time

from checks import equal, run
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidMessage

CHANNELS = ("room:a", "room:b", "plain", "deep/er")
# What a publication does to its channel's cached value: mostly nothing.
CACHE = ("keep", "clear", *[None] * 10)
PUBLISHERS = 6
WINDOW = 8
CONFIGURATION = """\
[server]
listen = "127.0.0.1:0"
admin_listen = "off"
shards = 2
[limits]
operations_per_second = 0
[channels]
history_size = 20000
history_bytes = "64MiB"
history_ttl = "24h"
idempotency_ttl = "1h"
idempotency_ids = 100000
[[namespaces]]
name = "live"
history_size = 0
[[apps]]
id = "main"
secret = "0123456789abcdef0123456789abcdef"
anonymous = [{ match = "*", allow = ["*"] }]
"""


class Server:
    """A server on a folder, as its own process."""

    def __init__(self, about, folder, limit=None):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "switchboard.toml").write_text(CONFIGURATION)
        command = [*about["command"], "serve", "--config", str(folder / "switchboard.toml"), "--data-dir", str(folder / "data")]
        self.log = open(folder / "serve.log", "a")
        prepare = None if limit is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, -1))
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self.log, stdin=subprocess.DEVNULL, text=True, preexec_fn=prepare
        )
        for line in self.process.stdout:
            if found := re.search(r"(ws://127\.0\.0\.1:\d+/ws)", line):
                self.url = found[1]
                return
        raise AssertionError(f"the server did not start (its output: {self.log.name})")

    def end(self, how):
        self.process.send_signal(how)
        status = self.process.wait(30)
        self.log.close()
        return status


class Client:
    """Requests with their answers, and publications as they come."""

    def __init__(self, socket):
        self.socket = socket
        self.numbers = itertools.count(1)
        self.others = []

    async def send(self, kind, **members):
        number = next(self.numbers)
        await self.socket.send(json.dumps({"type": kind, "id": number, **members}))
        return number

    async def request(self, kind, **members):
        number = await self.send(kind, **members)
        while True:
            message = json.loads(await self.socket.recv())
            if message.get("id") == number:
                return message
            self.others.append(message)


@contextlib.asynccontextmanager
async def client(server):
    async with connect(server.url, max_size=None, compression=None) as socket:
        equal(json.loads(await socket.recv())["type"], "welcome")
        yield Client(socket)


class Books:
    """What clients were told, and has not been found in the history yet. `kept` are the numbers of all messages that have been."""

    def __init__(self):
        self.epochs = {}
        self.acknowledged = {channel: {} for channel in CHANNELS}
        self.unanswered = {}
        self.seen = {}
        self.cached = {}
        self.checked = dict.fromkeys(CHANNELS, 0)
        self.kept = set()
        self.told = 0
        self.serial = itertools.count(1)

    def answer(self, channel, data, answer):
        assert answer["type"] == "ok", answer
        position = answer["position"]
        equal(self.epochs.setdefault(channel, position["epoch"]), position["epoch"])
        if position["offset"] > self.checked[channel]:
            equal(self.acknowledged[channel].setdefault(position["offset"], data), data)
        self.unanswered.pop(data, None)


async def history(connection, channel, epoch, offset):
    """Everything after a position."""
    found = []
    while True:
        answer = await connection.request("history", channel=channel, since={"epoch": epoch, "offset": offset}, limit=1000)
        assert answer["type"] == "ok", answer
        found += [(one["offset"], one["data"]) for one in answer["publications"]]
        if not answer["more"]:
            return found
        offset = found[-1][0]


async def check(server, books):
    """All that was acknowledged is there, in its place; whoever was subscribed can go on; what was not answered is asked once more."""
    async with client(server) as connection:
        for channel, epoch in books.epochs.items():
            checked, told = books.checked[channel], books.acknowledged[channel]
            kept = await history(connection, channel, epoch, checked)
            equal([offset for offset, _ in kept], sorted({offset for offset, _ in kept}))
            there = dict(kept)
            equal([offset for offset in told if there.get(offset) != told[offset]], [])
            numbers = [int(data.split(" ")[1]) for _, data in kept]
            equal([number for number in numbers if number in books.kept], [])
            books.kept.update(numbers)
            books.told += len(told)
            told.clear()
            books.checked[channel] = max([checked, *there])
            for offset, data in kept:
                if (effect := data.split(" ")[2]) in ("keep", "clear"):
                    books.cached[channel] = (offset, data) if effect == "keep" else None
            await check_cached(connection, channel, books.cached.get(channel))
            if channel in books.seen:
                since = {"epoch": epoch, "offset": books.seen[channel]}
                answer = await connection.request("subscribe", channel=channel, since=since)
                equal(answer.get("recovered"), True)
                missed = await caught_up(connection, channel)
                expected = await history(connection, channel, epoch, books.seen[channel])
                equal(missed, [offset for offset, _ in expected])
                books.seen[channel] = max([books.seen[channel], *missed])
        for data, channel in list(books.unanswered.items()):
            answer = await connection.request("publish", **publication(channel, data))
            books.answer(channel, data, answer)


async def check_cached(connection, channel, cached):
    """The cached value is the last publication that became it, unless a later one cleared it: the history has them all."""
    equal((await connection.request("subscribe", channel=channel, cached=True))["type"], "ok")
    equal((await connection.request("unsubscribe", channel=channel))["type"], "ok")
    told = [(message["offset"], message["data"]) for message in connection.others if message.get("cached")]
    connection.others.clear()
    equal(told, [cached] if cached else [])


async def caught_up(connection, channel):
    offsets = []
    while True:
        message = connection.others.pop(0) if connection.others else json.loads(await connection.socket.recv())
        if message.get("channel") == channel and message["type"] == "message":
            offsets.append(message["offset"])
        elif message.get("channel") == channel and message["type"] == "caught_up":
            return offsets


def publication(channel, data):
    """The members of a request to publish, as the data says them."""
    cache = {"cache": word} if (word := data.split(" ")[2]) else {}
    return {"channel": channel, "data": data, "idempotency_key": data[:40].strip(), **cache}


# How a client finds the server gone: in the midst of its handshake too.
GONE = ConnectionClosed, InvalidMessage, OSError


async def publish(server, books):
    """Publishes until the server is gone."""
    with contextlib.suppress(*GONE):
        async with client(server) as connection:
            asked = {}
            while True:
                while len(asked) < WINDOW:
                    cache, channel = random.choice(CACHE), random.choice(CHANNELS)
                    data = f"message {next(books.serial)} {cache or ''} {'x' * random.randrange(200)}"
                    books.unanswered[data] = channel
                    asked[await connection.send("publish", **publication(channel, data))] = channel, data
                answer = json.loads(await connection.socket.recv())
                if answer.get("id") in asked:
                    books.answer(*asked.pop(answer["id"]), answer)


async def subscribe(server, books):
    """Follows every channel until the server is gone."""
    with contextlib.suppress(*GONE):
        async with client(server) as connection:
            for channel in CHANNELS:
                answer = await connection.request("subscribe", channel=channel)
                books.seen[channel] = max(books.seen.get(channel, 0), answer["position"]["offset"])
                equal(books.epochs.setdefault(channel, answer["position"]["epoch"]), answer["position"]["epoch"])
            while True:
                message = connection.others.pop(0) if connection.others else json.loads(await connection.socket.recv())
                if message["type"] == "message":
                    channel, offset = message["channel"], message["offset"]
                    assert offset > books.seen[channel], f"{channel} {offset} after {books.seen[channel]}"
                    books.seen[channel] = offset


async def nothing_acknowledged_is_lost_by_kill_9(about):
    folder, books = pathlib.Path(about["folder"]) / "kill", Books()
    shutil.rmtree(folder, ignore_errors=True)
    for cycle in range(about["cycles"]):
        if cycle % 100 == 0 and cycle > 0:
            print(f"# {cycle} kills, {books.told} acknowledged", flush=True)
        server = Server(about, folder)
        await check(server, books)
        tasks = [asyncio.create_task(subscribe(server, books))]
        tasks += [asyncio.create_task(publish(server, books)) for _ in range(PUBLISHERS)]
        await asyncio.sleep(random.uniform(0.05, 0.8))
        server.end(signal.SIGKILL)
        await asyncio.gather(*tasks)
    server = Server(about, folder)
    await check(server, books)
    # Once more for what was asked again just now.
    await check(server, books)
    assert books.told > about["cycles"], "nothing was published"
    equal(server.end(signal.SIGTERM), 0)
    print(f"# {about['cycles']} kills, {books.told} acknowledged, {len(books.kept)} kept, none lost", flush=True)


async def a_full_disk_refuses_what_it_cannot_keep(about):
    folder = pathlib.Path(about["folder"]) / "full"
    shutil.rmtree(folder, ignore_errors=True)
    server, told = Server(about, folder, limit=200_000), []
    async with client(server) as connection:
        while True:
            answer = await connection.request("publish", channel="a", data=f"{len(told)} {'x' * 1000}")
            if answer["type"] == "error":
                break
            told.append(answer["position"]["offset"])
        equal((answer["code"], answer["temporary"]), ("unavailable", True))
        epoch = (await connection.request("history", channel="a", limit=1))["position"]["epoch"]
        equal([offset for offset, _ in await history(connection, "a", epoch, 0)], told)
        # What keeps nothing needs no disk.
        equal((await connection.request("publish", channel="live:x", data=1))["type"], "ok")
        equal((await connection.request("publish", channel="a", data=1))["type"], "error")
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (-1, -1))
        deadline = time.monotonic() + 20
        while (answer := await connection.request("publish", channel="a", data="after"))["type"] == "error":
            assert time.monotonic() < deadline, "it does not go on"
            await asyncio.sleep(0.1)
        told.append(answer["position"]["offset"])
    server.end(signal.SIGKILL)
    server = Server(about, folder)
    async with client(server) as connection:
        equal([offset for offset, _ in await history(connection, "a", epoch, 0)], told)
    equal(server.end(signal.SIGTERM), 0)


if __name__ == "__main__":
    import os
    import sys

    import checks

    given = json.loads(sys.argv[1])
    checks.SECONDS_MAX = 60 + 5 * given["cycles"]
    failures = asyncio.run(run(given, (nothing_acknowledged_is_lost_by_kill_9, a_full_disk_refuses_what_it_cannot_keep)))
    sys.stdout.flush()
    os._exit(1 if failures else 0)
