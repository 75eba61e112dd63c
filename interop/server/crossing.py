"""How the protocols meet: each publisher, each content, each receiver, compared with the tables of docs/reference/conversion.md.

Owns the publishers and receivers of each protocol, as small as they can be. Argument: what the runner tells about the server.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import pathlib
import re
import sys
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from checks import equal, main  # noqa: E402
from native import Server, jwt  # noqa: E402

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/reference/conversion.md"
CHANNEL = "private-crossing"
RECEIVERS = ("native", "raw", "Pusher", "SSE", "lines", "polls")
SECONDS_MAX = 10


class Place:
    """The application on which all meet, and how each protocol reaches it."""

    def __init__(self, about: str):
        self.server = Server(about)
        pusher = json.loads(about)["pusher"]
        self.id, self.key, self.secret, self.api_key = (pusher[name] for name in ("id", "key", "secret", "api_key"))
        self.host = self.server.http.removeprefix("http://")
        allow = ["subscribe", "publish", "presence", "history"]
        grants = [{"match": match, "allow": allow} for match in ("private-crossing", "presence-crossing", "room:1")]
        self.bearer = {"Authorization": "Bearer " + self.token("bob", grants)}

    def token(self, user: str, grants: list[dict]) -> str:
        return jwt({"sub": user, "exp": int(time.time()) + 600, "channels": grants}, self.secret)

    def sign(self, text: str) -> str:
        return hmac.new(self.secret.encode(), text.encode(), hashlib.sha256).hexdigest()

    def request(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> dict:
        connection = http.client.HTTPConnection(self.host, timeout=SECONDS_MAX)
        raw = None if body is None else body if isinstance(body, str) else json.dumps(body)
        connection.request(method, path, raw and raw.encode(), headers or {})
        response = connection.getresponse()
        answer = response.read().decode()
        connection.close()
        if response.status != 200:
            raise AssertionError(f"{method} {path}: {response.status} {answer}")
        return {"text": answer, **(json.loads(answer) if answer.startswith("{") else {})}

    def pusher_events(self, channel: str, event: str, data: str) -> None:
        body = json.dumps({"name": event, "channels": [channel], "data": data})
        path = f"/apps/{self.id}/events"
        query = {"auth_key": self.key, "auth_timestamp": str(int(time.time())), "auth_version": "1.0"}
        query["body_md5"] = hashlib.md5(body.encode()).hexdigest()
        signed = "\n".join(("POST", path, "&".join(f"{name}={query[name]}" for name in sorted(query))))
        query["auth_signature"] = self.sign(signed)
        self.request("POST", f"{path}?{urllib.parse.urlencode(query)}", body)


# ---- publishers: each takes what is published and says it in its protocol's way. `None` if it cannot.


def data_of(kind: str, content: str) -> object:
    return json.loads(content) if kind == "JSON" else content


async def by_native(place: Place, kind: str, content: str, event: str | None) -> bool:
    more = {"event": event} if event else {}
    async with place.server.connect(f"/ws/{place.key}", additional_headers=place.bearer) as socket:
        header = {"type": "publish", "id": 1, "channel": CHANNEL, **more}
        if kind == "bytes":
            head = json.dumps(header).encode()
            await socket.send(len(head).to_bytes(2, "big") + head + bytes.fromhex(content))
        else:
            # Its text as it stands: the server keeps it so.
            text = content if kind == "JSON" else json.dumps(content, ensure_ascii=False)
            await socket.send(json.dumps(header)[:-1] + f', "data":{text}}}')
        while json.loads(await socket.recv()).get("id") != 1:
            pass
    return True


async def by_raw(place: Place, kind: str, content: str, event: str | None) -> bool:
    if kind == "JSON" or event:
        return False
    path = f"/raw/{CHANNEL}?app={place.key}"
    async with place.server.connect(path, additional_headers=place.bearer) as socket:
        await socket.send(bytes.fromhex(content) if kind == "bytes" else content)
        await socket.recv()
    return True


def pusher_data(kind: str, content: str) -> str:
    """As Pusher's libraries write it: JSON as its text; text as itself unless that would be read as something else."""
    if kind == "JSON":
        return content
    with contextlib.suppress(ValueError):
        json.loads(content)
        return json.dumps(content)
    return content


async def by_pusher_client(place: Place, kind: str, content: str, event: str | None) -> bool:
    if kind == "bytes" or event != "client-score":
        return False
    async with place.server.connect(f"/app/{place.key}?protocol=7") as socket:
        await pusher_subscribe(place, socket, CHANNEL)
        message = {"event": event, "channel": CHANNEL, "data": pusher_data(kind, content)}
        await socket.send(json.dumps(message, ensure_ascii=False))
        await socket.send(json.dumps({"event": "pusher:ping", "data": {}}))
        while json.loads(await socket.recv())["event"] != "pusher:pong":
            pass
    return True


async def by_pusher_http(place: Place, kind: str, content: str, event: str | None) -> bool:
    if kind == "bytes" or event is None:
        return False
    await asyncio.to_thread(place.pusher_events, CHANNEL, event, pusher_data(kind, content))
    return True


def publish_body(kind: str, content: str, event: str | None) -> str:
    more = {"event": event} if event else {}
    if kind == "bytes":
        data, more["encoding"] = json.dumps(base64.b64encode(bytes.fromhex(content)).decode()), "base64"
    else:
        data = content if kind == "JSON" else json.dumps(content, ensure_ascii=False)
    return json.dumps({"channel": CHANNEL, **more})[:-1] + f', "data":{data}}}'


async def by_http_api(place: Place, kind: str, content: str, event: str | None) -> bool:
    headers = {"Authorization": f"Bearer {place.api_key}"}
    await asyncio.to_thread(place.request, "POST", "/api/v1/publish", publish_body(kind, content, event), headers)
    return True


async def by_post(place: Place, kind: str, content: str, event: str | None) -> bool:
    path = f"/client/v1/publish?app={place.key}"
    await asyncio.to_thread(place.request, "POST", path, publish_body(kind, content, event), place.bearer)
    return True


PUBLISHERS = {
    "native": by_native,
    "raw": by_raw,
    "Pusher client event": by_pusher_client,
    "Pusher HTTP": by_pusher_http,
    "HTTP API": by_http_api,
    "POST": by_post,
}

# ---- receivers: each puts what arrives into a queue, as it is on the wire.


async def pusher_subscribe(place: Place, socket: object, channel: str, member: str | None = None) -> dict:
    opened = json.loads(await socket.recv())
    socket_id = json.loads(opened["data"])["socket_id"]
    data: dict[str, str] = {"channel": channel}
    signed = f"{socket_id}:{channel}"
    if member:
        data["channel_data"] = json.dumps({"user_id": member})
        signed += ":" + data["channel_data"]
    if channel.startswith(("private-", "presence-")):
        data["auth"] = f"{place.key}:{place.sign(signed)}"
    await socket.send(json.dumps({"event": "pusher:subscribe", "data": data}))
    while True:
        answer = json.loads(await socket.recv())
        if answer["event"] == "pusher_internal:subscription_succeeded":
            return answer
        if "error" in answer["event"]:
            raise AssertionError(str(answer))


async def native_queue(place: Place, queue: asyncio.Queue, ready: asyncio.Event) -> None:
    async with place.server.connect(f"/ws/{place.key}", additional_headers=place.bearer) as socket:
        await socket.send(json.dumps({"type": "subscribe", "id": 1, "channel": CHANNEL}))
        async for message in socket:
            if isinstance(message, bytes) or '"type":"message"' in message:
                await queue.put(message)
            elif '"type":"ok"' in message:
                ready.set()


async def raw_queue(place: Place, queue: asyncio.Queue, ready: asyncio.Event) -> None:
    async with place.server.connect(f"/raw/{CHANNEL}?app={place.key}", additional_headers=place.bearer) as socket:
        ready.set()
        async for message in socket:
            await queue.put(message)


async def pusher_queue(place: Place, queue: asyncio.Queue, ready: asyncio.Event) -> None:
    async with place.server.connect(f"/app/{place.key}?protocol=7") as socket:
        await pusher_subscribe(place, socket, CHANNEL)
        ready.set()
        async for message in socket:
            if '"event":"pusher' not in message:
                await queue.put(message)


async def lines_of(place: Place, path: str, separator: bytes):
    """What a response that goes on brings, in parts."""
    host, port = place.host.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        head = f"GET {path} HTTP/1.1\r\nHost: {place.host}\r\nAuthorization: {place.bearer['Authorization']}\r\n\r\n"
        writer.write(head.encode())
        response = await reader.readuntil(b"\r\n\r\n")
        equal(response.split(b"\r\n")[0], b"HTTP/1.1 200 OK")
        equal(b"chunked" in response.lower(), False)
        waiting = b""
        # It ends with the connection.
        while part := await reader.read(65536):
            waiting += part
            *parts, waiting = waiting.split(separator)
            for part in parts:
                yield part.decode()
    finally:
        writer.close()


async def sse_queue(place: Place, queue: asyncio.Queue, ready: asyncio.Event) -> None:
    async for event in lines_of(place, f"/sse?channel={CHANNEL}&app={place.key}", b"\n\n"):
        if "event: switchboard:subscribed" in event:
            ready.set()
        elif "event: switchboard:" not in event or "event: switchboard:binary" in event:
            if "data: " in event:
                await queue.put(event)


async def lines_queue(place: Place, queue: asyncio.Queue, ready: asyncio.Event) -> None:
    async for line in lines_of(place, f"/stream?channel={CHANNEL}&app={place.key}", b"\n"):
        if '"type":"subscribed"' in line:
            ready.set()
        elif '"type":"message"' in line:
            await queue.put(line)


async def polls_queue(place: Place, queue: asyncio.Queue, ready: asyncio.Event) -> None:
    path = f"/poll?channel={CHANNEL}&app={place.key}&wait=5"
    cursor = (await asyncio.to_thread(place.request, "GET", path, None, place.bearer))["cursor"]
    ready.set()
    while True:
        since = urllib.parse.quote(cursor)
        answer = await asyncio.to_thread(place.request, "GET", f"{path}&since={since}", None, place.bearer)
        cursor = answer["cursor"]
        # Each message as it stands in the answer.
        for message in split_messages(answer["text"]):
            await queue.put(message)


def split_messages(text: str) -> list[str]:
    found = []
    at = text.index('"messages":[') + len('"messages":[')
    decoder = json.JSONDecoder()
    while text[at] == "{":
        _, end = decoder.raw_decode(text, at)
        found.append(text[at:end])
        at = end + (text[end] == ",")
    return found


QUEUES = {
    "native": native_queue,
    "raw": raw_queue,
    "Pusher": pusher_queue,
    "SSE": sse_queue,
    "lines": lines_queue,
    "polls": polls_queue,
}


@contextlib.asynccontextmanager
async def listening(place: Place):
    queues = {name: asyncio.Queue() for name in QUEUES}
    ready = {name: asyncio.Event() for name in QUEUES}
    tasks = [asyncio.create_task(run(place, queues[name], ready[name]), name=name) for name, run in QUEUES.items()]
    try:
        for name, event in ready.items():
            async with asyncio.timeout(SECONDS_MAX):
                await event.wait()
        yield queues
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# ---- the page


def table(heading: str) -> tuple[list[str], list[list[str]]]:
    section = PAGE.read_text().split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
    return cells[0], cells[2:]


def code(cell: str) -> str:
    return re.search(r"`(.*)`", cell)[1]


def holds(receiver: str, cell: str, message: str | bytes) -> bool:
    """Whether what came is what the cell says."""
    if cell.startswith("bytes "):
        return isinstance(message, bytes) and message.endswith(bytes.fromhex(code(cell)))
    if isinstance(message, bytes):
        return False
    match receiver:
        case "raw":
            return message == code(cell)
        case "SSE" if "event: switchboard:binary" in message:
            return f'"data":{code(cell)}' in message
        case "SSE":
            return f"data: {code(cell)}" in message.split("\n")
        case _:
            return re.search(rf'"data":{re.escape(code(cell))}[,}}]', message) is not None


async def each_content_from_each_publisher_arrives_at_each_receiver(about: str) -> None:
    place = Place(about)
    columns, rows = table("What arrives")
    equal(tuple(columns[1:]), RECEIVERS)
    cells = 0
    async with listening(place) as queues:
        for publisher, publish in PUBLISHERS.items():
            for first, *row in rows:
                kind, content = first.split(" ", 1)[0], code(first)
                event = "client-score" if publisher == "Pusher client event" else None
                event = "score" if publisher == "Pusher HTTP" else event
                if not await publish(place, kind, content, event):
                    continue
                for receiver, cell in zip(RECEIVERS, row, strict=True):
                    where = f"{first} by {publisher} at {receiver}"
                    try:
                        async with asyncio.timeout(SECONDS_MAX):
                            message = await queues[receiver].get()
                    except TimeoutError:
                        raise AssertionError(f"{where}: nothing came") from None
                    if not holds(receiver, cell, message):
                        raise AssertionError(f"{where}: {message!r} is not {cell}")
                    cells += 1
    # Six publishers; raw has no JSON, Pusher no bytes.
    equal(cells, (5 + 3 + 4 + 4 + 5 + 5) * len(RECEIVERS))


async def event_names_arrive_as_each_protocol_has_them(about: str) -> None:
    place = Place(about)
    _, rows = table("Event names")
    async with listening(place) as queues:
        for first, *row in rows:
            event = None if first == "nothing" else code(first)
            for publisher in ("native", "HTTP API", "POST", *(["Pusher HTTP"] if event else [])):
                equal(await PUBLISHERS[publisher](place, "JSON", "1", event), True)
                for receiver, cell in zip(RECEIVERS, row, strict=True):
                    async with asyncio.timeout(SECONDS_MAX):
                        message = await queues[receiver].get()
                    good = "event" not in message if cell == "left out" else code(cell) in message
                    if not good:
                        raise AssertionError(f"{first} by {publisher} at {receiver}: {message!r} is not {cell}")


async def presence_is_one_list(about: str) -> None:
    place = Place(about)
    channel = "presence-crossing"
    async with place.server.connect(f"/app/{place.key}?protocol=7") as ann:
        await pusher_subscribe(place, ann, channel, "ann")
        async with place.server.connect(f"/ws/{place.key}", additional_headers=place.bearer) as bob:
            await bob.send(json.dumps({"type": "subscribe", "id": 1, "channel": channel, "presence": True}))
            while (answer := json.loads(await bob.recv())).get("id") != 1:
                pass
            equal(sorted(user["user"] for user in answer["users"]), ["ann", "bob"])
            added = json.loads(await ann.recv())
            equal((added["event"], json.loads(added["data"])["user_id"]), ("pusher_internal:member_added", "bob"))
            async for event in lines_of(place, f"/sse?channel={channel}&app={place.key}&presence=1", b"\n\n"):
                if "switchboard:subscribed" in event:
                    data = json.loads(next(line for line in event.split("\n") if line.startswith("data: "))[6:])
                    equal(sorted(user["user"] for user in data["users"]), ["ann", "bob"])
                    break
            headers = {"Authorization": f"Bearer {place.api_key}"}
            listed = await asyncio.to_thread(place.request, "POST", "/api/v1/presence", {"channel": channel}, headers)
            equal(sorted(user["user"] for user in listed["users"]), ["ann", "bob"])
        removed = json.loads(await ann.recv())
        equal((removed["event"], json.loads(removed["data"])["user_id"]), ("pusher_internal:member_removed", "bob"))


async def history_is_one(about: str) -> None:
    place = Place(about)
    api = {"Authorization": f"Bearer {place.api_key}"}
    asked = {"channel": CHANNEL, "limit": 1}
    before = await asyncio.to_thread(place.request, "POST", "/api/v1/history", asked, api)
    for publisher in ("native", "raw", "Pusher client event", "Pusher HTTP", "HTTP API", "POST"):
        event = {"Pusher client event": "client-score", "Pusher HTTP": "score"}.get(publisher)
        equal(await PUBLISHERS[publisher](place, "text", publisher, event), True)
    wanted = list(PUBLISHERS)
    position = before["position"]
    since = {"channel": CHANNEL, "since": position}
    by_api = await asyncio.to_thread(place.request, "POST", "/api/v1/history", since, api)
    equal([found["data"] for found in by_api["publications"]], wanted)
    by_client = f"/client/v1/history?app={place.key}"
    by_client = await asyncio.to_thread(place.request, "POST", by_client, since, place.bearer)
    equal([found["data"] for found in by_client["publications"]], wanted)
    cursor = f"{position['epoch']}:{position['offset']}"
    path = f"/poll?channel={CHANNEL}&app={place.key}&since={cursor}"
    polled = await asyncio.to_thread(place.request, "GET", path, None, place.bearer)
    equal([found["data"] for found in polled["messages"]], wanted)
    async with place.server.connect(f"/ws/{place.key}", additional_headers=place.bearer) as socket:
        await socket.send(json.dumps({"type": "history", "id": 1, **since}))
        while (answer := json.loads(await socket.recv())).get("id") != 1:
            pass
        equal([found["data"] for found in answer["publications"]], wanted)
    path = f"/raw/{CHANNEL}?app={place.key}&since={cursor}"
    async with place.server.connect(path, additional_headers=place.bearer) as socket:
        equal([await socket.recv() for _ in wanted], wanted)
    path = f"/sse?channel={CHANNEL}&app={place.key}&since={cursor}"
    heard: list[str] = []
    async for event in lines_of(place, path, b"\n\n"):
        if "event: switchboard:" not in event:
            heard += [line[6:] for line in event.split("\n") if line.startswith("data: ")]
        if len(heard) == len(wanted):
            break
    equal(heard, wanted)


async def a_name_that_pusher_cannot_write_is_the_same_channel(about: str) -> None:
    place = Place(about)
    async with place.server.connect(f"/app/{place.key}?protocol=7") as pusher:
        await pusher_subscribe(place, pusher, "room=3A1")
        async with place.server.connect(f"/ws/{place.key}", additional_headers=place.bearer) as native:
            await native.send(json.dumps({"type": "publish", "channel": "room:1", "data": 1}))
            equal(json.loads(await pusher.recv()), {"event": "message", "channel": "room=3A1", "data": "1"})


if __name__ == "__main__":
    main(
        each_content_from_each_publisher_arrives_at_each_receiver,
        event_names_arrive_as_each_protocol_has_them,
        presence_is_one_list,
        history_is_one,
        a_name_that_pusher_cannot_write_is_the_same_channel,
    )
