"""Many clients at once, against a server of its own: readers that stop reading, and everybody who comes back at the same time. Argument: the server's command, a
folder and how many clients, as JSON. Prints what it measured; only what is promised whatever the machine does is a check.

Whoever is measured beside the crowd is in a process of its own (`crowd.py probe PORT`): in one with the crowd it would wait for the crowd's turns.
"""

import asyncio
import json
import os
import pathlib
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import time

HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
OUTBOX = 64 * 1024
# What is taken from there for a write that the socket does not take.
WRITING = 64 * 1024
CONFIGURATION = f"""\
[server]
listen = "127.0.0.1:0"
admin_listen = "off"
shards = 2
connections_per_address = 100000
[limits]
outbox_bytes = "{OUTBOX}B"
message_bytes = "16KiB"
operations_per_second = 0
[heartbeat]
interval = "1h"
[[namespaces]]
name = "slow"
overflow = "drop_oldest"
history_size = 0
presence = false
[[namespaces]]
name = "room"
presence = false
[[apps]]
id = "main"
secret = "0123456789abcdef0123456789abcdef"
anonymous = [{{ match = "*", allow = ["*"] }}]
""".replace('"65536B"', "65536")
# What connections cost beside what waits for them, and what allocators keep: half as much as the goal for an idle one allows, and some for all.
CONNECTION = 8 * 1024
FLAT = 32 << 20
# A reader's own buffer in the system is made small, and so are its segments (65 KB each on the loopback otherwise): what the system keeps for the server's socket
# grows with them. It takes up to 180 KB like this, and the rest waits in the server.
RECEIVE_BUFFER = 4096
SEGMENT = 536
HEALTHY = 20
PROBES = 300
# What each stalled reader publishes on its own channel, and is to hear itself: what may wait for it, and more than the system keeps for it before (180 KB).
FLOOD = 32
FLOOD_BYTES = 8000
# While somebody is measured beside them they send so many messages a second, all together: as fast as they can they would take the machine, not the server.
FLOOD_PACE = 2000
AT_ONCE = 50


class Server:
    def __init__(self, about, name):
        folder = pathlib.Path(about["folder"]) / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "switchboard.toml").write_text(CONFIGURATION)
        self.log = open(folder / "serve.log", "w")
        command = [*about["command"], "serve", "--config", str(folder / "switchboard.toml"), "--log", "warn"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, stdin=subprocess.DEVNULL, text=True)
        for line in self.process.stdout:
            if found := re.search(r"ws://127\.0\.0\.1:(\d+)/ws", line):
                self.port = int(found[1])
                return
        raise AssertionError(f"the server did not start (its output: {self.log.name})")

    def memory(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        self.log.close()
        assert status == 0, f"exit status {status}"


def frame(message):
    """A masked text frame; the key is zero, so the payload is as it is."""
    payload = json.dumps(message).encode()
    head = bytes([0x81, 0x80 | len(payload)]) if len(payload) < 126 else b"\x81\xfe" + struct.pack("!H", len(payload))
    return head + bytes(4) + payload


class Client:
    """A WebSocket that reads what it is told to read."""

    @classmethod
    async def open(cls, port):
        self = cls()
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        self.writer.write(HANDSHAKE.format(path="/ws").encode())
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head
        assert (await self.next())["type"] == "welcome"
        return self

    async def next(self):
        while True:
            first, length = await self.reader.readexactly(2)
            if length == 126:
                (length,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
            payload = await self.reader.readexactly(length)
            if first == 0x81:
                return json.loads(payload)
            assert first == 0x89, f"closed: {payload!r}"

    async def ask(self, **request):
        self.writer.write(frame({"id": 1, **request}))
        while True:
            answer = await self.next()
            if answer.get("id") == 1:
                assert answer["type"] == "ok", answer
                return answer

    def close(self):
        # At once, as a network that goes away: no Close, and a reset.
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class StalledReader:
    """Subscribes to a channel of its own, publishes on it what nobody else is sent, and never reads."""

    def __init__(self, server, number):
        self.number = number
        self.peer = socket.socket()
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self.peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
        self.peer.connect(("127.0.0.1", server.port))
        request = {"type": "subscribe", "id": 1, "channel": f"slow:{number}"}
        self.peer.sendall(HANDSHAKE.format(path="/ws").encode() + frame(request))
        self.peer.setblocking(False)
        self.sent = 0
        self.unsent = b""

    def flood(self, messages):
        """Sends so many messages, or what the server takes now. Returns whether that was all that it has to say."""
        until = min(self.sent + messages, FLOOD)
        while self.unsent or self.sent < until:
            if not self.unsent:
                data = f"{self.number} {self.sent} {'x' * FLOOD_BYTES}"
                self.unsent = frame({"type": "publish", "channel": f"slow:{self.number}", "data": data})
                self.sent += 1
            try:
                self.unsent = self.unsent[self.peer.send(self.unsent) :]
            except BlockingIOError:
                return False
        return self.sent == FLOOD


async def probe(receivers, publisher):
    """Everybody gets every message, once and in order. Returns the times from the publisher's send to each receiver, in milliseconds: p50 and p99."""
    times = []

    async def receive(client):
        for number in range(PROBES):
            # Before the first, it may have been silent for long.
            while (message := await client.next())["type"] == "ping":
                pass
            assert message["type"] == "message" and message["data"][0] == number, f"{message} and not {number}"
            times.append(time.perf_counter() - message["data"][1])

    reading = [asyncio.create_task(receive(client)) for client in receivers]
    for number in range(PROBES):
        await publisher.ask(type="publish", channel="room:fast", data=[number, time.perf_counter()])
        await asyncio.sleep(0.01)
    await asyncio.gather(*reading)
    times.sort()
    return times[len(times) // 2] * 1000, times[len(times) * 99 // 100] * 1000


async def nothing_else_came(client):
    client.writer.write(frame({"type": "ping", "id": 2}))
    while (message := await client.next())["type"] == "ping":
        pass
    assert (message["type"], message["id"]) == ("pong", 2), message


async def stay_healthy(port):
    """The process of those who read. Each line of its input is a measurement, and its end theirs."""
    receivers = [await Client.open(port) for _ in range(HEALTHY)]
    for client in receivers:
        await client.ask(type="subscribe", channel="room:fast")
    publisher = await Client.open(port)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await probe(receivers, publisher)), flush=True)
    for client in (*receivers, publisher):
        await nothing_else_came(client)


class Healthy:
    @classmethod
    async def begin(cls, server):
        self = cls()
        pipe = asyncio.subprocess.PIPE
        command = [sys.executable, __file__, "probe", str(server.port)]
        self.process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        return self

    async def measure(self):
        self.process.stdin.write(b"\n")
        line = await self.process.stdout.readline()
        assert line, "those who read did not get what they should: see above"
        return json.loads(line)

    async def end(self):
        self.process.stdin.close()
        assert await self.process.wait() == 0, "something came to those who read that was not for them: see above"


async def everybody_floods(readers, pace):
    """Until all that they have to say is sent. `pace` says how many messages a second they send in its time, or `None`."""
    left = readers
    while left:
        behind = []
        for turn, reader in enumerate(left):
            if not reader.flood(1 if pace() else FLOOD):
                behind.append(reader)
            if turn % AT_ONCE == 0:
                await asyncio.sleep(AT_ONCE / pace() if pace() else 0)
        left = behind
        await asyncio.sleep(0.001)


async def stalled_readers_cost_their_bound_and_nobody_else(about):
    server = Server(about, "stalled")
    healthy, witness = await Healthy.begin(server), await Client.open(server.port)
    _, alone = await healthy.measure()
    before = server.memory()
    stalled = [StalledReader(server, number) for number in range(about["clients"])]
    await asyncio.sleep(2)
    idle = server.memory()
    pace = FLOOD_PACE
    flood = asyncio.create_task(everybody_floods(stalled, lambda: pace))
    _, beside = await healthy.measure()
    pace = None
    await flood
    full = server.memory()
    # All that they have sent has its place, although none of them reads.
    for reader in random.sample(stalled, min(len(stalled), 300)):
        while True:
            answer = await witness.ask(type="history", channel=f"slow:{reader.number}", limit=1)
            if answer["position"]["offset"] == FLOOD:
                break
            await asyncio.sleep(0.01)
    _, beside_full = await healthy.measure()
    await healthy.end()
    bound = before + about["clients"] * (OUTBOX + WRITING + CONNECTION) * 11 // 10 + FLAT
    print(
        f"# {about['clients']} stalled readers, {FLOOD} messages of each: memory {before >> 20} MiB before, {idle >> 20} with them, {full >> 20} full, "
        f"bound {bound >> 20}; healthy p99 {alone:.1f} ms alone, {beside:.1f} ms beside them at {FLOOD_PACE} messages a second ({beside / alone:.1f}x, goal 2), "
        f"{beside_full:.1f} ms beside them with all that may wait for them ({beside_full / alone:.1f}x)",
        flush=True,
    )
    assert full <= bound, f"{full} bytes of {bound}"
    # They are still there: whoever is told of what it missed keeps its connection.
    for reader in stalled:
        reader.peer.close()
    witness.close()
    server.end()


async def everybody_comes_back_at_once(about):
    server = Server(about, "storm")
    count, groups = about["clients"], 50
    publisher = await Client.open(server.port)
    for group in range(groups):
        for number in range(20):
            await publisher.ask(type="publish", channel=f"room:{group}", data=number)

    async def come(number, since):
        client = await Client.open(server.port)
        request = {"type": "subscribe", "channel": f"room:{number % groups}"}
        if since:
            request["since"] = since
        return client, await client.ask(**request)

    async def all_of(since, jitter):
        gate = asyncio.Semaphore(500)

        async def one(number):
            await asyncio.sleep(random.uniform(0, jitter))
            async with gate:
                return await come(number, since and since[number])

        return await asyncio.gather(*(one(number) for number in range(count)))

    first = await all_of(None, 0)
    await asyncio.sleep(1)
    before = server.memory()
    positions = [answer["position"] for _, answer in first]
    for client, _ in first:
        client.close()
    for group in range(groups):
        await publisher.ask(type="publish", channel=f"room:{group}", data="while they were away")
    # As clients do that wait for a random time before they try again.
    jitter = min(10.0, count / 1000)
    begin = time.perf_counter()
    second = await all_of(positions, jitter)
    took = time.perf_counter() - begin
    assert all(answer["recovered"] is True for _, answer in second), "somebody could not resume"
    missed = await asyncio.gather(*(client.next() for client, _ in second))
    assert all(message["data"] == "while they were away" for message in missed)
    await asyncio.sleep(1)
    after = server.memory()
    print(
        f"# {count} clients came back within {took:.1f} s (jitter {jitter:.1f} s, goal 60 s); memory {before >> 20} MiB before, "
        f"{after >> 20} after ({after / before:.2f}x, goal 1.3)",
        flush=True,
    )
    assert after <= before * 13 // 10 + FLAT, f"{after} bytes after {before}"
    for client, _ in second:
        client.close()
    publisher.close()
    server.end()


def main():
    if sys.argv[1] == "probe":
        return asyncio.run(stay_healthy(int(sys.argv[2])))
    about = json.loads(sys.argv[1])
    failures = 0
    for check in (stalled_readers_cost_their_bound_and_nobody_else, everybody_comes_back_at_once):
        name = check.__name__.replace("_", " ")
        try:
            asyncio.run(asyncio.wait_for(check(about), about["seconds"]))
            print(f"ok {name}", flush=True)
        except Exception as error:
            failures += 1
            print(f"not ok {name}: {type(error).__name__}: {str(error)[:300]}", flush=True)
    sys.stdout.flush()
    os._exit(1 if failures else 0)


if __name__ == "__main__":
    main()
