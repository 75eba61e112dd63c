"""Owns a port that leads to a server, and what can go wrong on the way: connections that break, and connections that fall silent. Knows
nothing of what passes.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct


class Relay:
    """`async with Relay(port) as relay`: connections to `relay.port` lead to 127.0.0.1:`port`."""

    def __init__(self, port: int):
        self.to = port
        self.opened = 0
        self.shut = False
        # Those that are open, each with both of its ends; those that are in `silent` lead nowhere any more.
        self.pairs: dict[object, tuple[asyncio.StreamWriter, ...]] = {}
        self.silent: set[object] = set()

    async def __aenter__(self) -> Relay:
        self.server = await asyncio.start_server(self.accept, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        self.break_all()

    def break_all(self) -> None:
        for pair in self.pairs.values():
            for writer in pair:
                # A reset, without a word before it.
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()

    def silence_all(self) -> None:
        self.silent.update(self.pairs)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.shut:
            return writer.transport.abort()
        self.opened += 1
        name = object()
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            return writer.transport.abort()
        self.pairs[name] = (writer, server_writer)
        try:
            ways = (self.pass_on(name, reader, server_writer), self.pass_on(name, server_reader, writer))
            await asyncio.gather(*ways)
        finally:
            self.silent.discard(name)
            for end in self.pairs.pop(name):
                end.transport.abort()

    async def pass_on(self, name: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if name not in self.silent:
                    writer.write(data)
                    await writer.drain()
            if name not in self.silent:
                writer.write_eof()
