"""Python's `websockets` as the client of our echo server. Argument: its address."""

import asyncio
import os

from checks import equal, main
from websockets.asyncio.client import connect

MIB = 1 << 20


def open_socket(url):
    # No compression: the server has none yet, and the offer must not disturb it.
    return connect(url, max_size=None, close_timeout=5)


async def echoed(url, message, expected=None):
    async with open_socket(url) as socket:
        await socket.send(message)
        equal(await socket.recv(), message if expected is None else expected)


async def text(url):
    await echoed(url, "κόσμε — 🌍")


async def binary(url):
    await echoed(url, bytes(range(256)))


async def empty_text_and_binary(url):
    await echoed(url, "")
    await echoed(url, b"")


async def length_edges(url):
    async with open_socket(url) as socket:
        for length in (125, 126, 127, 65535, 65536, 65537):
            message = os.urandom(length)
            await socket.send(message)
            equal(await socket.recv(), message)


async def fragmented_text(url):
    # The cut goes through characters: fragments need not be UTF-8 each, only their sum (RFC 6455 §5.6).
    whole = "é🌍" * 500
    raw = whole.encode()
    async with open_socket(url) as socket:
        await socket.send((raw[i : i + 7] for i in range(0, len(raw), 7)), text=True)
        equal(await socket.recv(), whole)


async def fragmented_binary(url):
    parts = [os.urandom(length) for length in (0, 1, 200, 0, 70000)]
    await echoed(url, iter(parts), b"".join(parts))


async def one_MiB_text(url):
    await echoed(url, "🌍 " * (MIB // 5))


async def one_MiB_binary(url):
    await echoed(url, os.urandom(MIB))


async def ping(url):
    async with open_socket(url) as socket:
        for payload in (b"", b"mark", os.urandom(125)):
            await (await socket.ping(payload))


async def ping_inside_a_fragmented_message(url):
    async with open_socket(url) as socket:
        pongs = []

        async def parts():
            yield b"first "
            pongs.append(await socket.ping(b"between"))
            yield b"second"

        await socket.send(parts())
        await pongs[0]
        equal(await socket.recv(), b"first second")


async def a_thousand_in_flight(url):
    async with open_socket(url) as socket:
        sent = [f"message {i}" for i in range(1000)]
        replies = asyncio.create_task(take(socket, len(sent)))
        for message in sent:
            await socket.send(message)
        equal(await replies, sent)


async def take(socket, count):
    return [await socket.recv() for _ in range(count)]


async def close_without_code_of_ours(url):
    async with open_socket(url) as socket:
        await socket.close()
        equal((socket.close_code, socket.close_reason), (1000, ""))


async def close_with_code_and_reason(url):
    async with open_socket(url) as socket:
        await socket.close(4321, "fertig — done")
        equal((socket.protocol.close_rcvd.code, socket.protocol.close_rcvd_then_sent), (4321, False))


async def close_after_a_message_still_gets_its_echo(url):
    async with open_socket(url) as socket:
        await socket.send("last words")
        closing = asyncio.create_task(socket.close(1000))
        equal(await socket.recv(), "last words")
        await closing


if __name__ == "__main__":
    main(
        text,
        binary,
        empty_text_and_binary,
        length_edges,
        fragmented_text,
        fragmented_binary,
        one_MiB_text,
        one_MiB_binary,
        ping,
        ping_inside_a_fragmented_message,
        a_thousand_in_flight,
        close_without_code_of_ours,
        close_with_code_and_reason,
        close_after_a_message_still_gets_its_echo,
    )
