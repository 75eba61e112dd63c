#!/usr/bin/env python3
"""Runs `switchboard check` against five servers and compares its verdicts with committed ones: `run.py [NAME…]`, all without a name.

    --update      write the verdicts into expected.json
    --autobahn    run the Autobahn testsuite against the same servers too, and compare verdict by verdict (mapping.json);
                  what differs has to stand in differences.json with its reason

Closes with `N passed, N failed`. Exit status: 0 as expected, 1 not, 2 wrong usage, 3 something that it needs is missing.
Owns the servers and the comparison. Knows nothing of what a check does.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path += [str(ROOT / "interop"), str(HERE.parent), str(HERE.parent / "autobahn")]
import environment  # noqa: E402
import results  # noqa: E402
from environment import TARGET, Missing  # noqa: E402
from processes import Child, Failed  # noqa: E402

STATE = TARGET / "check"
BUILD_SECONDS_MAX = 1200
START_SECONDS_MAX = 30
CHECK_SECONDS_MAX = 300
AUTOBAHN_SECONDS_MAX = 900


def cargo(*arguments: str) -> None:
    done = subprocess.run(["cargo", "build", "--quiet", "--locked", *arguments], cwd=ROOT, timeout=BUILD_SECONDS_MAX)
    if done.returncode != 0:
        raise Failed(f"cargo build {' '.join(arguments)} failed")


def ours() -> list[str]:
    cargo("-p", "switchboard-ws", "--example", "echo_server")
    return [str(TARGET / "debug/examples/echo_server"), "--listen", "127.0.0.1:0", "--deflate"]


def tungstenite() -> list[str]:
    cargo("--manifest-path", "bench/Cargo.toml", "-p", "peer-tokio-tungstenite", "--bin", "peer-tungstenite-echo", "--target-dir", str(ROOT / "bench/target"))
    return [str(ROOT / "bench/target/debug/peer-tungstenite-echo"), "--listen", "127.0.0.1:0"]


def ws() -> list[str]:
    return [*environment.node(), str(HERE / "ws_server.mjs"), str(environment.HERE)]


def python(name: str) -> list[str]:
    return [*environment.python(), str(HERE / name)]


SERVERS = {
    "switchboard-ws": ours,
    "tungstenite": tungstenite,
    "ws": ws,
    "websockets": lambda: python("websockets_server.py"),
    "aiohttp": lambda: python("aiohttp_server.py"),
}


def verdicts(url: str) -> dict[str, str]:
    command = [str(TARGET / "debug/switchboard"), "check", "--json", "--patience", "6", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=CHECK_SECONDS_MAX)
    if done.returncode not in (0, 1) or not done.stdout:
        raise Failed(f"switchboard check ended with {done.returncode}: {done.stderr.strip()}")
    return {check["id"]: check["outcome"] for check in json.loads(done.stdout)["checks"]}


def testsuite(name: str, url: str) -> results.Outcomes:
    """Autobahn's outcomes for the server that runs at `url`."""
    command = [sys.executable, str(HERE.parent / "autobahn/run.py"), "server", "--tier", "ci", "--agent", name, url]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=AUTOBAHN_SECONDS_MAX)
    found = results.read_report(TARGET / f"autobahn/reports/server-{name}", name)
    if not found:
        raise Failed(f"the Autobahn testsuite left no report of {name}")
    return found


def disagreements(ours: dict[str, str], theirs: results.Outcomes) -> dict[str, str]:
    """The checks of which one says that the server keeps the standard and the other that it does not."""
    found = {}
    for check, cases in json.loads((HERE / "mapping.json").read_text()).items():
        outcomes = [theirs[case] for case in cases if case in theirs]
        if not outcomes or check not in ours:
            raise Failed(f"mapping.json names what was not run: {check}, {cases}")
        conforms = all(outcome.behavior in results.CONFORMING for outcome in outcomes)
        if conforms != (ours[check] != "failed"):
            said = ", ".join(f"{case} {theirs[case].behavior}" for case in cases if case in theirs)
            found[check] = f"{ours[check]} here, {said}"
    return found


def judge(name: str, expected: dict, options: argparse.Namespace) -> tuple[int, int]:
    passed = failed = 0

    def tell(good: bool, what: str) -> None:
        nonlocal passed, failed
        passed, failed = passed + good, failed + (not good)
        if not good:
            print(f"FAILED  {name}: {what}", flush=True)

    with Child(SERVERS[name](), STATE / f"{name}.log") as child:
        url = "ws://" + child.wait_for("listening on ", START_SECONDS_MAX) + "/"
        found = verdicts(url)
        # What passes is not written down.
        worth = {check: outcome for check, outcome in found.items() if outcome != "passed"}
        if options.update:
            expected[name] = worth
        known = expected.get(name, {})
        for check, outcome in found.items():
            wanted = known.get(check, "passed")
            tell(outcome == wanted, f"{check} is {outcome}, not {wanted}")
        for check in known.keys() - found.keys():
            tell(False, f"{check} was not run")
        if options.autobahn:
            differ = disagreements(found, testsuite(name, url))
            reasons = json.loads((HERE / "differences.json").read_text()).get(name, {})
            for check, what in differ.items():
                tell(check in reasons, f"{check}: {what}")
            for check in reasons.keys() - differ.keys():
                tell(False, f"{check} stands in differences.json, but does not differ")
    print(f"        {name}: {sum(outcome == 'failed' for outcome in found.values())} of {len(found)} checks fail", flush=True)
    return passed, failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SERVERS))
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--autobahn", action="store_true")
    options = parser.parse_args()
    unknown = set(options.names) - SERVERS.keys()
    if unknown:
        parser.error(f"there is no server {', '.join(unknown)}; there are {', '.join(SERVERS)}")
    file = HERE / "expected.json"
    expected = json.loads(file.read_text()) if file.exists() else {}
    passed = failed = 0
    try:
        cargo("-p", "switchboard-server")
        for name in options.names or SERVERS:
            try:
                counts = judge(name, expected, options)
            except (Failed, subprocess.TimeoutExpired) as failure:
                print(f"FAILED  {name}: {failure}", flush=True)
                counts = (0, 1)
            passed, failed = passed + counts[0], failed + counts[1]
    except Missing as missing:
        print(f"error: the servers cannot be run here. Missing: {missing}", file=sys.stderr)
        return 3
    if options.update:
        file.write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
