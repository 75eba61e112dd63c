#!/usr/bin/env python3
"""What the documentation tells people to do, done: `run.py [NAME…]`, in the manner of `interop/run.py`.

Owns the suites of pages, and what they need from the machine. Knows nothing of what a check does.
"""

from __future__ import annotations

import json
import os
import pathlib
import sys
from collections.abc import Callable

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import environment  # noqa: E402
import run  # noqa: E402
from environment import need  # noqa: E402

SECONDS_MAX = 600
# Debian keeps servers where only root's shell looks.
os.environ["PATH"] += ":/usr/sbin"
GORILLA = "/usr/share/gocode/src/github.com/gorilla/websocket"
GSON = "/usr/share/java/gson.jar"
JSON_NET = "/usr/lib/cli/Newtonsoft.Json-5.0/Newtonsoft.Json.dll"


def about(suite: str, **more: object) -> str:
    given = os.environ.get("SWITCHBOARD_BIN")
    command = [given] if given else run.built("switchboard", "-p", "switchboard-server", "--bin", "switchboard")
    return json.dumps({"command": command, "folder": str(environment.STATE / suite), **more})


def need_file(path: str, how: str) -> None:
    if not os.path.exists(path):
        raise environment.Missing(f"{path} ({how})")


def languages() -> tuple[int, int]:
    python, node, chromium = environment.python(), environment.node(), environment.chromium()
    environment.php()
    need("go", "Debian: apt-get install golang-go")
    need_file(GORILLA, "Debian: apt-get install golang-github-gorilla-websocket-dev")
    need("javac", "Debian: apt-get install default-jdk-headless; version 17 or later")
    need_file(GSON, "Debian: apt-get install libgoogle-gson-java")
    need("ruby", "Debian: apt-get install ruby ruby-faye-websocket")
    need("mcs", "Debian: apt-get install mono-mcs mono-runtime libnewtonsoft-json5.0-cil")
    need_file(JSON_NET, "Debian: apt-get install libnewtonsoft-json5.0-cil")
    more = {"python": python, "node": node, "node_modules": str(environment.HERE / "node_modules"), "chromium": chromium}
    libraries = {"gson": GSON, "json_net": JSON_NET}
    command = [*python, str(HERE / "languages.py"), about("languages", **more, **libraries)]
    return run.follow("languages", command, SECONDS_MAX)


def tutorial() -> tuple[int, int]:
    for tool in ("openssl", "curl", "nginx", "haproxy"):
        need(tool, f"Debian: apt-get install {tool}")
    return read("tutorial", "docs/tutorial")


def howto() -> tuple[int, int]:
    need("curl", "Debian: apt-get install curl")
    counts = [
        read("webhooks-page", "docs/howto/webhooks.md", node_modules=str(environment.HERE / "node_modules")),
        read("event-source-page", "docs/howto/event-source.md"),
        read("from-pusher-page", "docs/howto/from-pusher.md"),
    ]
    return run.total(counts)


def read(suite: str, *pages: str, **more: object) -> tuple[int, int]:
    """Does what the pages say, in a folder of their own."""
    more |= {"pages": pages, "node": environment.node(), "chromium": environment.chromium()}
    return run.follow(suite, [sys.executable, str(HERE / "reader.py"), about(suite, **more)], SECONDS_MAX)


def deploy() -> tuple[int, int]:
    need("systemd-analyze", "Debian: apt-get install systemd")
    need("nginx", "Debian: apt-get install nginx-light")
    need("curl", "Debian: apt-get install curl")
    return run.follow("deploy", [sys.executable, str(HERE / "deploy.py"), about("deploy")])


SUITES: dict[str, Callable[[], tuple[int, int]]] = {
    "languages": languages,
    "tutorial": tutorial,
    "howto": howto,
    "deploy": deploy,
}

if __name__ == "__main__":
    run.SUITES = SUITES
    run.__doc__ = __doc__
    sys.exit(run.main())
