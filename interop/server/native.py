"""Owns a small client of the native protocol, written from docs/reference/native-protocol.md on top of Python's `websockets`, and
tokens. Knows nothing of checks' order.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import ssl
import time

from checks import short
from websockets.asyncio.client import connect


class Server:
    """What the runner tells about the server under test: a JSON object on the command line."""

    def __init__(self, text: str):
        about = json.loads(text)
        self.base: str = about["base"]  # ws://HOST:PORT or wss://HOST:PORT
        self.http: str = about["http"]
        self.key: str = about["key"]  # of the second application
        self.secret: str = about["secret"]
        self.api_key: str = about["api_key"]
        self.page: str = about["page"]  # the origin whose pages may connect
        self.ca: str | None = about.get("ca")

    def tls(self) -> ssl.SSLContext | None:
        return ssl.create_default_context(cafile=self.ca) if self.ca and self.base.startswith("wss") else None

    def connect(self, path: str, **options: object) -> connect:
        return connect(self.base + path, ssl=self.tls(), compression=None, close_timeout=5, max_size=None, **options)

    def token(self, user: str, seconds: float = 600, allow: tuple[str, ...] | None = None, **claims: object) -> str:
        operations = allow or ("subscribe", "publish", "presence", "history")
        now = int(time.time())
        grant = {"match": "room:*", "allow": list(operations)}
        return jwt({"sub": user, "iat": now, "exp": now + int(seconds), "channels": [grant], **claims}, self.secret)


def jwt(claims: dict[str, object], secret: str, **header: str) -> str:
    head = {"alg": "HS256", "typ": "JWT", **header}
    signed = b".".join(url64(json.dumps(part).encode()) for part in (head, claims))
    return (signed + b"." + url64(hmac.digest(secret.encode(), signed, hashlib.sha256))).decode()


def url64(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


class Client:
    """One connection that has been welcomed. `async with Client(server) as client`."""

    def __init__(self, server: Server, path: str = "/ws", token: str | None = None, **options: object):
        if token:
            options["additional_headers"] = {"Authorization": f"Bearer {token}"}
        self.opening = server.connect(path, **options)
        self.ids = itertools.count(1)
        self.waiting: list[dict] = []

    async def __aenter__(self) -> Client:
        self.socket = await self.opening.__aenter__()
        self.welcome = await self.next()
        if self.welcome["type"] != "welcome":
            raise AssertionError(f"the first message is {self.welcome}")
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.opening.__aexit__(*error)

    async def send(self, **message: object) -> None:
        await self.socket.send(json.dumps(message))

    async def send_binary(self, payload: bytes, **header: object) -> None:
        head = json.dumps(header).encode()
        await self.socket.send(len(head).to_bytes(2, "big") + head + payload)

    async def receive(self) -> dict:
        """The next frame as it comes; a binary one has its payload as `data`."""
        frame = await self.socket.recv()
        if isinstance(frame, str):
            return json.loads(frame)
        length = int.from_bytes(frame[:2], "big")
        return {**json.loads(frame[2 : 2 + length]), "data": frame[2 + length :]}

    async def next(self) -> dict:
        """The next message that no request has taken for its answer."""
        return self.waiting.pop(0) if self.waiting else await self.receive()

    async def answer(self, id: object) -> dict:
        """The answer to the request with this id. What comes before it is kept for `next`."""
        before, self.waiting = self.waiting, []
        while True:
            message = before.pop(0) if before else await self.receive()
            if message.get("id") == id:
                self.waiting += before
                return message
            self.waiting.append(message)

    async def request(self, type: str, **members: object) -> dict:
        """Sends a request and gives its `ok`. An `error` raises."""
        answer = await self.ask(type, **members)
        if answer["type"] != "ok":
            raise AssertionError(f"{type} was answered by {short(str(answer))}")
        return answer

    async def ask(self, type: str, **members: object) -> dict:
        id = next(self.ids)
        await self.send(type=type, id=id, **members)
        return await self.answer(id)

    async def refused(self, type: str, **members: object) -> str:
        """Sends a request and gives the code of its `error`. An `ok` raises."""
        answer = await self.ask(type, **members)
        if answer["type"] != "error":
            raise AssertionError(f"{type} was answered by {short(str(answer))}")
        return answer["code"]

    async def publications(self, count: int) -> list[tuple[object, int]]:
        """(data, offset) of the next `count` messages."""
        found = []
        while len(found) < count:
            message = await self.next()
            if message["type"] != "message":
                raise AssertionError(f"found {short(str(message))} instead of a publication")
            found.append((message["data"], message["offset"]))
        return found

    async def quiet(self) -> None:
        """Raises if anything is waiting: a ping is answered after everything that was queued before it."""
        id = f"quiet-{next(self.ids)}"
        await self.send(type="ping", id=id)
        answer = await self.answer(id)
        if answer["type"] != "pong" or self.waiting:
            raise AssertionError(f"not quiet: {short(str([*self.waiting, answer]))}")
