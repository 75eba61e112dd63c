"""A receiver of webhooks in Python, which checks them with Pusher's library. Arguments: the application's key and secret.

Prints where it listens, and then each request's events as one line of JSON; `{"refused": …}` for one that the library does not take.
"""

import http.server
import json
import sys

import pusher

KEY, SECRET = sys.argv[1:]
LIBRARY = pusher.Pusher(app_id="1", key=KEY, secret=SECRET, host="127.0.0.1")


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        # It refuses what is older than five minutes too.
        checked = LIBRARY.validate_webhook(
            key=self.headers["X-Pusher-Key"], signature=self.headers["X-Pusher-Signature"], body=body
        )
        print(json.dumps(checked["events"] if checked else {"refused": body}), flush=True)
        self.send_response(204 if checked else 401)
        self.end_headers()

    def log_message(self, *_):
        pass


with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
    print(f"listening on {server.server_port}", flush=True)
    server.serve_forever()
