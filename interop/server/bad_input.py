"""What a client must not do, each with the status, the close code or the error that it gets. After each, an innocent client that was
there before and a new one still talk to each other. Argument: the server, as in native.py.
"""

import asyncio
import functools
import uuid

from checks import equal, main
from native import Client, Server
from raw_socket import BINARY, CLOSE, CONTINUATION, PING, TEXT, Raw, frame, request

MESSAGE_BYTES_MAX = 65536


def with_an_innocent_client(check):
    @functools.wraps(check)
    async def checked(about):
        server, room = Server(about), f"room:{uuid.uuid4().hex}"
        async with Client(server) as before:
            await before.request("subscribe", channel=room)
            await check(server)
            async with Client(server) as after:
                await after.request("subscribe", channel=room)
                await before.request("publish", channel=room, data="from the one before")
                await after.request("publish", channel=room, data="from the one after")
                for client in (before, after):
                    found = [data for data, _ in await client.publications(2)]
                    equal(found, ["from the one before", "from the one after"])

    return checked


async def status_of(server, text):
    async with Raw(server) as raw:
        await raw.send(text)
        return (await raw.response())[0]


async def code_of(server, *frames, path="/ws"):
    """The code that the server closes with, or what happens instead."""
    async with Raw(server) as raw:
        await raw.upgrade(path)
        try:
            async with asyncio.timeout(5):
                try:
                    await raw.send(*frames)
                except ConnectionError:
                    # The server may have closed before all was sent; its Close frame is there all the same.
                    pass
                return await raw.close_code()
        except TimeoutError:
            return "nothing within 5 s"
        except (ConnectionError, asyncio.IncompleteReadError):
            return "ended without a Close frame"


@with_an_innocent_client
async def garbage_instead_of_http(server):
    for garbage in (b"\x00" * 1000, b"hello\r\n\r\n", b"\x16\x03\x01\x02\x00" + b"\xff" * 200, b"GET\r\n\r\n", b"\r\n" * 500):
        async with Raw(server) as raw:
            await raw.send(garbage)
            if raw.writer.can_write_eof():
                raw.writer.write_eof()
            answer = await raw.ended() if not server.tls() else await asyncio.wait_for(raw.ended(), 15)
            equal(answer[:12] in (b"", b"HTTP/1.1 400"), True)


@with_an_innocent_client
async def half_a_request_then_gone(server):
    whole = request("/ws")
    for length in range(1, len(whole), 7):
        async with Raw(server) as raw:
            await raw.send(whole[:length])
            raw.reset() if length % 2 else raw.writer.close()


@with_an_innocent_client
async def half_a_request_then_silence(server):
    async with Raw(server) as raw:
        await raw.send(request("/ws")[:40])
        # 10 s to read the headers, and some for a busy machine.
        await asyncio.wait_for(raw.ended(), 20)


@with_an_innocent_client
async def requests_that_are_no_upgrades(server):
    host = Raw(server).host
    for text, expected in {
        request("/ws", host, without=("Upgrade", "Connection")): 426,
        request("/ws", host, Upgrade="h2c"): 426,
        request("/ws", host, method="POST", Content_Length="0"): 405,
        request("/ws", host, Sec_WebSocket_Version="12"): 426,
        request("/ws", host, without=("Sec-WebSocket-Key",)): 400,
        request("/ws", host, Sec_WebSocket_Key="too short"): 400,
        request("/ws", host, without=("Host",)): 400,
        request("/no/such/path", host): 404,
    }.items():
        equal((text, await status_of(server, text)), (text, expected))


@with_an_innocent_client
async def another_version_is_told_ours(server):
    async with Raw(server) as raw:
        await raw.send(request("/ws", raw.host, Sec_WebSocket_Version="12"))
        status, headers = await raw.response()
        equal((status, headers.get("sec-websocket-version")), (426, "13"))


@with_an_innocent_client
async def too_many_and_too_large_headers(server):
    host = Raw(server).host
    many = {f"X_Header_{i}": "x" for i in range(200)}
    equal(await status_of(server, request("/ws", host, **many)), 431)
    equal(await status_of(server, request("/ws", host, X_Large="x" * 100_000)), 431)


@with_an_innocent_client
async def foreign_origins(server):
    host = Raw(server).host
    port = server.page.rpartition(":")[2]
    equal(await status_of(server, request("/ws", host, Origin=server.page)), 101)
    for origin in (
        "https://evil.example",
        "null",
        f"http://127.0.0.1.evil.example:{port}",
        f"http://evil.example#127.0.0.1:{port}",
        f"http://127.0.0.1:{port}@evil.example",
        f"http://127.0.0.1:{port}.evil.example",
        f"https://127.0.0.1:{port}",
        f"http://localhost:{port}",
        "http://127.0.0.1:1",
        "http://127.0.0.1",
        "file://",
        "",
    ):
        for path in ("/ws", "/chat", "/raw/room"):
            found = await status_of(server, request(path, host, Origin=origin))
            equal((path, origin, found), (path, origin, 403))


@with_an_innocent_client
async def bytes_behind_a_refused_handshake_are_not_a_request(server):
    async with Raw(server) as raw:
        await raw.send(request("/ws", raw.host, Origin="https://evil.example") + request("/ws", raw.host))
        equal((await raw.response())[0], 403)
        equal(b"HTTP/1.1 101" in await raw.ended(), False)


@with_an_innocent_client
async def frames_behind_the_handshake_in_one_piece_are_read(server):
    async with Raw(server) as raw:
        await raw.send(request("/ws", raw.host) + frame(TEXT, b'{"type":"ping","id":"early"}'))
        equal((await raw.response())[0], 101)
        answers = [(await raw.frame())[1] for _ in range(2)]
        equal(b'"welcome"' in answers[0] and b'"early"' in answers[1], True)


@with_an_innocent_client
async def frames_that_break_the_protocol(server):
    for name, frames in {
        "unmasked": [frame(TEXT, b"{}", masked=False)],
        "reserved bit 1": [frame(TEXT, b"{}", rsv=4)],
        "reserved bits 2 and 3": [frame(TEXT, b"{}", rsv=3)],
        "reserved opcode 3": [frame(3, b"{}")],
        "reserved opcode 11": [frame(11)],
        "fragmented ping": [frame(PING, b"", fin=False)],
        "ping of 126 bytes": [frame(PING, b"x" * 126)],
        "continuation of nothing": [frame(CONTINUATION, b"{}")],
        "a message inside a fragmented one": [frame(TEXT, b"{", fin=False), frame(TEXT, b"}")],
        "length not in its shortest form": [b"\x81\xfe\x00\x02\x00\x00\x00\x00{}"],
        "length with the top bit": [b"\x82\xff" + b"\xff" * 8 + b"\x00" * 4],
        "close of one byte": [frame(CLOSE, b"\x03")],
        "close with 999": [frame(CLOSE, (999).to_bytes(2, "big"))],
        "close with 1005": [frame(CLOSE, (1005).to_bytes(2, "big"))],
    }.items():
        equal((name, await code_of(server, *frames)), (name, 1002))


@with_an_innocent_client
async def text_that_is_not_utf_8(server):
    for name, frames in {
        "a lone byte": [frame(TEXT, b"\xff")],
        "a surrogate": [frame(TEXT, b"\xed\xa0\x80")],
        "too long a form": [frame(TEXT, b"\xc0\xaf")],
        "cut off at the end": [frame(TEXT, '{"🌍'.encode()[:-1])],
        "in the second fragment": [frame(TEXT, b'{"', fin=False), frame(CONTINUATION, b"\xfe", fin=False)],
        "in a frame that is not complete": [frame(TEXT, b"\xff" * 1000)[:500]],
    }.items():
        for path in ("/ws", "/chat"):
            equal((name, path, await code_of(server, *frames, path=path)), (name, path, 1007))


@with_an_innocent_client
async def messages_that_are_too_large(server):
    half = b"x" * (MESSAGE_BYTES_MAX // 2)
    for name, frames in {
        "one frame": [frame(TEXT, b"x" * (MESSAGE_BYTES_MAX + 1))],
        "three fragments": [frame(TEXT, half, fin=False), frame(CONTINUATION, half, fin=False), frame(CONTINUATION, b"x")],
        "2^62 declared on 14 bytes": [b"\x82\xff" + (1 << 62).to_bytes(8, "big") + b"\x00" * 4],
        "endless empty fragments": [frame(BINARY, b"", fin=False), *[frame(CONTINUATION, b"", fin=False)] * 2000],
    }.items():
        for path in ("/ws", "/chat"):
            equal((name, path, await code_of(server, *frames, path=path)), (name, path, 1009))


@with_an_innocent_client
async def connections_that_break_off(server):
    message = frame(TEXT, b'{"type":"subscribe","id":1,"channel":"room:break"}')
    for length in range(0, len(message), 5):
        async with Raw(server) as raw:
            await raw.upgrade()
            await raw.send(message, message[:length])
            raw.reset()


@with_an_innocent_client
async def who_is_slow_to_go_takes_nothing_along(server):
    """Its session ends at once, its TCP connection only when the next client has come and perhaps got its place."""
    for _ in range(20):
        async with Raw(server) as raw:
            await raw.upgrade()
            await raw.send(frame(TEXT, b"\xff"))
            while (await raw.frame())[0] != CLOSE:
                pass
            async with Client(server) as next_one:
                raw.reset()
                await asyncio.sleep(0.02)
                async with asyncio.timeout(5):
                    await next_one.ask("ping")


@with_an_innocent_client
async def too_fast(server):
    room = f"room:{uuid.uuid4().hex}"
    async with Client(server) as client:
        for _ in range(20_000):
            await client.send(type="publish", channel=room, data=1)
        error = await client.next()
        while error["type"] == "error" and error["code"] != "rate_limited":
            error = await client.next()
        equal((error["code"], error["message"]), ("rate_limited", "Server overloaded, please slow down"))
        equal(error["temporary"], True)
        # What is temporary ends, and the connection lived.
        for _ in range(20):
            await asyncio.sleep(0.5)
            if (await client.ask("publish", channel=room, data=2))["type"] == "ok":
                return
        raise AssertionError("still refused after 10 s")


@with_an_innocent_client
async def a_reader_that_stops_is_cut_off(server):
    room, payload, count = f"room:{uuid.uuid4().hex}", "x" * 60_000, 300
    async with Raw(server) as raw, Client(server) as writer:
        await raw.upgrade()
        await raw.send(frame(TEXT, f'{{"type":"subscribe","id":1,"channel":"{room}"}}'.encode()))
        raw.writer.transport.pause_reading()
        for _ in range(count):
            await writer.request("publish", channel=room, data=payload)
        raw.writer.transport.resume_reading()
        # 1 MiB of outbox and what the two kernels held: less than was published. `disconnect` says why, if the reader woke in time.
        rest = await asyncio.wait_for(raw.ended(), 10)
        equal(len(rest) < count * len(payload), True)
        if b'"disconnect"' in rest:
            equal(b'"code":4100' in rest[-200:], True)


if __name__ == "__main__":
    main(
        garbage_instead_of_http,
        half_a_request_then_gone,
        half_a_request_then_silence,
        requests_that_are_no_upgrades,
        another_version_is_told_ours,
        too_many_and_too_large_headers,
        foreign_origins,
        bytes_behind_a_refused_handshake_are_not_a_request,
        frames_behind_the_handshake_in_one_piece_are_read,
        frames_that_break_the_protocol,
        text_that_is_not_utf_8,
        messages_that_are_too_large,
        connections_that_break_off,
        who_is_slow_to_go_takes_nothing_along,
        too_fast,
        a_reader_that_stops_is_cut_off,
    )
