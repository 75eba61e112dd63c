"""Python's `websockets` with compression as the server of our echo client. Arguments: the client's command.

Each check is a server of its own that the client is started for: it plays one case and judges the echo.
"""

import asyncio
import itertools
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from checks import equal, main  # noqa: E402
from messages import JSON, messages  # noqa: E402
from websockets.asyncio.server import serve  # noqa: E402
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory  # noqa: E402


async def played(sent, **params):
    """Sends these to our client, and gives what was agreed."""
    results = []

    async def handle(socket):
        if socket.request.path == "/getCaseCount":
            await socket.send("1")
        elif socket.request.path.startswith("/runCase"):
            try:
                for message in sent:
                    await socket.send(message)
                    echo = await socket.recv()
                    equal(echo, message if isinstance(message, str | bytes) else b"".join(message))
                results.append(socket.protocol.extensions)
            except Exception as error:
                results.append(error)

    factory = ServerPerMessageDeflateFactory(**params)
    async with serve(handle, "127.0.0.1", 0, compression=None, extensions=[factory], max_size=None) as server:
        port = server.sockets[0].getsockname()[1]
        client = await asyncio.create_subprocess_exec(*sys.argv[1:], f"ws://127.0.0.1:{port}", "us", stdout=-3, stderr=-3)
        equal(await client.wait(), 0)
    [result] = results
    if isinstance(result, Exception):
        raise result
    [extension] = result
    return extension


async def context_takeover_in_every_combination(_):
    for server, client in itertools.product((False, True), repeat=2):
        params = {"server_no_context_takeover": server, "client_no_context_takeover": client}
        extension = await played(messages(), **params)
        # For a server, local is the server and remote the client.
        equal(extension.local_no_context_takeover, server)
        equal(extension.remote_no_context_takeover, client)


async def every_window_of_the_server(_):
    for bits in range(9, 16):
        extension = await played(messages(), server_max_window_bits=bits)
        equal(extension.local_max_window_bits, bits)


async def every_window_of_the_client(_):
    # With 8, which no compressor of ours has, it sends everything as it is.
    for bits in range(8, 16):
        extension = await played(messages(), client_max_window_bits=bits)
        equal(extension.remote_max_window_bits, bits)


async def fragmented(_):
    raw = (JSON * 100).encode()
    await played([[raw[i : i + 7] for i in range(0, len(raw), 7)], [raw, b""]])


if __name__ == "__main__":
    main(
        context_takeover_in_every_combination,
        every_window_of_the_server,
        every_window_of_the_client,
        fragmented,
    )
