"""The messages that every check of compression sends. Owns nothing else."""

from __future__ import annotations

import os

MIB = 1 << 20
JSON = '{"type":"message","channel":"room:42","data":{"user":"ann","text":"κόσμε — 🌍"}}'


def messages() -> list[str | bytes]:
    """Such as shrink, such as do not, such as look back to those before; empty and large ones."""
    return [
        "",
        "a",
        JSON,
        JSON,
        b"",
        os.urandom(100),
        JSON * 50,
        os.urandom(70_000),
        JSON,
        bytes(100_000),
        "🌍 " * (MIB // 5),
        os.urandom(MIB),
        JSON,
    ]
