"""Owns how a check in Python is run, timed and told: one line a check on standard output, `ok NAME` or `not ok NAME: reason`.
Knows nothing of WebSocket.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable

SECONDS_MAX = 30
SHOWN_MAX = 300

Check = Callable[[str], Awaitable[None]]


def main(*checks: Check) -> None:
    """Runs each check with the address that the command line gives. Exits with 1 if one failed."""
    failures = asyncio.run(run(sys.argv[1], checks))
    sys.stdout.flush()
    # A peer that misbehaved may have left threads behind, and they shall not keep the process.
    os._exit(1 if failures else 0)


async def run(address: str, checks: tuple[Check, ...]) -> int:
    failures = 0
    for check in checks:
        name = check.__name__.replace("_", " ").strip()
        try:
            async with asyncio.timeout(SECONDS_MAX):
                await check(address)
        except TimeoutError:
            failures += 1
            print(f"not ok {name}: not done within {SECONDS_MAX} s", flush=True)
        except Exception as error:
            failures += 1
            print(f"not ok {name}: {short(f'{type(error).__name__}: {error}')}", flush=True)
        else:
            print(f"ok {name}", flush=True)
    return failures


def equal(found: object, expected: object) -> None:
    if found != expected or type(found) is not type(expected):
        raise AssertionError(f"found {short(repr(found))}, expected {short(repr(expected))}")


def short(text: str) -> str:
    text = text.replace("\n", " ")
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}… ({len(text)} characters)"
