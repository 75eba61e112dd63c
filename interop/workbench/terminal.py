"""Owns a program in a terminal: a real pseudo-terminal on one side, an emulator of a screen on the other, keys typed by the checks in between, and
the recording of it all (asciicast v2). Knows nothing of WebSocket.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pathlib
import pty
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable

import pyte

COLUMNS = 100
ROWS = 30
SECONDS_MAX = 20


class Terminal:
    """A program whose standard streams are a terminal."""

    def __init__(self, command: list[str], state: pathlib.Path, **environment: str):
        self.master, self.slave = pty.openpty()
        self.resize(COLUMNS, ROWS)
        self.before = termios.tcgetattr(self.slave)
        self.screen = pyte.HistoryScreen(COLUMNS, ROWS, history=1000)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.cast: list[tuple[float, str, str]] = []
        self.begin = time.monotonic()
        self.changed = asyncio.Event()
        variables = {key: value for key, value in os.environ.items() if not key.startswith("SWITCHBOARD_")}
        variables.pop("NO_COLOR", None)
        variables |= {"TERM": "xterm-256color", "XDG_STATE_HOME": str(state), **environment}

        def own_terminal() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        streams = {"stdin": self.slave, "stdout": self.slave, "stderr": self.slave}
        self.process = subprocess.Popen(command, env=variables, preexec_fn=own_terminal, **streams)
        asyncio.get_running_loop().add_reader(self.master, self.read)

    def read(self) -> None:
        try:
            data = os.read(self.master, 65536)
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self.master)
            return
        self.raw += data
        self.cast.append((time.monotonic() - self.begin, "o", data.decode(errors="replace")))
        self.stream.feed(data)
        self.changed.set()

    def type(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def lines(self) -> list[str]:
        """What is to be seen, from the first line to the cursor's, without blanks behind; what has scrolled away too."""
        gone = ["".join(row[x].data for x in range(COLUMNS)).rstrip() for row in self.screen.history.top]
        return gone + [line.rstrip() for line in self.screen.display]

    def text(self) -> str:
        return "\n".join(self.lines()).rstrip()

    def last(self) -> str:
        """The last line that is not empty."""
        return self.text().splitlines()[-1] if self.text() else ""

    async def until(self, condition: Callable[[], object], what: str = "") -> None:
        async def wait() -> None:
            while not condition():
                self.changed.clear()
                await self.changed.wait()

        try:
            await asyncio.wait_for(wait(), SECONDS_MAX)
        except TimeoutError:
            raise AssertionError(f"{what or 'what was waited for'} did not come; the screen: {self.lines()!r}") from None

    async def sees(self, *texts: str) -> None:
        """Waits until all are to be seen."""
        for text in texts:
            await self.until(lambda text=text: text in self.text(), repr(text))

    async def ends(self) -> int:
        """Waits for the end, and checks that the terminal is as it was. Gives the exit code."""
        deadline = time.monotonic() + SECONDS_MAX
        while (status := self.process.poll()) is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"it did not end; the screen: {self.lines()!r}")
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.05)
        if termios.tcgetattr(self.slave) != self.before:
            raise AssertionError("the terminal is not as it was")
        if self.raw.rfind(b"\x1b[?2004h") > self.raw.rfind(b"\x1b[?2004l"):
            raise AssertionError("the terminal still marks what is pasted")
        return status

    def save(self, file: pathlib.Path, title: str) -> None:
        """As an asciicast, for `asciinema play`."""
        file.parent.mkdir(parents=True, exist_ok=True)
        head = {"version": 2, "width": COLUMNS, "height": ROWS, "title": title, "env": {"TERM": "xterm-256color"}}
        lines = [head, *([round(at, 6), kind, data] for at, kind, data in self.cast)]
        file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def __aenter__(self) -> Terminal:
        return self

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self.master)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(5)
        os.close(self.master)
        os.close(self.slave)
