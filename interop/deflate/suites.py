#!/usr/bin/env python3
"""Compression with other people's implementations: `suites.py [NAME…]`, in the manner of `interop/run.py`.

Owns the suites of compression. Knows nothing of what a check does.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import sys
from collections.abc import Callable, Iterator

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import certificates  # noqa: E402
import environment  # noqa: E402
import run  # noqa: E402


@contextlib.contextmanager
def echo_server() -> Iterator[str]:
    command = run.built("echo_server", "-p", "switchboard-ws", "--example", "echo_server", folder="debug/examples")
    log = environment.STATE / "echo_server-deflate.log"
    with run.Child([*command, "--listen", "127.0.0.1:0", "--deflate"], log) as child:
        yield "ws://" + child.wait_for("listening on ", run.START_SECONDS_MAX)


def echo_client() -> list[str]:
    command = run.built("echo_client", "-p", "switchboard-ws", "--example", "echo_client", folder="debug/examples")
    return [*command, "--deflate"]


def websockets_client() -> tuple[int, int]:
    with echo_server() as url:
        return run.follow("deflate-websockets-client", [*environment.python(), str(HERE / "websockets_client.py"), url])


def ws_client() -> tuple[int, int]:
    with echo_server() as url:
        return run.follow("deflate-ws-client", [*environment.node(), str(HERE / "ws_client.mjs"), url])


def websockets_server() -> tuple[int, int]:
    command = [*environment.python(), str(HERE / "websockets_server.py"), *echo_client()]
    return run.follow("deflate-websockets-server", command)


def ws_server() -> tuple[int, int]:
    return run.follow("deflate-ws-server", [*environment.node(), str(HERE / "ws_server.mjs"), *echo_client()])


CONFIGURATION = """
[limits]
message_bytes = "4MiB"
outbox_bytes = "32MiB"

[compression]
enabled = true
contexts_max = 3
"""


def product(suite: str, program: list[str], **more: str) -> tuple[int, int]:
    """A program against the whole server with compression, where only some clients may keep a context."""
    given = os.environ.get("SWITCHBOARD_BIN")
    command = [given] if given else run.built("switchboard", "-p", "switchboard-server", "--bin", "switchboard")
    made = certificates.make(environment.STATE / "certificates")
    with run.product.serving(command, "ws", made, environment.STATE / suite, CONFIGURATION) as server:
        return run.total([run.follow(suite, [*program, server.text(**more)]), run.ends_well(suite, server)])


def product_javascript() -> tuple[int, int]:
    program = [*environment.node(), str(HERE / "product.mjs")]
    return product("deflate-product-javascript", program, chromium=environment.chromium())


def product_websockets() -> tuple[int, int]:
    return product("deflate-product-websockets", [*environment.python(), str(HERE / "product_websockets.py")])


SUITES: dict[str, Callable[[], tuple[int, int]]] = {
    "deflate-websockets-client": websockets_client,
    "deflate-ws-client": ws_client,
    "deflate-websockets-server": websockets_server,
    "deflate-ws-server": ws_server,
    "deflate-product-javascript": product_javascript,
    "deflate-product-websockets": product_websockets,
}


def main() -> int:
    names = sys.argv[1:] or list(SUITES)
    if unknown := [name for name in names if name not in SUITES]:
        print(f"no suite is called {', '.join(unknown)}; there are: {', '.join(SUITES)}", file=sys.stderr)
        return 2
    counts = []
    for name in names:
        try:
            counts.append(SUITES[name]())
        except (environment.Missing, run.Failed) as problem:
            print(f"FAILED  {name}: {problem}", flush=True)
            counts.append((0, 1))
    passed, failed = run.total(counts)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
