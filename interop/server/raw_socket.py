"""Owns a WebSocket peer that may break every rule: a handshake of any text, frames of any bits. Knows nothing of checks."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import urllib.parse

from native import Server

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, masked: bool = True) -> bytes:
    head = bytes([fin << 7 | rsv << 4 | opcode])
    mark = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes([mark | len(payload)])
    elif len(payload) < 65536:
        head += bytes([mark | 126]) + struct.pack("!H", len(payload))
    else:
        head += bytes([mark | 127]) + struct.pack("!Q", len(payload))
    if not masked:
        return head + payload
    key = os.urandom(4)
    stream = key * (len(payload) // 4 + 1)
    return head + key + bytes(a ^ b for a, b in zip(payload, stream))


def request(path: str, host: str = "127.0.0.1", method: str = "GET", without: tuple[str, ...] = (), **headers: str) -> bytes:
    """An upgrade request. A header is named with `_` for `-`; its line is left out if it is in `without`."""
    lines = {
        "Host": host,
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if name not in without)
    return f"{method} {path} HTTP/1.1\r\n{text}\r\n".encode()


class Raw:
    """`async with Raw(server) as raw`."""

    def __init__(self, server: Server):
        self.address = urllib.parse.urlsplit(server.base)
        self.tls = server.tls()
        self.host = self.address.netloc

    async def __aenter__(self) -> Raw:
        self.reader, self.writer = await asyncio.open_connection(
            self.address.hostname, self.address.port, ssl=self.tls, limit=1 << 20
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    async def send(self, *chunks: bytes) -> None:
        for chunk in chunks:
            self.writer.write(chunk)
            await self.writer.drain()

    def reset(self) -> None:
        """Ends the TCP connection with RST instead of FIN."""
        # None when TLS has closed it already.
        if raw := self.writer.get_extra_info("socket"):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def response(self) -> tuple[int, dict[str, str]]:
        """The status and the headers (names in lower case) of an HTTP response."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = (line.split(":", 1) for line in head[1:] if line)
        return int(head[0].split(" ")[1]), {name.lower(): value.strip() for name, value in headers}

    async def upgrade(self, path: str = "/ws", **headers: str) -> None:
        await self.send(request(path, self.host, **headers))
        status, _ = await self.response()
        if status != 101:
            raise AssertionError(f"the handshake was answered with {status}")

    async def frame(self) -> tuple[int, bytes]:
        """The next frame of the server: opcode and payload."""
        first, second = await self.reader.readexactly(2)
        if second & 0x80:
            raise AssertionError("the server masked a frame")
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", await self.reader.readexactly(8))
        return first & 0x0F, await self.reader.readexactly(length)

    async def close_code(self) -> int:
        """Reads to the server's Close frame, then to the end of the connection."""
        while True:
            opcode, payload = await self.frame()
            if opcode == CLOSE:
                break
        # §7.1.1: the server closes the TCP connection first.
        await self.ended()
        return int.from_bytes(payload[:2], "big")

    async def ended(self) -> bytes:
        """What still comes before the end of the connection, be it FIN or RST."""
        rest = b""
        try:
            while chunk := await self.reader.read(65536):
                rest += chunk
        except ConnectionError:
            pass
        return rest
