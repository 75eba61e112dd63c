#!/usr/bin/env python3
"""Writes docs/reference/comparison.md from what is stored: facts, conformance, benchmark.

    compare.py                 writes the page
    compare.py --check         fails if the page is not what the stored data give
    compare.py conformance     runs the testsuite's CI tier against each peer's echo server, stores the outcomes, writes the page

Owns how the page looks. The facts are facts.json's, with where each can be looked up; the outcomes are conformance/autobahn's; the figures
bench/results/reference.json's. Nothing is measured here.
"""

from __future__ import annotations

import collections
import json
import pathlib
import subprocess
import sys
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
AUTOBAHN = ROOT / "conformance" / "autobahn"
PAGE = ROOT / "docs" / "reference" / "comparison.md"
OURS = "switchboard-ws"
# The library, the program in bench/peers that echoes with it, and its arguments.
PEERS = {
    "tokio-tungstenite": ["peer-tungstenite-echo"],
    "fastwebsockets": ["peer-fastwebsockets"],
    "tokio-websockets": ["peer-tokio-websockets"],
    # Whether text is UTF-8 it looks only if it is told to, and the testsuite expects it.
    "yawc": ["peer-yawc", "--utf8"],
}


def versions() -> dict[str, str]:
    locked = tomllib.loads((ROOT / "bench" / "Cargo.lock").read_text())
    return {package["name"]: package["version"] for package in locked["package"]}


def run_conformance() -> None:
    packages = [argument for name in PEERS for argument in ("--package", f"peer-{name}")]
    subprocess.run(["cargo", "build", "--locked", "--manifest-path", "bench/Cargo.toml", *packages], cwd=ROOT, check=True)
    metadata = ["cargo", "metadata", "--no-deps", "--format-version", "1", "--manifest-path", "bench/Cargo.toml"]
    target = json.loads(subprocess.run(metadata, cwd=ROOT, check=True, capture_output=True).stdout)["target_directory"]
    for name, (program, *arguments) in PEERS.items():
        stored = AUTOBAHN / "peers" / f"{name}.json"
        command = [sys.executable, str(AUTOBAHN / "run.py"), "server", "--agent", name, "--compare", str(stored), "--update"]
        command += ["--", f"{target}/debug/{program}", *arguments, "--listen", "127.0.0.1:0"]
        subprocess.run(command, cwd=ROOT, check=True)


def outcomes(name: str) -> dict[str, str]:
    path = AUTOBAHN / "expected-server.json" if name == OURS else AUTOBAHN / "peers" / f"{name}.json"
    return {case: outcome.split(" / ")[0] for case, outcome in json.loads(path.read_text()).items()}


def facts_section(facts: dict) -> list[str]:
    names = [OURS, *PEERS]
    found = versions()
    lines = ["## What they do", "", "| | " + " | ".join(f"{name} {found.get(name, '')}".strip() for name in names) + " |"]
    lines.append("|---|" + "---|" * len(names))
    for fact in facts["facts"]:
        missing = [name for name in names if name not in fact]
        if missing:
            sys.exit(f"facts.json: \"{fact['what']}\" says nothing of {', '.join(missing)}")
        lines.append(f"| {fact['what']} | " + " | ".join(fact[name] for name in names) + " |")
    stale = [f"{name} {facts['versions'][name]}" for name in PEERS if facts["versions"][name] != found[name]]
    if stale:
        sys.exit(f"facts.json was checked against {', '.join(stale)}; bench/Cargo.lock has other versions: check again")
    return lines + ["", *facts["sources"]]


def conformance_section() -> list[str]:
    cases = sorted(outcomes("yawc"))
    lines = [
        "## What the testsuite says",
        "",
        f"Autobahn's CI tier as `conformance/autobahn/run.py` has it, {len(cases)} cases, against an echo server of a few lines of each (bench/peers).",
        "",
        "| | OK | not strict | informational | failed |",
        "|---|---:|---:|---:|---:|",
    ]
    notes = []
    for name in [OURS, *PEERS]:
        found = outcomes(name)
        count = collections.Counter(found.get(case, "MISSING") for case in cases)
        row = [count.pop(kind, 0) for kind in ("OK", "NON-STRICT", "INFORMATIONAL", "FAILED")]
        if count:
            sys.exit(f"{name}: outcomes without a column: {dict(count)}")
        lines.append(f"| {name} | " + " | ".join(map(str, row)) + " |")
        others = sorted({case.rsplit(".", 1)[0] + ".*" for case in cases if found[case] in ("FAILED", "NON-STRICT")}, key=order)
        if others:
            notes.append(f"- {name}: not OK are some of {', '.join(others)}.")
    return [*lines, "", *notes]


def order(case: str) -> list[int]:
    return [int(part) for part in case.split(".") if part != "*"]


def speed_section(reference: dict) -> list[str]:
    about = reference["about"]
    lines = [
        "## How fast",
        "",
        f"CPU time of the server for each message, in proportion to `{OURS}` (1.00; more is slower), from the stored run of `{about['command']}` at "
        f"{about['commit']}: {about['machine']['cpus']} CPUs {about['machine']['cpu']}, Linux {about['machine']['kernel']}. How it is measured, "
        "and what it does not show: [bench/README.md](../../bench/README.md). `connect` is for each connection, and `idle` is no time but the memory that a "
        "connection holds. A server that answers by one write what one read brought, as the library's own here does, gains most in `echo-20-deep`; "
        "tokio-tungstenite has a way to do that too (`forward`), which that page measures.",
        "",
        "| scenario | " + " | ".join(PEERS) + " |",
        "|---|" + "---:|" * len(PEERS),
    ]
    slower = []
    for result in reference["results"]:
        # `fastwebsockets 0.10.0`: the version stands in the head of the first table.
        each = {server["server"].split(" ")[0]: server["each"] for server in result["servers"]}
        if OURS not in each or not any(name in each for name in PEERS):
            continue
        ratios = {name: each[name] / each[OURS] for name in PEERS if name in each}
        lines.append(f"| `{result['scenario']}` | " + " | ".join(f"{ratios[n]:.2f}" if n in ratios else "–" for n in PEERS) + " |")
        slower += [f"`{result['scenario']}`: {name} needs {ratio:.2f} of what it needs" for name, ratio in ratios.items() if ratio < 0.995]
    lines += ["", f"Where another is faster than `{OURS}`:" if slower else f"None is faster than `{OURS}` in these.", ""]
    return lines + [f"- {line}" for line in slower]


def page() -> str:
    facts = json.loads((HERE / "facts.json").read_text())
    reference = json.loads((ROOT / "bench" / "results" / "reference.json").read_text())
    lines = [
        "# Compared with other libraries",
        "",
        "Made by `python3 bench/compare/compare.py` from stored data; do not edit it here. The libraries are those for tokio that are measured in "
        "[bench](../../bench/README.md).",
        "",
        *facts_section(facts),
        "",
        *conformance_section(),
        "",
        *speed_section(reference),
        "",
        "## What is worse here",
        "",
        *[f"- {line}" for line in facts["worse"]],
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    match sys.argv[1:]:
        case [] | ["--check"] | ["conformance"]:
            pass
        case _:
            sys.exit(__doc__)
    if sys.argv[1:] == ["conformance"]:
        run_conformance()
    text = page()
    if sys.argv[1:] != ["--check"]:
        PAGE.write_text(text)
    elif not PAGE.exists() or PAGE.read_text() != text:
        sys.exit(f"{PAGE.relative_to(ROOT)} is not what the stored data give; run bench/compare/compare.py and commit it")


if __name__ == "__main__":
    main()
