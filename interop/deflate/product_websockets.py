"""Python's `websockets` with every kind of compression in one room of the server. Argument: the server, as in interop/server/native.py."""

import asyncio
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from checks import equal, main  # noqa: E402
from messages import JSON, messages  # noqa: E402
from websockets.asyncio.client import connect  # noqa: E402
from websockets.exceptions import ConnectionClosedError  # noqa: E402
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory  # noqa: E402

KINDS = [
    None,
    {},
    {"server_no_context_takeover": True, "client_no_context_takeover": True},
    {"server_max_window_bits": 10, "client_max_window_bits": 10},
    {"server_max_window_bits": 9},
    {"client_max_window_bits": True},
]


def join(about, path, params):
    extensions = None if params is None else [ClientPerMessageDeflateFactory(**params)]
    url = json.loads(about)["base"] + path
    return connect(url, compression=None, extensions=extensions, max_size=None, close_timeout=5)


async def hears(socket, sent):
    for message in sent:
        equal(await socket.recv(), message)


async def clients_of_every_kind_hear_the_same_from_each_of_them(about):
    for number, kind in enumerate(KINDS):
        path = f"/raw/from-{number}"
        sent = list(messages())
        async with asyncio.TaskGroup() as group:
            sockets = [await join(about, path, other) for other in [*KINDS, kind]]
            for socket in sockets:
                group.create_task(hears(socket, sent))
            for message in sent:
                await sockets[-1].send(message)
        for socket in sockets:
            await socket.close()


async def the_fourth_keeps_no_context(about):
    takeovers = []
    sockets = [await join(about, "/chat", {}) for _ in range(4)]
    for socket in sockets:
        [extension] = socket.protocol.extensions
        takeovers.append(not extension.remote_no_context_takeover)
    equal(takeovers, [True, True, True, False])
    for socket in sockets:
        await socket.close()


async def a_bomb_is_1009_and_others_live_on(about):
    async with join(about, "/chat", {}) as witness, join(about, "/chat", {}) as socket:
        try:
            await socket.send(" " * (64 << 20))
            await socket.recv()
        except ConnectionClosedError as error:
            equal(error.rcvd.code, 1009)
        else:
            raise AssertionError("it was taken")
        await witness.send(JSON)
        equal(await witness.recv(), JSON)


main(
    clients_of_every_kind_hear_the_same_from_each_of_them,
    the_fourth_keeps_no_context,
    a_bomb_is_1009_and_others_live_on,
)
