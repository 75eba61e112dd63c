"""The application's own server with Pusher's library for Python: see pusher_application.mjs. Argument: the application."""

from __future__ import annotations

import json
import sys
from urllib.parse import urlsplit

from pusher import Pusher


def main() -> None:
    about = json.loads(sys.argv[1])
    address = urlsplit(about["http"])
    library = Pusher(
        app_id=about["id"],
        key=about["key"],
        secret=about["secret"],
        host=address.hostname,
        port=address.port,
        ssl=False,
        encryption_master_key_base64=about["encryption_key"],
    )
    calls = {
        "authorize": lambda socket, channel, member=None: library.authenticate(channel, socket, member),
        "authenticate": lambda socket, user: library.authenticate_user(socket, user),
        "trigger": lambda channels, event, data, more=None: library.trigger(channels, event, data, (more or {}).get("socket_id")),
        "triggerBatch": library.trigger_batch,
        "channels": lambda params=None: library.channels_info(*listed(params)),
        "channel": lambda name, params=None: library.channel_info(name, listed(params)[1]),
        "users": library.users_info,
        "terminate": library.terminate_user_connections,
        "sendToUser": library.send_to_user,
    }
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = {"value": calls[asked["call"]](*asked["args"])}
        except Exception as error:
            answer = {"error": {"kind": type(error).__name__, "status": None, "message": str(error)}}
        # The library gives a channel's shared secret as bytes.
        print(json.dumps(answer, default=bytes.decode), flush=True)


def listed(params: dict[str, str] | None) -> tuple[str | None, list[str]]:
    params = params or {}
    return params.get("filter_by_prefix"), [name for name in params.get("info", "").split(",") if name]


if __name__ == "__main__":
    main()
