"""Owns the server under test: its configuration, its start, its addresses, and a web site whose pages may connect to it. Knows
nothing of checks.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.server
import json
import os
import pathlib
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator

from certificates import Certificates
from processes import Child, Failed

START_SECONDS_MAX = 30

CONFIGURATION = """\
[server]
listen = "127.0.0.1:0"
admin_listen = "127.0.0.1:0"
drain_window = "2s"

[[apps]]
id = "main"
default = true
secret = "{secret}"
api_keys = ["{api_key}"]
origins = {origins}
anonymous = [{{ match = "*", allow = ["subscribe", "publish", "presence", "history"] }}]

[[apps]]
id = "other"
key = "other-key"
secret = "{other_secret}"
origins = []
anonymous = [{{ match = "*", allow = ["subscribe", "publish", "presence", "history"] }}]

[[apps]]
id = "1001"
key = "pusher-key"
secret = "{pusher_secret}"
api_keys = ["{pusher_api_key}"]
origins = {origins}
anonymous = [{{ match = "*", allow = ["subscribe", "history"] }}]

[[raw]]
path = "/chat"
channel = "chat"
"""


class Product:
    """A running server."""

    def __init__(self, child: Child, about: dict[str, object]):
        self.child = child
        self.about = about

    def text(self, **more: object) -> str:
        """For a suite's command line."""
        return json.dumps({**self.about, **more})


@contextlib.contextmanager
def serving(
    command: list[str],
    scheme: str,
    made: Certificates,
    folder: pathlib.Path,
    more: str = "",
    origins: tuple[str, ...] = (),
) -> Iterator[Product]:
    """Starts `command serve` for ws or wss; `folder` takes its configuration, to which `more` is added, and its log. Pages of
    `origins` may connect besides its own."""
    folder.mkdir(parents=True, exist_ok=True)
    with web_site() as site:
        secret, other_secret, api_key = (secrets.token_hex(32) for _ in range(3))
        # Pusher's libraries take numbers as ids only.
        pusher = {"id": "1001", "key": "pusher-key", "secret": secrets.token_hex(32), "api_key": secrets.token_hex(32)}
        pusher["encryption_key"] = base64.b64encode(secrets.token_bytes(32)).decode()
        file = folder / "switchboard.toml"
        page = f"http://127.0.0.1:{site}"
        allowed = json.dumps([page, *origins])
        given = {"pusher_secret": pusher["secret"], "pusher_api_key": pusher["api_key"], "origins": allowed}
        text = CONFIGURATION.format(secret=secret, other_secret=other_secret, api_key=api_key, **given)
        file.write_text(text + more)
        os.chmod(file, 0o600)
        tls = ["--tls-cert", str(made.chain), "--tls-key", str(made.key)] if scheme == "wss" else []
        with Child([*command, "serve", "--config", str(file), *tls], folder / "serve.log") as child:
            base, admin = addresses(child, scheme)
            tokens = {user: token(user, secret) for user in ("ann", "bob")}
            about = {
                "base": base,
                "admin": admin,
                "http": base.replace("ws", "http", 1),
                "key": "other-key",
                "secret": secret,
                "api_key": api_key,
                "pusher": pusher,
                "tokens": tokens,
                "page": page,
                "foreign_page": f"http://localhost:{site}",
                "pid": child.process.pid,
            }
            if scheme == "wss":
                about |= {"ca": str(made.authority), "spki": made.spki}
            yield Product(child, about)


def addresses(child: Child, scheme: str) -> tuple[str, str]:
    """Where clients connect, and the admin listener, which the log names before."""
    admin = ""
    deadline = time.monotonic() + START_SECONDS_MAX
    while (line := child.line(deadline)) is not None:
        if found := re.search(r"admin=Some\((127\.0\.0\.1:[1-9]\d*)\)", line):
            admin = found[1]
        if found := re.search(rf"({scheme}://127\.0\.0\.1:[1-9]\d*)", line):
            return found[1], admin
    raise Failed(f"the server ended without an address (its output: {child.log})")


def token(user: str, secret: str) -> str:
    grant = {"match": "room:*", "allow": ["subscribe", "publish", "presence", "history"]}
    claims = {"sub": user, "exp": int(time.time()) + 3600, "channels": [grant]}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "HS256"}, claims)]
    signature = hmac.digest(secret.encode(), b".".join(parts), hashlib.sha256)
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>A page</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    log_message: Callable[..., None] = lambda *_: None


@contextlib.contextmanager
def web_site() -> Iterator[int]:
    """The port of a site with an empty page. As `http://127.0.0.1:PORT` its origin is allowed, as `http://localhost:PORT` not."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    server.daemon_threads = True
    # A browser that goes away in the middle is none of our business.
    server.handle_error = lambda *_: None
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
