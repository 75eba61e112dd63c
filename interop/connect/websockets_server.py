"""Python's `websockets` as the server of our client. Arguments: for wss, the files of the certificate and its key. Prints
`listening on ADDRESS`. What it does depends on the path:

/echo              sends back what it gets
/fragments         sends one message in fragments with a ping between them, then closes
/ping              pings, and says `pong` when the answer came
/close/CODE/REASON closes
/closed            the code and the reason that the last client closed with
/refuse            answers the handshake with 403
"""

import asyncio
import http
import ssl
import sys
import urllib.parse

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

last_close = "none"


async def handle(socket):
    path = urllib.parse.unquote(socket.request.path)
    verb, *rest = path.removeprefix("/").split("/")
    if verb == "echo":
        await echo(socket)
    elif verb == "fragments":
        await socket.send(fragments(socket))
    elif verb == "ping":
        await (await socket.ping(b"are you there"))
        await socket.send("pong")
        await socket.wait_closed()
    elif verb == "close":
        await socket.close(int(rest[0]), rest[1])
    elif verb == "closed":
        await socket.send(last_close)


async def echo(socket):
    global last_close
    try:
        async for message in socket:
            await socket.send(message)
    except ConnectionClosed:
        # An abnormal code: it is what `/closed` is to tell.
        pass
    closed = socket.protocol.close_rcvd
    last_close = f"{closed.code} {closed.reason}" if closed else "none"


async def fragments(socket):
    yield "one "
    await (await socket.ping(b"between"))
    yield ""
    yield "two — 🌍"


def refuse(socket, request):
    return socket.respond(http.HTTPStatus.FORBIDDEN, "not here\n") if request.path == "/refuse" else None


def select(_, offered):
    # The library's own selection refuses clients that offer none.
    return next((name for name in ("second", "third") if name in offered), None)


def tls(files):
    if not files:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files)
    return context


async def main():
    options = {"process_request": refuse, "select_subprotocol": select, "max_size": None}
    options["ssl"] = tls(sys.argv[1:])
    async with serve(handle, "127.0.0.1", 0, **options) as server:
        print("listening on 127.0.0.1:%d" % server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


asyncio.run(main())
