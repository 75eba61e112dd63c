"""Owns the packages of others that the checks need: a Python environment and Node's modules, both pinned, made when they are
missing and quick when they are there. Knows nothing of the checks.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
STATE = TARGET / "interop"
PYTHON = STATE / "venv/bin/python"

STEP_SECONDS_MAX = 300


class Missing(Exception):
    """Something that this machine lacks. The text names it and says how to get it."""


def python() -> list[str]:
    """The command of a Python that has the packages of requirements.txt. Raises `Missing`."""
    requirements = HERE / "requirements.txt"
    with Making(STATE / "venv", requirements) as making:
        if making:
            how = "Python's venv module (Debian: apt-get install python3-venv)"
            step([sys.executable, "-m", "venv", "--clear", str(STATE / "venv")], how)
            how = "the packages of interop/requirements.txt, by pip"
            step([str(PYTHON), "-m", "pip", "install", "-q", "--no-deps", "-r", str(requirements)], how)
    return [str(PYTHON)]


def node() -> list[str]:
    """The command of a Node beside which the packages of package-lock.json lie. Raises `Missing`."""
    for tool in ("node", "npm"):
        need(tool, "Debian: apt-get install nodejs npm; version 20 or later")
    with Making(HERE / "node_modules", HERE / "package-lock.json") as making:
        if making:
            how = "the packages of interop/package-lock.json, by npm"
            step(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], how, cwd=HERE)
    return ["node"]


def chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    raise Missing("`chromium` (Debian: apt-get install chromium)")


def php() -> list[str]:
    need("php", "Debian: apt-get install php-cli; version 8.1 or later")
    return ["php"]


def need(tool: str, how: str) -> None:
    if shutil.which(tool) is None:
        raise Missing(f"`{tool}` ({how})")


class Making:
    """Holds a lock while a folder is made from a file. True if it has to be made: it is not there, or is from another version."""

    def __init__(self, folder: pathlib.Path, source: pathlib.Path):
        STATE.mkdir(parents=True, exist_ok=True)
        self.mark = folder / ".made-from"
        self.fingerprint = hashlib.sha256(source.read_bytes()).hexdigest()
        self.lock = open(STATE / f"{folder.name}.lock", "w")

    def __enter__(self) -> bool:
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        return not (self.mark.exists() and self.mark.read_text() == self.fingerprint)

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.mark.write_text(self.fingerprint)
        self.lock.close()


def step(command: list[str], needed: str, cwd: pathlib.Path | None = None) -> None:
    pipe = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    try:
        done = subprocess.run(command, cwd=cwd, timeout=STEP_SECONDS_MAX, **pipe)
    except (subprocess.TimeoutExpired, OSError) as error:
        raise Missing(f"{needed}: {error}") from None
    if done.returncode != 0:
        tail = "\n    ".join(done.stdout.strip().splitlines()[-8:])
        raise Missing(f"{needed}; `{command[0]}` said:\n    {tail}")
