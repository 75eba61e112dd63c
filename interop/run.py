#!/usr/bin/env python3
"""Runs other people's clients and servers against ours: `run.py [NAME…]`, all without a name, `--list` to see them.

Prints one line a check and closes with `N passed, N failed`. Exit status: 0 all passed, 1 not, 2 wrong usage. What a suite needs and
this machine lacks is named, and counts as one failed check. SWITCHBOARD_BIN names a server to test instead of the one built here.
Owns the suites and their counting. Knows nothing of what a check does.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator

import certificates
import environment
from environment import HERE, ROOT, STATE, Missing

sys.path.append(str(ROOT / "conformance"))
import product  # noqa: E402
from processes import Child, Failed  # noqa: E402

BUILD_SECONDS_MAX = 1200
START_SECONDS_MAX = 30
SUITE_SECONDS_MAX = 300
STOP_SECONDS_MAX = 15
KILLS = 20
CROWD = 300


@contextlib.contextmanager
def echo_server() -> Iterator[str]:
    """Our library's example."""
    command = built("echo_server", "-p", "switchboard-ws", "--example", "echo_server", folder="debug/examples")
    with Child([*command, "--listen", "127.0.0.1:0"], STATE / "echo_server.log") as child:
        yield "ws://" + child.wait_for("listening on ", START_SECONDS_MAX)


@contextlib.contextmanager
def http2_server() -> Iterator[str]:
    """Our library's example for HTTP/2."""
    features = ("--features", "axum,client,http2")
    command = built("http2", "-p", "switchboard-ws", "--example", "http2", *features, folder="debug/examples")
    with Child([*command, "serve", "127.0.0.1:0"], STATE / "http2_server.log") as child:
        yield "ws://" + child.wait_for("listening on ", START_SECONDS_MAX)


def our_client(name: str, server: list[str], *options: str) -> tuple[int, int]:
    """Our client against a server of others, over ws and wss."""
    client = built("switchboard-interop-client", "--manifest-path", str(HERE / "client/Cargo.toml"))
    made = certificates.make(STATE / "certificates")
    counts = []
    for scheme, files, trusted in (("ws", [], []), ("wss", [str(made.chain), str(made.key)], [str(made.authority)])):
        with Child([*server, *files], STATE / f"{name}-{scheme}-peer.log") as child:
            url = f"{scheme}://" + child.wait_for("listening on ", START_SECONDS_MAX)
            counts.append(follow(f"{name} over {scheme}", [*client, *options, url, *trusted]))
    return total(counts)


def http2_node_client() -> tuple[int, int]:
    with http2_server() as url:
        return follow("http2-node-client", [*environment.node(), str(HERE / "http2/node_client.mjs"), url])


def http2_node_server() -> tuple[int, int]:
    server = [*environment.node(), str(HERE / "connect/http2_node_server.mjs")]
    return our_client("http2-node-server", server, "--http2")


def http2_node() -> tuple[int, int]:
    return switchboard("http2-node", [*environment.node(), str(HERE / "server/http2_node.mjs")])


def http2_chromium() -> tuple[int, int]:
    command = [*environment.node(), str(HERE / "server/http2_chromium.mjs")]
    # Its pages are the server's own: the port is not known before.
    return switchboard("http2-chromium", command, ("wss",), ("https://127.0.0.1:*",), chromium=environment.chromium())


def workbench() -> tuple[int, int]:
    """The command line's own client in a terminal and through pipes, against servers of others and ours."""
    given = os.environ.get("SWITCHBOARD_BIN")
    command = [given] if given else built("switchboard", "-p", "switchboard-server", "--bin", "switchboard")
    made = certificates.make(STATE / "certificates")
    folder = STATE / "workbench"
    node = environment.node()
    with contextlib.ExitStack() as stack:
        about = {"command": command, "folder": str(folder), "artifacts": str(environment.TARGET / "artifacts")}
        for name, script in (("ws", "ws_server.mjs"), ("http2", "http2_node_server.mjs")):
            child = stack.enter_context(Child([*node, str(HERE / "connect" / script)], folder / f"{name}.log"))
            about[name] = "ws://" + child.wait_for("listening on ", START_SECONDS_MAX)
        server = stack.enter_context(product.serving(command, "ws", made, folder / "product"))
        about |= {"switchboard": server.about["base"], "authority": str(made.authority)}
        about |= {"chain": str(made.chain), "key": str(made.key)}
        return follow("workbench", [*environment.python(), str(HERE / "workbench/connect.py"), json.dumps(about)])


def total(counts: list[tuple[int, int]]) -> tuple[int, int]:
    return sum(passed for passed, _ in counts), sum(failed for _, failed in counts)


def built(name: str, *arguments: str, folder: str = "debug") -> list[str]:
    """Builds a program and answers its path as a command."""
    cargo = ["cargo", "build", "--quiet", "--message-format=short", "--target-dir", str(environment.TARGET), *arguments]
    with Child(cargo, STATE / f"build-{name}.log") as child:
        deadline = time.monotonic() + BUILD_SECONDS_MAX
        while child.line(deadline) is not None:
            pass
        if child.process.wait(5) != 0:
            raise Failed(f"cannot build {name} (cargo's output: {child.log})")
    return [str(environment.TARGET / folder / name)]


def follow(suite: str, command: list[str], limit: float = SUITE_SECONDS_MAX) -> tuple[int, int]:
    """Runs one suite's program, prints its checks, and counts (passed, failed)."""
    passed = failed = 0
    with Child(command, STATE / f"{suite.replace(' ', '-')}.log", {"PYTHONPATH": str(HERE)}) as child:
        deadline = time.monotonic() + limit
        while (line := child.line(deadline)) is not None:
            if line.startswith("# "):
                print(f"        {suite}: {line[2:]}", flush=True)
            elif line.startswith("ok "):
                passed += 1
                print(f"ok      {suite}: {line[3:]}", flush=True)
            elif line.startswith("not ok "):
                failed += 1
                print(f"FAILED  {suite}: {line[7:]}", flush=True)
        status = child.process.wait(5)
    if passed + failed == 0:
        raise Failed(f"no check was run (output: {child.log})")
    if status != (1 if failed else 0):
        raise Failed(f"exit status {status} after {passed + failed} checks (output: {child.log})")
    return passed, failed


def websockets_client() -> tuple[int, int]:
    with echo_server() as url:
        return follow("websockets-client", [*environment.python(), str(HERE / "echo/websockets_client.py"), url])


def aiohttp_client() -> tuple[int, int]:
    with echo_server() as url:
        return follow("aiohttp-client", [*environment.python(), str(HERE / "echo/aiohttp_client.py"), url])


def ws_client() -> tuple[int, int]:
    with echo_server() as url:
        return follow("ws-client", [*environment.node(), str(HERE / "echo/ws_client.mjs"), url])


def websockets_server() -> tuple[int, int]:
    return our_client("websockets-server", [*environment.python(), str(HERE / "connect/websockets_server.py")])


def ws_server() -> tuple[int, int]:
    return our_client("ws-server", [*environment.node(), str(HERE / "connect/ws_server.mjs")])


def switchboard(
    suite: str,
    command: list[str],
    schemes: tuple[str, ...] = ("ws", "wss"),
    origins: tuple[str, ...] = (),
    **more: object,
) -> tuple[int, int]:
    """A suite's program against the product, over each scheme, with a server of its own for each."""
    given = os.environ.get("SWITCHBOARD_BIN")
    product_command = [given] if given else built("switchboard", "-p", "switchboard-server", "--bin", "switchboard")
    made = certificates.make(STATE / "certificates")
    counts = []
    for scheme in schemes:
        name = f"{suite} over {scheme}"
        with product.serving(product_command, scheme, made, STATE / f"{suite}-{scheme}", origins=origins) as server:
            counts.append(follow(name, [*command, server.text(**more)]))
            counts.append(ends_well(name, server))
    return total(counts)


def ends_well(name: str, server: product.Product) -> tuple[int, int]:
    """The server is still there, or was told to stop, and exits with 0 when it is told."""
    status = server.child.terminate(STOP_SECONDS_MAX)
    print(f"{'ok     ' if status == 0 else 'FAILED '} {name}: the server exits with 0 ({status=})", flush=True)
    return (1, 0) if status == 0 else (0, 1)


def native_websockets() -> tuple[int, int]:
    return switchboard("native-websockets", [*environment.python(), str(HERE / "server/native_websockets.py")])


def crossing() -> tuple[int, int]:
    return switchboard("crossing", [*environment.python(), str(HERE / "server/crossing.py")], schemes=("ws",))


def native_ws() -> tuple[int, int]:
    return switchboard("native-ws", [*environment.node(), str(HERE / "server/native_ws.mjs")])


def native_chromium() -> tuple[int, int]:
    command = [*environment.node(), str(HERE / "server/native_chromium.mjs")]
    return switchboard("native-chromium", command, chromium=environment.chromium())


def pusher_js() -> tuple[int, int]:
    # Its WebSockets take no certificates but the system's.
    return switchboard("pusher-js", [*environment.node(), str(HERE / "server/pusher_js.mjs")], schemes=("ws",))


def pusher_chromium() -> tuple[int, int]:
    command = [*environment.node(), str(HERE / "server/pusher_chromium.mjs")]
    # The application's own server speaks no TLS with a certificate that only the browser was told to trust.
    return switchboard("pusher-chromium", command, schemes=("ws",), chromium=environment.chromium())


def pusher_sdk(name: str, library: list[str] | None) -> tuple[int, int]:
    """Pusher's library of one language, on the side of the application's server."""
    command = [*environment.node(), str(HERE / "server/pusher_sdk.mjs")]
    return switchboard(name, command, schemes=("ws",), library=library)


def pusher_node() -> tuple[int, int]:
    return pusher_sdk("pusher-node", None)


def pusher_python() -> tuple[int, int]:
    return pusher_sdk("pusher-python", [*environment.python(), str(HERE / "server/pusher_application.py")])


def pusher_php() -> tuple[int, int]:
    return pusher_sdk("pusher-php", [*environment.php(), str(HERE / "server/pusher_application.php")])


def pusher_restart() -> tuple[int, int]:
    return in_folder("pusher-restart", "server/pusher_restart.mjs")


def pusher_limits() -> tuple[int, int]:
    return in_folder("pusher-limits", "server/pusher_limits.mjs")


def webhooks_reload() -> tuple[int, int]:
    made = certificates.make(STATE / "certificates")
    more = {"authority": str(made.authority), "chain": str(made.chain), "key": str(made.key)}
    return in_folder("webhooks-reload", "server/webhooks_reload.mjs", **more)


def webhooks_disk() -> tuple[int, int]:
    return in_folder("webhooks-disk", "server/webhooks_disk.mjs")


def in_folder(suite: str, script: str, **more: str) -> tuple[int, int]:
    """A suite that starts the server itself, with a configuration that it writes into a folder."""
    if not os.environ.get("SWITCHBOARD_BIN"):
        built("switchboard", "-p", "switchboard-server", "--bin", "switchboard")
    folder = STATE / suite
    folder.mkdir(parents=True, exist_ok=True)
    return follow(suite, [*environment.node(), str(HERE / script), json.dumps({"folder": str(folder), **more})])


def webhooks() -> tuple[int, int]:
    given = os.environ.get("SWITCHBOARD_BIN")
    command = [given] if given else built("switchboard", "-p", "switchboard-server", "--bin", "switchboard")
    receiver = [*environment.python(), str(HERE / "server/webhooks_receiver.py")]
    about = {"command": command, "python": receiver, "folder": str(STATE / "webhooks")}
    return follow("webhooks", [*environment.node(), str(HERE / "server/webhooks.mjs"), json.dumps(about)])


def events() -> tuple[int, int]:
    # Node's fetch takes no certificates but the system's.
    return switchboard("events", [*environment.node(), str(HERE / "server/events.mjs")], schemes=("ws",))


def events_chromium() -> tuple[int, int]:
    command = [*environment.node(), str(HERE / "server/events_chromium.mjs")]
    return switchboard("events-chromium", command, chromium=environment.chromium())


def events_restart() -> tuple[int, int]:
    given = os.environ.get("SWITCHBOARD_BIN")
    command = [given] if given else built("switchboard", "-p", "switchboard-server", "--bin", "switchboard")
    about = {"command": command, "folder": str(STATE / "events-restart"), "chromium": environment.chromium()}
    return follow("events-restart", [*environment.node(), str(HERE / "server/events_restart.mjs"), json.dumps(about)])


def polling() -> tuple[int, int]:
    return switchboard("polling", [*environment.python(), str(HERE / "server/polling.py")])


def bad_input() -> tuple[int, int]:
    return switchboard("bad-input", [*environment.python(), str(HERE / "server/bad_input.py")])


def openapi() -> tuple[int, int]:
    # Its requests are the same over either.
    return switchboard("openapi", [*environment.python(), str(HERE / "server/openapi.py")], schemes=("ws",))


def drain() -> tuple[int, int]:
    return switchboard("drain", [*environment.python(), str(HERE / "server/drain.py")])


def durability() -> tuple[int, int]:
    given = os.environ.get("SWITCHBOARD_BIN")
    command = [given] if given else built("switchboard", "-p", "switchboard-server", "--bin", "switchboard")
    about = {"command": command, "folder": str(STATE / "durability"), "cycles": KILLS}
    limit = SUITE_SECONDS_MAX + 20 * KILLS
    return follow("durability", [*environment.python(), str(HERE / "server/durability.py"), json.dumps(about)], limit)


def crowd() -> tuple[int, int]:
    given = os.environ.get("SWITCHBOARD_BIN")
    command = [given] if given else built("switchboard", "-p", "switchboard-server", "--bin", "switchboard")
    seconds = SUITE_SECONDS_MAX / 2 + CROWD / 50
    about = {"command": command, "folder": str(STATE / "crowd"), "clients": CROWD, "seconds": seconds}
    return follow("crowd", [sys.executable, str(HERE / "server/crowd.py"), json.dumps(about)], 2 * seconds)


SUITES: dict[str, Callable[[], tuple[int, int]]] = {
    "websockets-client": websockets_client,
    "aiohttp-client": aiohttp_client,
    "ws-client": ws_client,
    "websockets-server": websockets_server,
    "ws-server": ws_server,
    "http2-node-client": http2_node_client,
    "http2-node-server": http2_node_server,
    "workbench": workbench,
    "http2-node": http2_node,
    "http2-chromium": http2_chromium,
    "native-websockets": native_websockets,
    "crossing": crossing,
    "native-ws": native_ws,
    "native-chromium": native_chromium,
    "pusher-js": pusher_js,
    "pusher-chromium": pusher_chromium,
    "pusher-node": pusher_node,
    "pusher-python": pusher_python,
    "pusher-php": pusher_php,
    "pusher-restart": pusher_restart,
    "pusher-limits": pusher_limits,
    "webhooks": webhooks,
    "webhooks-reload": webhooks_reload,
    "webhooks-disk": webhooks_disk,
    "events": events,
    "events-chromium": events_chromium,
    "events-restart": events_restart,
    "polling": polling,
    "bad-input": bad_input,
    "openapi": openapi,
    "drain": drain,
    "durability": durability,
    "crowd": crowd,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true", help="print the suites' names")
    parser.add_argument("--kills", type=int, default=KILLS, help="how often `durability` kills the server (%(default)s)")
    parser.add_argument("--crowd", type=int, default=CROWD, help="the clients of `crowd` (%(default)s)")
    options = parser.parse_args()
    globals().update(KILLS=options.kills, CROWD=options.crowd)
    if options.list:
        print("\n".join(SUITES))
        return 0
    if unknown := [name for name in options.names if name not in SUITES]:
        parser.error(f"no suite is called {', '.join(unknown)}; there are: {', '.join(SUITES)}")
    passed = failed = 0
    for name in options.names or SUITES:
        try:
            suite_passed, suite_failed = SUITES[name]()
        except Missing as missing:
            suite_passed, suite_failed = 0, 1
            print(f"MISSING {name}: {missing}", flush=True)
        except Failed as failure:
            suite_passed, suite_failed = 0, 1
            print(f"FAILED  {name}: {failure}", flush=True)
        passed += suite_passed
        failed += suite_failed
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
