"""What clients see when the server is told to stop: each gets `disconnect` and a Close with 1001, no new one gets in, and what was
acknowledged has arrived. Argument: the server, as in native.py, with its process id.
"""

import asyncio
import json
import os
import signal
import uuid

from checks import equal, main
from native import Client, Server
from websockets.exceptions import ConnectionClosed, InvalidHandshake

CLIENTS = 50


async def everyone_is_told_and_closed_with_1001(about):
    server, room = Server(about), f"room:{uuid.uuid4().hex}"
    clients = [await Client(server).__aenter__() for _ in range(CLIENTS)]
    raws = [await server.connect("/chat") for _ in range(3)]
    for client in clients:
        await client.request("subscribe", channel=room)
    await clients[0].request("publish", channel=room, data="the last words")
    os.kill(json.loads(about)["pid"], signal.SIGTERM)
    for client in clients:
        equal([data for data, _ in await client.publications(1)], ["the last words"])
        end = await client.next()
        equal((end["type"], end["code"], end["reconnect"]), ("disconnect", 1001, True))
        equal(await code(client.socket), 1001)
    for raw in raws:
        equal(await code(raw), 1001)


async def code(socket):
    try:
        while True:
            await socket.recv()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else "no Close"


async def nobody_new_gets_in(about):
    await asyncio.sleep(0.2)
    try:
        async with Client(Server(about)):
            raise AssertionError("connected")
    except (OSError, InvalidHandshake):
        pass


if __name__ == "__main__":
    main(everyone_is_told_and_closed_with_1001, nobody_new_gets_in)
