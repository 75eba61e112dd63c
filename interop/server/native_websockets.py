"""Python's `websockets` against the server's native protocol. Argument: the server, as in native.py."""

import asyncio
import json
import urllib.error
import urllib.request
import uuid

from checks import equal, main
from native import Client, Server, jwt
from websockets.exceptions import ConnectionClosed, InvalidStatus


def channel():
    """A channel of its own for each check."""
    return f"room:{uuid.uuid4().hex}"


async def welcome(about):
    async with Client(Server(about)) as client:
        equal(client.welcome["version"], 1)
        equal(client.welcome["limits"]["message_bytes"], 65536)
        equal(client.welcome["user"], f"guest-{client.welcome['session']}")
        equal(isinstance(client.welcome["heartbeat_ms"], int), True)


async def subprotocol_is_selected_if_offered(about):
    server = Server(about)
    async with Client(server, subprotocols=["other", "switchboard.v1.json"]) as client:
        equal(client.socket.subprotocol, "switchboard.v1.json")
    async with Client(server) as client:
        equal(client.socket.subprotocol, None)


async def a_publication_reaches_everyone_in_order(about):
    server, room = Server(about), channel()
    async with Client(server) as one, Client(server) as two:
        for client in (one, two):
            await client.request("subscribe", channel=room)
        for i in range(50):
            await one.send(type="publish", channel=room, data={"i": i, "text": "κόσμε — 🌍"})
        for client in (one, two):
            found = await client.publications(50)
            equal([data["i"] for data, _ in found], list(range(50)))
            equal([offset for _, offset in found], list(range(1, 51)))
        await two.quiet()


async def publish_is_acknowledged_with_its_position(about):
    async with Client(Server(about)) as client:
        room = channel()
        first = (await client.request("subscribe", channel=room))["position"]
        second = (await client.request("publish", channel=room, data=None))["position"]
        equal(second["epoch"], first["epoch"])
        equal(second["offset"] > first["offset"], True)
        message = await client.next()
        equal((message["type"], message["data"], message["offset"]), ("message", None, second["offset"]))
        equal(message["publisher"]["user"], client.welcome["user"])


async def every_kind_of_json(about):
    values = [None, True, 0, -1.5, "", "\u2028\x00\"\\", [], {}, [[{"a": [1e300, {}]}]], 2**53 - 1]
    async with Client(Server(about)) as client:
        room = channel()
        await client.request("subscribe", channel=room)
        for value in values:
            await client.send(type="publish", channel=room, data=value)
        equal([data for data, _ in await client.publications(len(values))], values)


async def event_and_key(about):
    async with Client(Server(about)) as client:
        room = channel()
        await client.request("subscribe", channel=room)
        await client.send(type="publish", channel=room, data=1, event="price", key="ACME")
        equal((await client.next())["event"], "price")


async def exclude_self(about):
    server, room = Server(about), channel()
    async with Client(server) as one, Client(server) as two:
        for client in (one, two):
            await client.request("subscribe", channel=room)
        await one.request("publish", channel=room, data="others", exclude_self=True)
        await one.request("publish", channel=room, data="all")
        equal([data for data, _ in await two.publications(2)], ["others", "all"])
        equal([data for data, _ in await one.publications(1)], ["all"])


async def unsubscribe(about):
    async with Client(Server(about)) as client:
        room = channel()
        await client.request("subscribe", channel=room)
        await client.request("unsubscribe", channel=room)
        await client.request("publish", channel=room, data=1)
        await client.quiet()


async def history(about):
    async with Client(Server(about)) as client:
        room = channel()
        positions = [(await client.request("publish", channel=room, data=i))["position"] for i in range(10)]
        latest = await client.request("history", channel=room, limit=3)
        equal([one["data"] for one in latest["publications"]], [7, 8, 9])
        equal((latest["more"], latest["position"]), (True, positions[-1]))
        after = await client.request("history", channel=room, since=positions[4], limit=2)
        equal([one["data"] for one in after["publications"]], [5, 6])
        equal(after["more"], True)
        rest = await client.request("history", channel=room, since=positions[6])
        equal([one["data"] for one in rest["publications"]], [7, 8, 9])
        equal(rest["more"], False)
        ended = {**positions[0], "epoch": "another"}
        equal(await client.refused("history", channel=room, since=ended), "history_lost")


async def resume_replays_what_was_missed_then_goes_on(about):
    server, room = Server(about), channel()
    async with Client(server) as other:
        async with Client(server) as client:
            await client.request("subscribe", channel=room)
            seen = (await other.request("publish", channel=room, data="seen"))["position"]
            await client.publications(1)
        for i in range(20):
            await other.request("publish", channel=room, data=i)
        async with Client(server) as client:
            answer = await client.request("subscribe", channel=room, since=seen)
            equal(answer["recovered"], True)
            await other.request("publish", channel=room, data="live")
            found, caught_up = [], 0
            while len(found) < 21:
                message = await client.next()
                caught_up += message["type"] == "caught_up"
                found += [message["data"]] if message["type"] == "message" else []
            equal(found, [*range(20), "live"])
            if not caught_up:
                equal((await client.next())["type"], "caught_up")
            await client.quiet()


async def resume_from_another_epoch_is_not_recovered(about):
    async with Client(Server(about)) as client:
        room = channel()
        await client.request("publish", channel=room, data=1)
        answer = await client.request("subscribe", channel=room, since={"epoch": "another", "offset": 0})
        equal(answer["recovered"], False)
        await client.request("publish", channel=room, data=2)
        equal([data for data, _ in await client.publications(1)], [2])


async def presence(about):
    server, room = Server(about), channel()
    info = {"name": "Ann", "colour": "πράσινο"}
    async with Client(server, token=server.token("ann", info=info)) as ann:
        equal(ann.welcome["user"], "ann")
        users = (await ann.request("subscribe", channel=room, presence=True))["users"]
        equal(users, [{"user": "ann", "connections": 1, "info": info}])
        async with Client(server, token=server.token("bob")) as bob:
            await bob.request("subscribe", channel=room)
            equal(await ann.next(), {"type": "join", "channel": room, "user": "bob"})
            async with Client(server, token=server.token("bob")) as again:
                await again.request("subscribe", channel=room)
                answer = await ann.request("presence", channel=room)
                equal(sorted((one["user"], one["connections"]) for one in answer["users"]), [("ann", 1), ("bob", 2)])
                equal(answer["connections"], 3)
        # Joined once and left once, however many connections bob had.
        equal(await ann.next(), {"type": "leave", "channel": room, "user": "bob"})
        await ann.quiet()


async def batch_of_requests(about):
    async with Client(Server(about)) as client:
        room = channel()
        subscribe = {"type": "subscribe", "id": "s", "channel": room}
        publish = [{"type": "publish", "id": f"p{i}", "channel": room, "data": i} for i in range(10)]
        await client.send(type="batch", messages=[subscribe, *publish])
        for id in ["s", *(f"p{i}" for i in range(10))]:
            equal((await client.answer(id))["type"], "ok")
        equal([data for data, _ in await client.publications(10)], list(range(10)))


async def batch_of_messages(about):
    server, room = Server(about), channel()
    async with Client(server, "/ws?batch=1") as client, Client(server) as other:
        await client.request("subscribe", channel=room)
        await other.send(type="batch", messages=[{"type": "publish", "channel": room, "data": i} for i in range(100)])
        found = []
        while len(found) < 100:
            message = await client.next()
            equal(message["type"] in ("batch", "message"), True)
            found += [one["data"] for one in message.get("messages", [message])]
        equal(found, list(range(100)))


async def binary_both_ways(about):
    server, room = Server(about), channel()
    payload = bytes(range(256)) * 100
    async with Client(server) as one, Client(server) as two:
        for client in (one, two):
            await client.request("subscribe", channel=room)
        await one.send_binary(payload, type="publish", id="b", channel=room, event="frame")
        equal((await one.answer("b"))["type"], "ok")
        for client in (one, two):
            message = await client.next()
            equal((message["data"], message["event"]), (payload, "frame"))
        latest = await two.request("history", channel=room)
        found = latest["publications"][0]
        equal((found["encoding"], len(found["data"])), ("base64", 4 * ((len(payload) + 2) // 3)))


async def empty_binary_payload(about):
    async with Client(Server(about)) as client:
        room = channel()
        await client.request("subscribe", channel=room)
        await client.send_binary(b"", type="publish", channel=room)
        equal((await client.next())["data"], b"")


async def ping_and_its_id(about):
    async with Client(Server(about)) as client:
        equal(await client.ask("ping"), {"type": "pong", "id": 1})
        await (await client.socket.ping(b"protocol ping"))


async def errors_are_answers_and_the_connection_lives(about):
    async with Client(Server(about)) as client:
        room = channel()
        equal(await client.refused("shout"), "unknown_type")
        equal(await client.refused("publish", data=1), "bad_request")
        equal(await client.refused("subscribe", channel=7), "bad_request")
        for name in ("", "a+b", "a#b", "line\nbreak", "x" * 201):
            equal(await client.refused("subscribe", channel=name), "bad_channel")
        equal(await client.refused("unsubscribe", channel=room), "not_subscribed")
        await client.request("subscribe", channel=room)
        equal(await client.refused("subscribe", channel=room), "already_subscribed")
        for text in ("", "{", "[1,2]", "nothing", '{"type":"ping"} {}', "[" * 65 + "]" * 65):
            await client.socket.send(text)
            error = await client.next()
            equal((error["type"], error["code"], error["temporary"]), ("error", "bad_json", False))
        for frame in (b"", b"\x00", b"\xff\xff{}", b"\x00\x02[]", b"\x00\x0f" + b'{"type":"ping"}'):
            await client.socket.send(frame)
            equal((await client.next())["type"], "error")
        await client.request("publish", channel=room, data="alive")
        equal([data for data, _ in await client.publications(1)], ["alive"])


async def unicode_channel_names(about):
    async with Client(Server(about)) as client:
        for name in (f"κανάλι/{channel()}", f"🌍:{channel()}", "é" * 100, "a"):
            await client.request("subscribe", channel=name)
            await client.request("publish", channel=name, data=name)
            message = await client.next()
            equal((message["channel"], message["data"]), (name, name))
            await client.request("unsubscribe", channel=name)


async def rights_of_a_token(about):
    server, room = Server(about), channel()
    async with Client(server, token=server.token("reader", allow=("subscribe",))) as client:
        await client.request("subscribe", channel=room)
        equal(await client.refused("publish", channel=room, data=1), "permission_denied")
        equal(await client.refused("history", channel=room), "permission_denied")
        equal(await client.refused("presence", channel=room), "permission_denied")
        equal(await client.refused("subscribe", channel="elsewhere"), "permission_denied")


async def token_in_the_subprotocol_list(about):
    server = Server(about)
    offered = ["switchboard.v1.json", "switchboard.token." + server.token("ann")]
    async with Client(server, subprotocols=offered) as client:
        equal((client.welcome["user"], client.socket.subprotocol), ("ann", "switchboard.v1.json"))


async def token_in_the_first_message(about):
    server = Server(about)
    async with Client(server) as client:
        equal(await client.refused("authenticate", token="not-a-token"), "bad_token")
    async with Client(server) as client:
        equal((await client.request("authenticate", token=server.token("ann")))["user"], "ann")


async def bad_tokens_are_401_before_the_upgrade(about):
    server = Server(about)
    good = server.token("ann")
    claims = {"sub": "ann", "exp": 4102444800, "channels": []}
    bad = {
        "garbage": "garbage",
        "another signature": good[:-6] + ("AAAAAA" if good[-6:] != "AAAAAA" else "BBBBBB"),
        "another secret": jwt(claims, "another"),
        "expired": server.token("ann", seconds=-100),
        "no algorithm": jwt(claims, server.secret, alg="none"),
        "no user": jwt({"exp": 4102444800}, server.secret),
        "nbf as text": jwt({**claims, "nbf": "4102444799"}, server.secret),
        "another application": jwt({**claims, "app": "another"}, server.secret),
    }
    for name, token in bad.items():
        equal(f"{name}: {await status(server, '/ws', token)}", f"{name}: 401")
    equal(await status(server, "/ws?token=" + good), 401)


async def status(server, path, token=None, **options):
    """The HTTP status that a handshake is answered with."""
    if token:
        options["additional_headers"] = {"Authorization": f"Bearer {token}"}
    try:
        async with server.connect(path, **options):
            return 101
    except InvalidStatus as refusal:
        return refusal.response.status_code


async def a_token_expires(about):
    server, room = Server(about), channel()
    async with Client(server, token=server.token("ann", seconds=3)) as client:
        await client.request("subscribe", channel=room)
        equal((await client.next())["type"], "token_expiring")
        end = await client.next()
        equal((end["type"], end["code"], end["reconnect"]), ("disconnect", 4002, False))
        try:
            await client.next()
        except ConnectionClosed as closed:
            equal(closed.rcvd.code, 4002)


async def a_fresh_token_keeps_the_connection(about):
    server, room = Server(about), channel()
    async with Client(server, token=server.token("ann", seconds=3)) as client:
        await client.request("subscribe", channel=room)
        await client.request("authenticate", token=server.token("ann"))
        await asyncio.sleep(4)
        await client.request("publish", channel=room, data="still here")


async def applications_do_not_meet(about):
    server, room = Server(about), channel()
    async with Client(server) as one, Client(server, f"/ws/{server.key}") as two:
        for client in (one, two):
            await client.request("subscribe", channel=room)
        await one.request("publish", channel=room, data="in the default application")
        await one.publications(1)
        await two.quiet()
    equal(await status(server, "/ws/no-such-key") in (401, 403, 404), True)


async def publish_over_http(about):
    server, room = Server(about), channel()
    async with Client(server) as client:
        await client.request("subscribe", channel=room)
        body = {"channel": room, "data": {"from": "http"}}
        code, answer = await asyncio.to_thread(post, server, body, server.api_key)
        equal((code, answer["channel"]), (200, room))
        message = await client.next()
        equal((message["data"], message["offset"]), ({"from": "http"}, answer["position"]["offset"]))
        code, answer = await asyncio.to_thread(post, server, body, "wrong")
        equal(code, 401)
        await client.quiet()


def post(server, body, key):
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(server.http + "/api/v1/publish", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=10, context=server.tls()) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


async def raw_rooms(about):
    """The upgrade is answered when the client is in the room: what is said right after it is open arrives."""
    server, room = Server(about), uuid.uuid4().hex
    async with server.connect(f"/raw/{room}") as one, server.connect(f"/raw/{room}") as two:
        await one.send("κόσμε — 🌍")
        for socket in (one, two):
            equal(await socket.recv(), "κόσμε — 🌍")
        await two.send(bytes(range(256)))
        for socket in (one, two):
            equal(await socket.recv(), bytes(range(256)))


async def chat_needs_nothing(about):
    server, text = Server(about), uuid.uuid4().hex
    async with server.connect("/chat") as one, server.connect("/chat") as two:
        await one.send(text)
        for socket in (one, two):
            equal(await socket.recv(), text)


async def raw_and_native_meet(about):
    server, room = Server(about), uuid.uuid4().hex
    async with server.connect(f"/raw/{room}") as raw, Client(server) as native:
        await native.request("subscribe", channel=room)
        await raw.send("as text")
        equal([data for data, _ in await native.publications(1)], ["as text"])
        equal(await raw.recv(), "as text")
        await native.request("publish", channel=room, data="as a string")
        equal(await raw.recv(), "as a string")
        await native.request("publish", channel=room, data={"as": "json"})
        equal(json.loads(await raw.recv()), {"as": "json"})
        await native.send_binary(b"\x00\xff", type="publish", channel=room)
        equal(await raw.recv(), b"\x00\xff")


if __name__ == "__main__":
    main(
        welcome,
        subprotocol_is_selected_if_offered,
        a_publication_reaches_everyone_in_order,
        publish_is_acknowledged_with_its_position,
        every_kind_of_json,
        event_and_key,
        exclude_self,
        unsubscribe,
        history,
        resume_replays_what_was_missed_then_goes_on,
        resume_from_another_epoch_is_not_recovered,
        presence,
        batch_of_requests,
        batch_of_messages,
        binary_both_ways,
        empty_binary_payload,
        ping_and_its_id,
        errors_are_answers_and_the_connection_lives,
        unicode_channel_names,
        rights_of_a_token,
        token_in_the_subprotocol_list,
        token_in_the_first_message,
        bad_tokens_are_401_before_the_upgrade,
        a_token_expires,
        a_fresh_token_keeps_the_connection,
        applications_do_not_meet,
        publish_over_http,
        raw_rooms,
        chat_needs_nothing,
        raw_and_native_meet,
    )
