"""Python's `aiohttp` as the client of our echo server. Argument: its address."""

import asyncio
import contextlib
import os

import aiohttp
from checks import equal, main

MIB = 1 << 20


class Socket:
    """One session and its one WebSocket, opened and closed together."""

    def __init__(self, url, **options):
        self.url = url
        self.options = options

    async def __aenter__(self):
        self.session = aiohttp.ClientSession()
        try:
            self.socket = await self.session.ws_connect(self.url, max_msg_size=0, **self.options)
        except BaseException:
            await self.session.close()
            raise
        return self.socket

    async def __aexit__(self, *_):
        await self.socket.close()
        await self.session.close()


async def text(url):
    async with Socket(url) as socket:
        await socket.send_str("κόσμε — 🌍")
        equal(await socket.receive_str(), "κόσμε — 🌍")


async def binary(url):
    async with Socket(url) as socket:
        await socket.send_bytes(bytes(range(256)))
        equal(await socket.receive_bytes(), bytes(range(256)))


async def one_MiB(url):
    async with Socket(url) as socket:
        message = os.urandom(MIB)
        await socket.send_bytes(message)
        equal(await socket.receive_bytes(), message)
        await socket.send_str("🌍 " * (MIB // 5))
        equal(await socket.receive_str(), "🌍 " * (MIB // 5))


async def ping(url):
    async with Socket(url, autoping=False) as socket:
        await socket.ping(b"mark")
        message = await socket.receive()
        equal((message.type, bytes(message.data)), (aiohttp.WSMsgType.PONG, b"mark"))


async def its_heartbeat_is_answered(url):
    async with Socket(url, heartbeat=0.1) as socket:
        await socket.send_str("still here")
        equal(await socket.receive_str(), "still here")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await socket.receive()
        equal(socket.closed, False)


async def close_with_code_and_reason(url):
    async with Socket(url) as socket:
        equal(await socket.close(code=4321, message="fertig — done".encode()), True)
        equal(socket.close_code, 4321)


if __name__ == "__main__":
    main(text, binary, one_MiB, ping, its_heartbeat_is_answered, close_with_code_and_reason)
