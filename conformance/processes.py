"""Owns child processes: each in a group of its own, read line by line within time limits, kept in a log, stopped by its id.
Knows nothing of checks.
"""

from __future__ import annotations

import os
import pathlib
import queue
import shlex
import signal
import subprocess
import threading
import time

STOP_SECONDS_MAX = 5


class Failed(Exception):
    """A process did not do what it was started for. The text says what happened and where its output is."""


class Child:
    def __init__(self, command: list[str], log: pathlib.Path, env: dict[str, str] | None = None):
        self.name = pathlib.Path(command[0]).name
        self.log = log
        self.lines: queue.Queue[str | None] = queue.Queue()
        log.parent.mkdir(parents=True, exist_ok=True)
        pipe = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        variables = {**os.environ, **(env or {})}
        try:
            self.process = subprocess.Popen(
                command, env=variables, text=True, errors="replace", start_new_session=True, **pipe
            )
        except OSError as error:
            raise Failed(f"cannot start {shlex.join(command)}: {error}") from None
        threading.Thread(target=self.read, daemon=True).start()

    def read(self) -> None:
        with open(self.log, "w") as log:
            for line in self.process.stdout:
                log.write(line)
                log.flush()
                self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def line(self, deadline: float) -> str | None:
        """The next line, None at the end of the output. Raises `Failed` at the deadline (of the monotonic clock)."""
        try:
            return self.lines.get(timeout=max(deadline - time.monotonic(), 0))
        except queue.Empty:
            raise Failed(f"{self.name} took too long (its output: {self.log})") from None

    def wait_for(self, text: str, seconds: float) -> str:
        """What follows `text` on the first line that has it."""
        deadline = time.monotonic() + seconds
        while (line := self.line(deadline)) is not None:
            if text in line:
                return line.split(text, 1)[1].strip()
        raise Failed(f"{self.name} ended without saying `{text}…` (its output: {self.log})")

    def terminate(self, seconds: float) -> int | None:
        """Asks the process itself to end and gives its exit status, None if it did not end in time."""
        self.process.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(STOP_SECONDS_MAX)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self.process.wait(STOP_SECONDS_MAX)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
