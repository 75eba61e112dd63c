#!/usr/bin/env python3
"""Runs the Autobahn testsuite against an echo server or an echo client and compares the outcome of every case with a file.

    run.py install
    run.py server [options] URL           a server that runs already
    run.py server [options] -- COMMAND…   starts it; it must print `listening on ADDRESS`
    run.py client [options] -- COMMAND…   runs COMMAND URL AGENT against the testsuite's server

Exit status: 0 as expected, 1 not, 2 wrong usage, 3 something that the testsuite needs is missing here.
Owns the processes and their time limits. Knows nothing of what a case tests.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import pathlib
import shutil
import sys
import time

import results
from environment import HERE, Environment, Missing

sys.path.append(str(HERE.parent))
from processes import STOP_SECONDS_MAX, Child, Failed  # noqa: E402

TIERS = {"ci": ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"]}
# 9.*: messages up to 16 MiB, a million round trips.
TIERS["full"] = [*TIERS["ci"], "9.*"]
# Compression: 216 cases of a thousand messages each, which take the testsuite an hour.
TIERS["compression"] = ["12.*", "13.*"]
# Of each of their groups, which differ in what is agreed and what is sent, messages of 256 bytes; of a few, 8 KiB in fragments.
GROUPS = [*(f"12.{group}" for group in range(1, 6)), *(f"13.{group}" for group in range(1, 8))]
TIERS["compression-ci"] = [*(f"{group}.3" for group in GROUPS), "12.1.11", "13.1.11", "13.4.11"]

# How long one case may take. Most of 9.* give a peer 100 s.
IDLE_SECONDS_MAX = {"ci": 60, "full": 150, "compression": 300, "compression-ci": 120}
TOTAL_SECONDS_MAX = {"ci": 900, "full": 3600, "compression": 4 * 3600, "compression-ci": 900}
START_SECONDS_MAX = 600  # an echo server may have to be built first


class Run:
    """One run of the testsuite: its folder, the cases that it chose, the outcomes."""

    def __init__(self, options: argparse.Namespace, environment: Environment):
        self.environment = environment
        self.agent = options.agent
        self.patterns = options.cases.split(",") if options.cases else TIERS[options.tier]
        self.idle_seconds_max = IDLE_SECONDS_MAX[options.tier]
        self.deadline = time.monotonic() + TOTAL_SECONDS_MAX[options.tier]
        self.folder = environment.cache / "reports" / f"{options.role}-{options.agent}"
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.cases: list[str] = []

    def wstest(self, mode: str, **spec: object) -> Child:
        spec_file = self.folder / "spec.json"
        common = {"outdir": str(self.folder), "cases": self.patterns, "exclude-cases": [], "exclude-agent-cases": {}}
        spec_file.write_text(json.dumps({**common, **spec}))
        command = self.environment.command(str(HERE / "launch.py"), "-m", mode, "-s", str(spec_file), "-u", "0")
        return Child(command, self.folder / "wstest.log", self.environment.variables())

    def server(self, url: str) -> None:
        """The testsuite is the client."""
        servers = [{"agent": self.agent, "url": url, "options": {"version": 18}}]
        with self.wstest("fuzzingclient", servers=servers) as wstest:
            self.cases = chosen_cases(wstest)
            self.follow(wstest)

    def client(self, command: list[str]) -> None:
        """The testsuite is the server."""
        with self.wstest("fuzzingserver", url="ws://127.0.0.1:9001") as wstest:
            self.cases = chosen_cases(wstest)
            address = wstest.wait_for("listening on ", 60)
            arguments = [*command, f"ws://{address}", self.agent]
            with Child(arguments, self.folder / "client.log") as client:
                self.follow(client)
                client.process.wait(STOP_SECONDS_MAX)
            if client.process.returncode != 0:
                raise Failed(f"{client.name} exited with {client.process.returncode} (its output: {client.log})")

    def follow(self, child: Child) -> None:
        started = time.monotonic()
        while (line := child.line(min(self.deadline, time.monotonic() + self.idle_seconds_max))) is not None:
            if line.startswith("Connection to ") and "failed" in line:
                raise Failed(line)
        print(f"{len(self.cases)} cases in {time.monotonic() - started:.0f} s; report: {self.folder}", file=sys.stderr)


def chosen_cases(wstest: Child) -> list[str]:
    return [str(case) for case in ast.literal_eval(wstest.wait_for("Cases = ", 60))]


def judge(options: argparse.Namespace, cases: list[str], found: results.Outcomes) -> bool:
    if options.update:
        results.write_expected(options.compare, found)
    if options.compare:
        expected = results.read_expected(options.compare)
    else:
        # Without a file, whatever conforms is as expected.
        ok = results.Outcome("OK", "OK")
        expected = {case: found[case] if case in found and found[case].conforms() else ok for case in cases}
    differences = results.compare(cases, expected, found)
    if differences:
        print(results.table(differences))
    if any(difference.verdict() == "better" for difference in differences):
        print("some are better than expected: write them down with --update")
    print(f"{len(cases) - len(differences)} passed, {len(differences)} failed")
    return bool(cases) and not differences


def echo_server(options: argparse.Namespace, run: Run) -> None:
    if options.url:
        run.server(options.url)
        return
    with Child(options.command, run.folder / "server.log") as server:
        run.server("ws://" + server.wait_for("listening on ", START_SECONDS_MAX).removeprefix("ws://"))
        if server.process.poll() is not None:
            raise Failed(f"the server ended with {server.process.returncode} (its output: {server.log})")


def parse(arguments: list[str]) -> argparse.Namespace:
    command: list[str] = []
    if "--" in arguments:
        split = arguments.index("--")
        arguments, command = arguments[:split], arguments[split + 1 :]
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE.parents[1] / "target"))
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--cache", type=pathlib.Path, default=target / "autobahn", help="where Python 2.7 and reports go")
    common.add_argument("--mirror", help="Debian mirror that has Python 2.7 (default: the machine's own)")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    roles = parser.add_subparsers(dest="role", required=True)
    roles.add_parser("install", parents=[common])
    for role in ("server", "client"):
        sub = roles.add_parser(role, parents=[common])
        sub.add_argument("--tier", choices=list(TOTAL_SECONDS_MAX), default="ci")
        sub.add_argument("--cases", help="patterns with commas between, such as 1.*,7.9.1, instead of the tier's")
        sub.add_argument("--agent", default="switchboard", help="the peer's name in the report")
        sub.add_argument("--compare", type=pathlib.Path, metavar="FILE", help="the expected outcomes")
        sub.add_argument("--update", action="store_true", help="write the outcomes to the file of --compare")
        if role == "server":
            sub.add_argument("url", nargs="?", metavar="URL")
    options = parser.parse_args(arguments)
    options.command = command
    options.cache = options.cache.resolve()
    if options.role != "install":
        if options.update and not options.compare:
            parser.error("--update needs --compare FILE")
        if bool(command) == bool(getattr(options, "url", None)):
            parser.error("give a URL or -- COMMAND" if options.role == "server" else "give -- COMMAND")
    return options


def main() -> int:
    options = parse(sys.argv[1:])
    environment = Environment(options.cache)
    try:
        environment.install(options.mirror)
        if options.role == "install":
            print(f"the testsuite is ready in {environment.folder}")
            return 0
        run = Run(options, environment)
        try:
            if options.role == "server":
                echo_server(options, run)
            else:
                run.client(options.command)
        except Failed as failure:
            print(f"error: {failure}", file=sys.stderr)
            return 1
        return 0 if judge(options, run.cases, results.read_report(run.folder, run.agent)) else 1
    except Missing as missing:
        print(f"error: the Autobahn testsuite cannot run here. Missing: {missing}", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
