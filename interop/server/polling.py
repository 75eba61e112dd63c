"""Python's aiohttp polls and asks. Argument: the server, as in native.py."""

import asyncio
import json
import ssl
import sys

import aiohttp
from checks import equal, main

ABOUT = json.loads(sys.argv[1])
URL = ABOUT["http"]
BEARER = {"Authorization": "Bearer " + ABOUT["tokens"]["ann"]}


def session():
    context = ssl.create_default_context(cafile=ABOUT["ca"]) if "ca" in ABOUT else None
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context or True))


async def ask(client, kind, headers=None, **body):
    async with client.post(f"{URL}/client/v1/{kind}", json=body, headers=headers) as answer:
        return answer.status, await answer.json()


async def poll(client, query, headers=None):
    async with client.get(f"{URL}/poll?{query}", headers=headers) as answer:
        return answer.status, await answer.json()


async def a_poll_answers_with_what_comes(_):
    async with session() as client:
        status, first = await poll(client, "channel=poll:a&channel=poll:b")
        equal([status, first["messages"]], [200, []])
        waiting = asyncio.create_task(poll(client, f"channel=poll:a&channel=poll:b&since={first['cursor']}"))
        await asyncio.sleep(0.05)
        equal(waiting.done(), False)
        await ask(client, "publish", channel="poll:b", data={"n": 1})
        _, second = await waiting
        equal([message["data"] for message in second["messages"]], [{"n": 1}])
        equal(second["recovered"], True)


async def every_message_comes_once_by_many_polls_at_different_connections(_):
    seen = []

    async def follow(cursor):
        while len(seen) < 100:
            async with session() as client:
                _, answer = await poll(client, f"channel=poll:c&limit=7&since={cursor}")
            equal(answer["recovered"], True)
            seen.extend(message["data"] for message in answer["messages"])
            cursor = answer["cursor"]

    async with session() as client:
        _, first = await poll(client, "channel=poll:c")
        following = asyncio.create_task(follow(first["cursor"]))
        for number in range(100):
            equal((await ask(client, "publish", channel="poll:c", data=number))[0], 200)
        await following
    equal(seen, list(range(100)))


async def what_is_not_kept_is_told(_):
    async with session() as client:
        status, answer = await poll(client, "channel=poll:a&since=0:7")
        equal([status, answer["recovered"], answer["messages"]], [200, False, []])


async def rights_are_those_of_the_token(_):
    async with session() as client:
        equal((await ask(client, "publish", BEARER, channel="room:poll", data=1))[0], 200)
        status, refused = await ask(client, "publish", {"Authorization": "Bearer x"}, channel="room:poll", data=1)
        equal([status, refused["error"]["code"]], [401, "bad_token"])
        status, refused = await poll(client, "channel=room:poll&app=other-key", BEARER)
        equal([status, refused["error"]["code"]], [401, "bad_token"])
        status, refused = await ask(client, "publish", channel="room:#", data=1)
        equal([status, refused["error"]["code"]], [400, "bad_channel"])


main(
    a_poll_answers_with_what_comes,
    every_message_comes_once_by_many_polls_at_different_connections,
    what_is_not_kept_is_told,
    rights_are_those_of_the_token,
)
