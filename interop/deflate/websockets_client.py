"""Python's `websockets` with compression as the client of our echo server. Argument: its address."""

import asyncio
import itertools
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from checks import equal, main  # noqa: E402
from messages import JSON, MIB, messages  # noqa: E402
from websockets.asyncio.client import connect  # noqa: E402
from websockets.exceptions import ConnectionClosedError  # noqa: E402
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory  # noqa: E402


def open_socket(url, **params):
    factory = ClientPerMessageDeflateFactory(**params)
    return connect(url, max_size=None, compression=None, extensions=[factory], close_timeout=5)


async def echoed(socket, sent):
    for message in sent:
        await socket.send(message)
        equal(await socket.recv(), message)


def agreed(socket):
    [extension] = socket.protocol.extensions
    return extension


async def context_takeover_in_every_combination(url):
    for server, client in itertools.product((False, True), repeat=2):
        params = {"server_no_context_takeover": server, "client_no_context_takeover": client}
        async with open_socket(url, **params) as socket:
            # Takeover is named from the side of whoever decodes and encodes: for a client, remote is the server.
            equal(agreed(socket).remote_no_context_takeover, server)
            equal(agreed(socket).local_no_context_takeover, client)
            await echoed(socket, messages())


async def every_window_of_the_server(url):
    for bits in range(9, 16):
        async with open_socket(url, server_max_window_bits=bits) as socket:
            equal(agreed(socket).remote_max_window_bits, bits)
            await echoed(socket, messages())


async def every_window_of_the_client(url):
    for bits in (True, *range(9, 16)):
        async with open_socket(url, client_max_window_bits=bits) as socket:
            await echoed(socket, messages())


async def a_window_of_eight_bits_is_declined(url):
    async with open_socket(url, server_max_window_bits=8) as socket:
        equal(list(socket.protocol.extensions), [])
        await echoed(socket, [JSON])


async def the_next_offer_does(url):
    offers = [ClientPerMessageDeflateFactory(server_max_window_bits=bits) for bits in (8, 10)]
    async with connect(url, compression=None, extensions=offers) as socket:
        equal(agreed(socket).remote_max_window_bits, 10)
        await echoed(socket, [JSON])


async def the_default_of_the_library(url):
    async with connect(url, max_size=None) as socket:
        equal(agreed(socket).name, "permessage-deflate")
        await echoed(socket, messages())


async def fragmented(url):
    raw = (JSON * 100).encode()
    async with open_socket(url) as socket:
        for step in (7, 1000):
            await socket.send((raw[i : i + step] for i in range(0, len(raw), step)), text=True)
            equal(await socket.recv(), raw.decode())


async def a_thousand_in_flight(url):
    async with open_socket(url) as socket:
        sent = [f"{JSON} {i}" for i in range(1000)]

        async def take():
            return [await socket.recv() for _ in sent]

        replies = asyncio.create_task(take())
        for message in sent:
            await socket.send(message)
        equal(await replies, sent)


async def a_bomb_is_refused(url):
    async with open_socket(url) as socket:
        try:
            # The server takes 64 MiB.
            await socket.send(bytes(100 * MIB))
            await socket.recv()
        except ConnectionClosedError as closed:
            equal(closed.rcvd.code, 1009)
        else:
            raise AssertionError("it was taken")


async def malformed_data_is_refused(url):
    async with open_socket(url) as socket:
        # A block of a type that there is not, where the library would write what zlib has made.
        agreed(socket).encoder = Broken()
        try:
            await socket.send(JSON)
            await socket.recv()
        except ConnectionClosedError as closed:
            equal(closed.rcvd.code, 1007)
        else:
            raise AssertionError("it was taken")


class Broken:
    def compress(self, _):
        return b"\x07"

    def flush(self, _):
        return b"\x07\x00\x00\xff\xff"


async def what_comes_back_is_compressed(url):
    async with open_socket(url) as socket:
        counting = agreed(socket).decoder = Counting(agreed(socket).decoder)
        await echoed(socket, [JSON * 100])
        if not 0 < counting.bytes < len(JSON) * 10:
            raise AssertionError(f"{counting.bytes} bytes came for {len(JSON) * 100}")


class Counting:
    def __init__(self, decoder):
        self.decoder, self.bytes = decoder, 0

    def decompress(self, data, *rest):
        self.bytes += len(data)
        return self.decoder.decompress(data, *rest)

    def __getattr__(self, name):
        return getattr(self.decoder, name)


if __name__ == "__main__":
    main(
        context_takeover_in_every_combination,
        every_window_of_the_server,
        every_window_of_the_client,
        a_window_of_eight_bits_is_declined,
        the_next_offer_does,
        the_default_of_the_library,
        fragmented,
        a_thousand_in_flight,
        a_bomb_is_refused,
        malformed_data_is_refused,
        what_comes_back_is_compressed,
    )
