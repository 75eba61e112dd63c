"""`switchboard connect` in a terminal and through pipes, against Python `websockets`, Node `ws`, Node's `http2` and a Switchboard. Argument: a JSON
object with the `command`, the servers' addresses, the certificates and a `folder`. Owns the servers of Python; knows nothing of how the others run.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import pathlib
import signal
import ssl
import tempfile
import uuid
from collections.abc import AsyncIterator

from checks import equal, main
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from terminal import Terminal

ENTER, UP, DOWN, ALT_ENTER, TAB = "\r", "\x1b[A", "\x1b[B", "\x1b\r", "\t"
CTRL_C, CTRL_D, CTRL_G, CTRL_R = "\x03", "\x04", "\x07", "\x12"


class About:
    def __init__(self, text: str):
        about = json.loads(text)
        self.command: list[str] = [*about["command"], "connect"]
        self.ws: str = about["ws"]
        self.http2: str = about["http2"]
        self.switchboard: str = about["switchboard"]
        self.authority, self.chain, self.key = (about[name] for name in ("authority", "chain", "key"))
        self.artifacts = pathlib.Path(about["artifacts"])
        self.state = pathlib.Path(tempfile.mkdtemp(prefix="state-", dir=about["folder"]))

    def terminal(self, *arguments: str, **environment: str) -> Terminal:
        return Terminal([*self.command, *arguments], self.state, **environment)

    async def piped(self, *arguments: str, given: str = "") -> tuple[int, str, str]:
        """Through pipes: exit code, output, notices."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*self.command, *arguments, stdin=pipe, stdout=pipe, stderr=pipe)
        output, notices = await process.communicate(given.encode())
        return process.returncode, output.decode(), notices.decode()


async def echo(socket: ServerConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for message in socket:
            await socket.send(message)


@contextlib.asynccontextmanager
async def server(handler=echo, port: int = 0, **options) -> AsyncIterator[str]:
    async with serve(handler, "127.0.0.1", port, **options) as running:
        scheme = "wss" if options.get("ssl") else "ws"
        yield f"{scheme}://127.0.0.1:{running.sockets[0].getsockname()[1]}/"


def events(output: str) -> list[dict]:
    return [json.loads(line) for line in output.splitlines()]


async def a_line_is_sent_and_what_comes_is_shown(text):
    about = About(text)
    async with server() as url, about.terminal(url) as terminal:
        await terminal.sees("connected", ">")
        terminal.type(f"hello — 🌍{ENTER}")
        await terminal.sees("> hello — 🌍", "< hello — 🌍")
        terminal.type(CTRL_D)
        equal(await terminal.ends(), 0)
        await terminal.sees("closed: 1000")


async def the_line_being_typed_stays_below_what_comes(text):
    about = About(text)
    release = asyncio.Event()

    async def handler(socket):
        await release.wait()
        for number in range(3):
            await socket.send(f"message {number}")
        await socket.wait_closed()

    async with server(handler) as url, about.terminal(url) as terminal:
        await terminal.sees("connected")
        terminal.type(f"first row{ALT_ENTER}second row")
        await terminal.sees("> first row", ". second row")
        release.set()
        await terminal.sees("< message 2")
        await terminal.until(lambda: terminal.text().endswith("< message 2\n> first row\n. second row"))
        equal((terminal.screen.cursor.x), len(". second row"))
        terminal.resize(60, 20)
        terminal.signal(signal.SIGWINCH)
        terminal.type(" more")
        await terminal.sees(". second row more")


async def what_a_peer_sends_does_not_steer_the_terminal(text):
    about = About(text)

    async def handler(socket):
        await socket.send("\x1b]0;title\x07\x1b[2Jred \x1b[31m\u202ereversed")
        await socket.send(b"\x1b[2J\xff")
        await socket.close(4000, "\x1b[5mblink")

    async with server(handler) as url, about.terminal(url) as terminal:
        equal(await terminal.ends(), 1)
        await terminal.sees(r"< \u{1b}]0;title\u{7}\u{1b}[2Jred \u{1b}[31m\u{202e}reversed", r"closed: 4000 \u{1b}[5mblink")
        await terminal.sees("< 5 bytes", "00000000  1b 5b 32 4a ff", ".[2J.")
        for bad in (b"\x1b]0", b"\x1b[31m\xe2", b"\x1b[5m", b"\xff"):
            equal(bad in terminal.raw, False)


async def lines_with_rows_and_pastes_are_one_message(text):
    about = About(text)
    got: asyncio.Queue[str] = asyncio.Queue()

    async def handler(socket):
        with contextlib.suppress(ConnectionClosed):
            async for message in socket:
                await got.put(message)

    async with server(handler) as url, about.terminal(url) as terminal:
        await terminal.sees("connected")
        terminal.type(f"one{ALT_ENTER}two{ENTER}")
        equal(await got.get(), "one\ntwo")
        terminal.type(f"three\\{ENTER}four{ENTER}")
        equal(await got.get(), "three\nfour")
        terminal.type("\x1b[200~{\r\n\t\"a\": 1\r\n}\r\n\x1b[201~")
        await terminal.sees(". }")
        equal(got.empty(), True)
        terminal.type(ENTER)
        equal(await got.get(), '{\n\t"a": 1\n}')


async def lines_are_remembered_and_found(text):
    about = About(text)
    async with server() as url:
        async with about.terminal(url) as terminal:
            await terminal.sees("connected")
            for line in ("alpha one", "beta two", " secret"):
                terminal.type(line + ENTER)
                await terminal.sees(f"< {line}")
            terminal.type(f"two{ALT_ENTER}rows{ENTER}")
            await terminal.sees("< two\n  rows")
            terminal.type(CTRL_D)
            await terminal.ends()
        file = about.state / "switchboard/connect_history"
        equal(file.read_text(), "alpha one\nbeta two\ntwo\\nrows\n")
        equal(file.stat().st_mode & 0o777, 0o600)
        async with about.terminal(url) as terminal:
            await terminal.sees("connected")
            terminal.type(UP)
            await terminal.until(lambda: terminal.text().endswith("> two\n. rows"))
            terminal.type(UP + UP)
            await terminal.until(lambda: terminal.last() == "> beta two", "the line before")
            terminal.type(DOWN + DOWN)
            await terminal.until(lambda: terminal.last() == ">", "an empty line")
            terminal.type(f"draft{CTRL_R}one")
            await terminal.sees("(search) one: alpha one")
            terminal.type(CTRL_G)
            await terminal.until(lambda: terminal.last() == "> draft", "the draft")
            terminal.type(f"{CTRL_R}one{ENTER}")
            await terminal.sees("< alpha one")
            terminal.type(f"/history{ENTER}")
            await terminal.sees("  two\\nrows")
        async with about.terminal("--no-history", url) as terminal:
            await terminal.sees("connected")
            terminal.type(f"{UP}not kept{ENTER}")
            await terminal.sees("< not kept")
        equal("not kept" in file.read_text(), False)


async def commands_are_completed_and_explained(text):
    about = About(text)
    async with server() as url, about.terminal(url) as terminal:
        await terminal.sees("connected")
        terminal.type(f"/tim{TAB}{ENTER}")
        await terminal.sees("> /timestamps", "times: shown from now on")
        terminal.type(f"/p{TAB}")
        await terminal.sees("/ping  /pretty")
        terminal.type(f"\x15/help{ENTER}")
        await terminal.sees("/close [CODE [REASON]]", "Ctrl-R")
        terminal.type(f"/nope{ENTER}/subscribe a{ENTER}")
        await terminal.sees("there is no /nope", "/subscribe is for a Switchboard")
        terminal.type(f"//slash{ENTER}")
        await terminal.sees("< /slash")
        terminal.type(f"/hex 00 ff{ENTER}/binary abc{ENTER}")
        await terminal.sees("00000000  00 ff", "61 62 63")
        terminal.type(f'/pretty{ENTER}{{"b":[1,{{}}],"a":"x"}}{ENTER}')
        await terminal.sees('    "b": [', '    "a": "x"')
        terminal.type(f"/close 4321 enough{ENTER}")
        equal(await terminal.ends(), 0)
        await terminal.sees("closed: 4321")


async def files_are_sent_as_what_they_are(text):
    about = About(text)
    words, numbers = about.state / "words.txt", about.state / "numbers.bin"
    words.write_text("some words")
    numbers.write_bytes(bytes(range(240, 256)))
    async with server() as url, about.terminal(url) as terminal:
        await terminal.sees("connected")
        terminal.type(f"/file {words.parent}/wo{TAB}{ENTER}/file {numbers}{ENTER}/file /nowhere{ENTER}/file /{ENTER}")
        await terminal.sees("10 bytes are sent as text", "< some words", "16 bytes are sent as a binary message", "f0 f1 f2")
        await terminal.sees("/file /nowhere: No such file", "/file /: it is no file")


async def pings_are_timed(text):
    about = About(text)
    async with server() as url:
        async with about.terminal(url) as terminal:
            await terminal.sees("connected")
            terminal.type(f"/ping{ENTER}/ping are you there{ENTER}")
            await terminal.sees("pong 1 after", "pong are you there after", " ms")
        async with about.terminal("--ping-interval", "0.05", url) as terminal:
            await terminal.sees("pong 1 after", "pong 3 after")
        code, _, notices = await about.piped("--ping-interval", "0.05", "-w", "0.5", url)
        equal((code, "pong 1 after" in notices), (0, True))


async def frames_are_shown_with_what_they_take(text):
    about = About(text)
    async with about.terminal("--frames", "--compress", f"{about.ws}/echo") as terminal:
        await terminal.sees("connected, permessage-deflate")
        line = "again and again " * 5
        terminal.type(line.strip() + ENTER)
        await terminal.sees("-> text fin=1 rsv=100 length=", "<- text fin=1 rsv=100 length=", "compressed bytes are 79")
        mask = next(row for row in terminal.lines() if "-> text" in row).split("mask=")[1]
        equal(len(bytes.fromhex(mask)), 4)
        terminal.type(f"/frames{ENTER}quiet{ENTER}")
        await terminal.sees("< quiet")
        equal(sum("-> text" in row for row in terminal.lines()), 1)
    async with server() as url:
        code, output, _ = await about.piped("--frames", "--json", "--compress", url, given="again and again again and again\n")
        frames = [event for event in events(output) if event["type"] == "frame"]
        equal([(f["dir"], f["opcode"], f["rsv"]) for f in frames[:2]], [("out", "text", 4), ("in", "text", 4)])
        equal(all(f["length"] < 31 and (f["mask"] is None) == (f["dir"] == "in") for f in frames[:2]), True)
        equal(code, 0)


async def fragments_are_seen_as_frames_and_shown_as_one_message(text):
    about = About(text)
    async with about.terminal("--frames", f"{about.ws}/fragments") as terminal:
        await terminal.sees("<- text fin=0", "<- ping fin=1", "<- continuation fin=1", "< one two — 🌍")
        equal(await terminal.ends(), 0)


async def a_switchboard_is_understood(text):
    about = About(text)
    room = f"room:{uuid.uuid4().hex[:8]}"
    async with about.terminal(f"{about.switchboard}/ws") as terminal:
        await terminal.sees("a Switchboard: session")
        terminal.type(f"/sub{TAB}{room}{ENTER}")
        await terminal.sees(f"subscribed to {room} at ")
        terminal.type(f"/pub{TAB}{room[:8]}{TAB}{{\"z\":1.50,\"a\":\"hello\"}}{ENTER}")
        await terminal.sees(f"published to {room} at ", f"[{room}] #1 guest-", '{"z":1.50,"a":"hello"}')
        terminal.type(f"/presence {room[:8]}{TAB}{ENTER}")
        await terminal.sees(f"on {room}: users 1, connections 1")
        terminal.type(f"/history {room}{ENTER}")
        await terminal.sees("1 publications")
        terminal.type(f"/subscribe a#b{ENTER}/unsubscribe {room}{ENTER}")
        await terminal.sees("refused: ", f"unsubscribed from {room}")
        terminal.type(f"/help{ENTER}")
        await terminal.sees("/publish CHANNEL DATA")
        terminal.type(f'{{"type":"ping","id":9}}{ENTER}{CTRL_D}')
        equal(await terminal.ends(), 0)
        terminal.save(about.artifacts / "connect.cast", "switchboard connect")
    async with about.terminal("--no-native", f"{about.switchboard}/ws") as terminal:
        await terminal.sees('< {"type":"welcome"')


async def the_terminal_is_given_back_whatever_ends_it(text):
    about = About(text)
    for number, code in ((signal.SIGTERM, 130), (signal.SIGHUP, 130), (signal.SIGINT, 130)):
        async with server() as url, about.terminal(url) as terminal:
            await terminal.sees("connected")
            terminal.signal(number)
            equal(await terminal.ends(), code)
    async with server() as url, about.terminal(url) as terminal:
        await terminal.sees("connected")
        terminal.type(f"half a line{CTRL_C}")
        equal(await terminal.ends(), 130)

    async def vanishing(socket):
        await socket.recv()
        socket.transport.abort()

    async with server(vanishing) as url, about.terminal(url) as terminal:
        await terminal.sees("connected")
        terminal.type(f"go{ENTER}")
        equal(await terminal.ends(), 3)


async def it_comes_back_when_the_server_does(text):
    about = About(text)
    async with server() as url:
        port = int(url.split(":")[2].strip("/"))
        context = about.terminal("--reconnect", url)
        terminal = await context.__aenter__()
        await terminal.sees("connected")
    try:
        await terminal.sees("attempt 1 to come back in", "attempt 2 to come back in")
        terminal.type(f"lost{ENTER}")
        await terminal.sees("there is no connection: not sent")
        async with server(port=port):
            await terminal.until(lambda: terminal.text().count("connected") == 2, "a second connection")
            terminal.type(f"back again{ENTER}")
            await terminal.sees("< back again")
            terminal.type(CTRL_D)
            equal(await terminal.ends(), 0)
    finally:
        await context.__aexit__()


async def who_is_refused_does_not_come_back(text):
    about = About(text)

    def refuse(connection, request):
        return connection.respond(401, "who are you?\n")

    async with server(process_request=refuse) as url:
        code, _, notices = await about.piped("--reconnect", url)
        equal((code, "who are you?" in notices), (4, True))


async def a_recording_is_played_again(text):
    about = About(text)
    file = about.state / "recording.jsonl"
    async with server() as url:
        code, _, _ = await about.piped("--record", str(file), url, given="one\ntwo\n")
        equal(code, 0)
        entries = events(file.read_text())
        shown = [(entry["dir"], entry["op"], entry.get("data")) for entry in entries]
        equal(shown[0], ("in", "open", None))
        equal(sorted(shown[1:5]), [("in", "text", "one"), ("in", "text", "two"), ("out", "text", "one"), ("out", "text", "two")])
        equal(all(isinstance(entry["ms"], int | float) for entry in entries), True)
        equal(file.stat().st_mode & 0o777, 0o600)
        code, output, notices = await about.piped("--replay", str(file), "--expect", "--replay-speed", "0", url)
        equal((code, output), (0, "one\ntwo\n"))

    async def shout(socket):
        with contextlib.suppress(ConnectionClosed):
            async for message in socket:
                await socket.send(message.upper())

    async with server(shout) as url:
        code, _, notices = await about.piped("--replay", str(file), "--expect", url)
        equal((code, 'message 1 is "ONE", recorded was "one"' in notices), (1, True))

    async def silent(socket):
        await socket.wait_closed()

    async with server(silent) as url:
        code, _, notices = await about.piped("--replay", str(file), "--expect", "-w", "0.2", url)
        equal((code, "2 of the 2 messages that were recorded did not come" in notices), (1, True))
    file.write_text('{"ms":0,"dir":"out","op":"shout"}\n')
    code, _, notices = await about.piped("--replay", str(file), "ws://127.0.0.1:1/")
    equal((code, 'line 1: `op` is "shout"' in notices), (2, True))


async def what_was_asked_for_is_in_the_request(text):
    about = About(text)

    async def tell(socket):
        headers = socket.request.headers
        names = ("authorization", "origin", "x-thing", "sec-websocket-extensions")
        await socket.send(json.dumps({name: headers.get(name) for name in names} | {"protocol": socket.subprotocol}))
        await socket.close()

    token = about.state / "token"
    token.write_text("secret\n")
    async with server(tell, subprotocols=["b"]) as url:
        _, output, _ = await about.piped("-s", "a,b", "-o", "http://o.example", "-H", "X-Thing: 1", "--token", f"@{token}", url)
        found = json.loads(output)
        equal(found["authorization"], "Bearer secret")
        equal((found["origin"], found["x-thing"], found["protocol"]), ("http://o.example", "1", "b"))
        equal(found["sec-websocket-extensions"], None)
        _, output, _ = await about.piped("-s", "b", "--user", "ann:p:w", "--compress", url)
        found = json.loads(output)
        equal(base64.b64decode(found["authorization"].split()[1]), b"ann:p:w")
        equal(found["sec-websocket-extensions"].startswith("permessage-deflate"), True)
        code, _, notices = await about.piped("--user", "ann", url)
        equal((code, "SWITCHBOARD_PASSWORD" in notices), (2, True))


async def certificates_are_checked_and_shown(text):
    about = About(text)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=about.authority)
    context.load_cert_chain(about.chain, about.key)
    async with server(ssl=context) as url:
        code, _, _ = await about.piped(url, given="hi\n")
        equal(code, 3)
        for trust in (["--cacert", about.authority], ["-k"]):
            code, output, _ = await about.piped(*trust, url, given="hi\n")
            equal((code, output), (0, "hi\n"))
        context.verify_mode = ssl.CERT_REQUIRED
        code, _, _ = await about.piped("--cacert", about.authority, url, given="hi\n")
        equal(code, 3)
        shown = ["--cacert", about.authority, "--cert", about.chain, "--key", about.key]
        code, output, _ = await about.piped(*shown, url, given="hi\n")
        equal((code, output), (0, "hi\n"))


async def http_2_works_as_well(text):
    about = About(text)
    code, output, notices = await about.piped("--http2", "--frames", "-s", "second", f"{about.http2}/echo", given="hi\n")
    equal((code, output), (0, "hi\n"))
    equal("with the subprotocol second over HTTP/2" in notices and "-> text fin=1" in notices, True)
    code, _, _ = await about.piped("--http2", about.ws, given="hi\n")
    equal(code, 3)


async def pipes_get_what_came(text):
    about = About(text)
    async with server() as url:
        for address in (url, f"{about.ws}/echo"):
            code, output, _ = await about.piped(address, given="one\n/help\n\ntwo")
            equal((code, output), (0, "one\n/help\n\ntwo\n"))
            code, output, _ = await about.piped("-1", address, given="one\ntwo\n")
            equal((code, output), (0, "one\n"))
            code, output, _ = await about.piped("-x", "a", "-x", "b", address)
            equal((code, output), (0, "a\nb\n"))
            code, output, _ = await about.piped("--binary", address, given="abc\n")
            equal(output, "3 bytes, base64: YWJj\n")
            code, output, _ = await about.piped("--json", "--timestamps", address, given="x\n")
            equal([event["type"] for event in events(output)], ["open", "text", "close"])
            equal(all(event["time"] > 1_700_000_000_000 for event in events(output)), True)
    code, _, _ = await about.piped(f"{about.ws}/close/4002/no")
    equal(code, 4)
    code, _, notices = await about.piped(f"{about.ws}/close/4500/enough")
    equal((code, "4500 enough" in notices), (1, True))
    code, _, _ = await about.piped(f"{about.ws}/refuse")
    equal(code, 4)
    code, _, _ = await about.piped("ws://127.0.0.1:1/")
    equal(code, 3)
    code, _, _ = await about.piped("--ping-interval", "0", "ws://127.0.0.1:1/")
    equal(code, 2)


async def nobody_needs_to_read_it_all(text):
    about = About(text)

    async def flood(socket):
        with contextlib.suppress(ConnectionClosed):
            while True:
                await socket.send("x" * 1000)

    async with server(flood) as url:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*about.command, "-n", url, stdin=pipe, stdout=pipe, stderr=pipe)
        await process.stdout.readline()
        process.stdout._transport.close()
        equal(await process.wait(), 1)


async def colours_are_there_for_those_who_want_them(text):
    about = About(text)
    async with server() as url:
        for arguments, environment, coloured in (
            ([], {}, True),
            ([], {"NO_COLOR": "1"}, False),
            (["--color", "never"], {}, False),
            (["--color", "always"], {"NO_COLOR": "1"}, True),
        ):
            async with about.terminal(*arguments, url, **environment) as terminal:
                await terminal.sees("connected")
                terminal.type(f"hello{ENTER}")
                await terminal.sees("< hello")
                equal(b"\x1b[32m<" in terminal.raw, coloured)


if __name__ == "__main__":
    # A program that ends while somebody still writes to it is nothing to end for.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    os.umask(0o022)
    main(
        a_line_is_sent_and_what_comes_is_shown,
        the_line_being_typed_stays_below_what_comes,
        what_a_peer_sends_does_not_steer_the_terminal,
        lines_with_rows_and_pastes_are_one_message,
        lines_are_remembered_and_found,
        commands_are_completed_and_explained,
        files_are_sent_as_what_they_are,
        pings_are_timed,
        frames_are_shown_with_what_they_take,
        fragments_are_seen_as_frames_and_shown_as_one_message,
        a_switchboard_is_understood,
        the_terminal_is_given_back_whatever_ends_it,
        it_comes_back_when_the_server_does,
        who_is_refused_does_not_come_back,
        a_recording_is_played_again,
        what_was_asked_for_is_in_the_request,
        certificates_are_checked_and_shown,
        http_2_works_as_well,
        pipes_get_what_came,
        nobody_needs_to_read_it_all,
        colours_are_there_for_those_who_want_them,
    )
