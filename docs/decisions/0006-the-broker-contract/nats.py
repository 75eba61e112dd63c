"""What NATS with JetStream can promise of a broker's contract. Starts a server of its own; needs nats-server on the PATH. Prints what it sees.

    python3 docs/decisions/0006-the-broker-contract/nats.py
"""

import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time


class Nats:
    """A connection: the client protocol, just enough."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")
        self.file.readline()
        self.socket.sendall(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\nPING\r\n')
        self.count, self.waiting = 0, []
        while self.file.readline().strip() != b"PONG":
            pass
        self.inbox = f"_INBOX.{id(self)}"
        self.subscribe(self.inbox + ".*")

    def subscribe(self, subject):
        self.count += 1
        self.socket.sendall(f"SUB {subject} {self.count}\r\nPING\r\n".encode())
        while (line := self.file.readline().strip()) != b"PONG":
            self.waiting.append(self.message(line))

    def send(self, subject, data, headers=None, reply=""):
        if headers:
            head = "NATS/1.0\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n"
            frame = f"HPUB {subject} {reply} {len(head)} {len(head) + len(data)}\r\n{head}{data}\r\n"
        else:
            frame = f"PUB {subject} {reply} {len(data)}\r\n{data}\r\n"
        self.socket.sendall(frame.encode())

    def message(self, line):
        words = line.split()
        if words[0] == b"MSG":
            return words[1].decode(), "", self.file.read(int(words[-1]) + 2)[:-2].decode()
        head, total = int(words[-2]), int(words[-1])
        whole = self.file.read(total + 2)[:-2].decode()
        return words[1].decode(), whole[:head], whole[head:]

    def read(self, timeout=None):
        return self.waiting.pop(0) if self.waiting else self.next(timeout)

    def next(self, timeout=None):
        self.socket.settimeout(timeout)
        try:
            while True:
                line = self.file.readline().strip()
                if line == b"PING":
                    self.socket.sendall(b"PONG\r\n")
                elif line.startswith((b"MSG", b"HMSG")):
                    return self.message(line)
                elif not line:
                    raise ConnectionError("the server has gone")
        finally:
            self.socket.settimeout(None)

    def ask(self, subject, data="", headers=None):
        self.count += 1
        reply = f"{self.inbox}.{self.count}"
        self.send(subject, data, headers, reply)
        while True:
            got = self.next()
            if got[0] == reply:
                return got
            self.waiting.append(got)

    def api(self, what, **body):
        return json.loads(self.ask(f"$JS.API.{what}", json.dumps(body))[2])

    def publish(self, subject, data="x", id=None, at=None):
        headers = {}
        if id:
            headers["Nats-Msg-Id"] = id
        if at is not None:
            headers["Nats-Expected-Last-Subject-Sequence"] = at
        answer = json.loads(self.ask(subject, data, headers)[2])
        if "error" in answer:
            return f"{answer['error']['description']} ({answer['error']['err_code']})"
        return answer["seq"], "duplicate" if answer.get("duplicate") else "published"


def start(folder, port=None):
    if port is None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    server = subprocess.Popen(["nats-server", "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", folder], stderr=subprocess.DEVNULL)
    for _ in range(200):
        try:
            if "error" not in Nats(port).api("INFO"):
                return port, server
        except (ConnectionError, OSError, ValueError):
            time.sleep(0.05)
    raise SystemExit("nats-server does not answer")


def stream(nats, name="CH", **options):
    config = {"name": name, "subjects": ["ch.>"], "storage": "file", "duplicate_window": 120_000_000_000, "max_msgs_per_subject": 1000,
              "allow_direct": True, "republish": {"src": "ch.>", "dest": "live.>"}, **options}
    answer = nats.api(f"STREAM.CREATE.{name}", **config)
    assert "error" not in answer, answer
    return answer["created"]


def drain(nats, timeout=0.3):
    found = []
    try:
        while True:
            found.append(nats.read(timeout))
    except (TimeoutError, OSError):
        return found


def operations(port):
    nats, core, live = Nats(port), Nats(port), Nats(port)
    stream(nats)
    core.subscribe("ch.a")
    live.subscribe("live.a")
    print("publish:", nats.publish("ch.a", "one", id="a"), "| again:", nats.publish("ch.a", "one", id="a"),
          "| the same id on another subject:", nats.publish("ch.b", "x", id="a"))
    print("compare-and-set:", nats.publish("ch.a", "two", at=1), "| stale:", nats.publish("ch.a", "lost", at=1))
    print("a retried compare-and-set with an id:", nats.publish("ch.a", "three", id="c", at=2), nats.publish("ch.a", "three", id="c", at=2))
    print("core subscribers of the subject itself see", [message[2] for message in drain(core)], "- duplicates and refused ones too, without a place")
    seen = drain(live)
    print("subscribers of the stream's republication see", [message[2] for message in seen])
    print("  with", seen[-1][1].strip().split("\r\n")[1:])
    nats.publish("ch.b")
    print("another subject takes from the same numbers:", nats.publish("ch.a", "four"))


def reads(port):
    nats = Nats(port)
    begin = time.perf_counter()
    for _ in range(500):
        nats.api("STREAM.MSG.GET.CH", seq=2, next_by_subj="ch.a")
    print(f"the next after a position, one message a question: {(time.perf_counter() - begin) / 500 * 1e6:.0f} us each")
    print("backwards: by subject only the last one", nats.api("STREAM.MSG.GET.CH", last_by_subj="ch.a")["message"]["seq"],
          "; no question goes on from there to the one before it on the subject")
    begin = time.perf_counter()
    nats.subscribe("deliver.x")
    made = nats.api("CONSUMER.CREATE.CH", stream_name="CH", config={"deliver_subject": "deliver.x", "filter_subject": "ch.a", "ack_policy": "none",
                    "deliver_policy": "by_start_sequence", "opt_start_seq": 2, "mem_storage": True, "inactive_threshold": 5_000_000_000})
    first = nats.read()
    print(f"an ephemeral consumer from a position: {(time.perf_counter() - begin) * 1e6:.0f} us to the first message, {first[2]!r}; pending {made['num_pending']}")
    print("the position of a subject:", nats.api("STREAM.MSG.GET.CH", last_by_subj="ch.none").get("error", {}).get("description"),
          "- a subject without messages has none: after trimming by age its last sequence is gone, and 0 is expected again")


def trimming(port):
    nats = Nats(port)
    nats.api("STREAM.DELETE.CH")
    stream(nats, max_msgs_per_subject=3)
    for n in range(6):
        nats.publish("ch.a", str(n))
    got = nats.api("STREAM.MSG.GET.CH", seq=2, next_by_subj="ch.a")["message"]["seq"]
    print("six with three kept; the next after 1 is", got, "without a word about what is gone")
    nats.api("STREAM.PURGE.CH", filter="ch.a")
    print("all of a subject purged or expired, then compare with the last sequence 6:", nats.publish("ch.a", at=6), "| with 0:", nats.publish("ch.a", at=0))


def races(port):
    nats = Nats(port)
    begin = nats.publish("ch.race")[0]
    winners, lock = [], threading.Lock()

    def run():
        mine, last = Nats(port), begin
        for _ in range(100):
            answer = mine.publish("ch.race", at=last)
            if isinstance(answer, tuple):
                last = answer[0]
                with lock:
                    winners.append(last)
            else:
                last = mine.api("STREAM.MSG.GET.CH", last_by_subj="ch.race")["message"]["seq"]

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("four publishers compare 100 times each:", len(winners), "successes, each place once:", len(set(winners)) == len(winners))


def fan_out(port):
    publisher, live = Nats(port), Nats(port)
    live.subscribe("live.t")
    times = []
    for _ in range(2000):
        begin = time.perf_counter()
        publisher.publish("ch.t")
        answered = time.perf_counter()
        live.read()
        times.append((answered - begin, time.perf_counter() - begin))
    show = lambda values: f"median {statistics.median(values) * 1e6:.0f} us, p99 {sorted(values)[len(values) * 99 // 100] * 1e6:.0f} us"
    print("publish, answered:", show([t[0] for t in times]), "| at the subscriber:", show([t[1] for t in times]))


def restarts(folder, port, server):
    nats = Nats(port)
    last = nats.publish("ch.r", id="kept")[0]
    created = nats.api("STREAM.INFO.CH")["created"]
    server.send_signal(signal.SIGKILL)
    server.wait()
    port, server = start(folder, port)
    nats = Nats(port)
    print("killed and restarted (file storage): the next after", last, "is", nats.publish("ch.r"), "| an id from before:", nats.publish("ch.r", id="kept"),
          "| created is the same:", nats.api("STREAM.INFO.CH")["created"] == created)
    nats.api("STREAM.DELETE.CH")
    again = stream(nats, storage="memory")
    print("a stream that is made anew counts from", nats.publish("ch.r"), "and has another creation time:", again != created)
    server.send_signal(signal.SIGKILL)
    server.wait()
    port, server = start(folder, port)
    print("memory storage after a restart:", Nats(port).api("STREAM.INFO.CH").get("error", {}).get("description", "the stream is there"))
    return server


if __name__ == "__main__":
    folder = tempfile.mkdtemp()
    port, server = start(folder)
    try:
        print(subprocess.run(["nats-server", "--version"], capture_output=True, text=True).stdout.strip())
        operations(port)
        reads(port)
        trimming(port)
        races(port)
        fan_out(port)
        server = restarts(folder, port, server)
    finally:
        server.kill()
        shutil.rmtree(folder)
