"""Owns the certificates of one run: an authority and a certificate for loopback, made by the machine's `openssl`."""

from __future__ import annotations

import base64
import hashlib
import pathlib
import subprocess
from typing import NamedTuple

from environment import Missing, need

KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


class Certificates(NamedTuple):
    authority: pathlib.Path
    chain: pathlib.Path
    key: pathlib.Path
    # What Chromium calls the SPKI: base64 of the SHA-256 of the public key.
    spki: str


def make(folder: pathlib.Path) -> Certificates:
    """Makes fresh ones, valid for two days. Raises `Missing` without `openssl`."""
    need("openssl", "Debian: apt-get install openssl")
    folder.mkdir(parents=True, exist_ok=True)
    authority, authority_key = folder / "authority.pem", folder / "authority.key"
    leaf, request, key, chain = (folder / name for name in ("leaf.pem", "leaf.csr", "leaf.key", "chain.pem"))
    extensions = folder / "extensions"
    extensions.write_text(
        "subjectAltName=IP:127.0.0.1,IP:::1,DNS:localhost\n"
        "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n"
    )
    openssl("req", "-x509", *KEY, "-keyout", authority_key, "-out", authority, "-days", "2", "-subj", "/CN=Interop authority")
    openssl("req", *KEY, "-keyout", key, "-out", request, "-subj", "/CN=localhost")
    signed_by = ["-CA", authority, "-CAkey", authority_key, "-CAcreateserial", "-extfile", extensions]
    openssl("x509", "-req", "-in", request, *signed_by, "-out", leaf, "-days", "2")
    chain.write_text(leaf.read_text() + authority.read_text())
    public = openssl("pkey", "-in", key, "-pubout", "-outform", "DER")
    return Certificates(authority, chain, key, base64.b64encode(hashlib.sha256(public).digest()).decode())


def openssl(*arguments: object) -> bytes:
    command = ["openssl", *map(str, arguments)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    if done.returncode != 0:
        raise Missing(f"an `openssl` that can do this: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
