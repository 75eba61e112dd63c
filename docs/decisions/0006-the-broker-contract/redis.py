"""What Redis can promise of a broker's contract. Starts servers of its own; needs redis-server on the PATH. Prints what it sees.

    python3 docs/decisions/0006-the-broker-contract/redis.py
"""

import os
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time

# KEYS: log stream, meta hash, ids. ARGV: epoch to begin with, id, demanded epoch, demanded offset, payload, history size, id window in ms, channel.
# Everything is one step: Redis runs nothing else meanwhile. The stream's entry ids are our offsets (0-OFFSET).
PUBLISH = """
local epoch = redis.call('HGET', KEYS[2], 'epoch')
if not epoch then
  epoch = ARGV[1]
  redis.call('HSET', KEYS[2], 'epoch', epoch, 'offset', 0)
end
local offset = tonumber(redis.call('HGET', KEYS[2], 'offset'))
if ARGV[2] ~= '' then
  local known = redis.call('GET', KEYS[3] .. ARGV[2])
  if known then return {'duplicate', epoch, tonumber(known)} end
end
if ARGV[3] ~= '' and (ARGV[3] ~= epoch or tonumber(ARGV[4]) ~= offset) then return {'conflict', epoch, offset} end
offset = redis.call('HINCRBY', KEYS[2], 'offset', 1)
redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[6], '0-' .. offset, 'd', ARGV[5])
if ARGV[2] ~= '' then redis.call('SET', KEYS[3] .. ARGV[2], offset, 'PX', ARGV[7]) end
redis.call('PUBLISH', ARGV[8], offset .. ':' .. epoch .. ':' .. ARGV[5])
return {'published', epoch, offset}
"""


class Redis:
    """A connection: RESP2, just enough."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def send(self, *words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))

    def read(self):
        line = self.file.readline()
        if not line:
            raise ConnectionError("the server has gone")
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2].decode()
        if kind == b"*":
            return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
        if kind == b":":
            return int(rest)
        if kind == b"-":
            raise RuntimeError(rest.decode())
        return rest.decode()

    def ask(self, *words):
        self.send(*words)
        return self.read()

    def publish(self, epoch="e1", id="", at=("", 0), data="x", size=1000):
        return self.ask("EVAL", PUBLISH, 3, "{c}log", "{c}meta", "{c}id:", epoch, id, at[0], at[1], data, size, 120_000, "{c}")


def start(folder, *options):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return port, start_at(port, folder, *options)


def start_at(port, folder, *options):
    os.makedirs(folder, exist_ok=True)
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", *options]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    for _ in range(200):
        try:
            if Redis(port).ask("PING") == "PONG":
                return server
        except (ConnectionError, OSError, RuntimeError):
            time.sleep(0.05)
    raise SystemExit("redis-server does not answer")


def stop(server, how=signal.SIGKILL):
    server.send_signal(how)
    server.wait()


def operations(port):
    redis = Redis(port)
    print("publish:", redis.publish(id="a"), "| again:", redis.publish(id="a"))
    print("compare-and-set:", redis.publish(at=("e1", 1)), "| stale:", redis.publish(at=("e1", 1)), "| other epoch:", redis.publish(at=("e0", 2)))
    print("after 0-1:", redis.ask("XRANGE", "{c}log", "(0-1", "+", "COUNT", 10))
    print("before 0-2:", redis.ask("XREVRANGE", "{c}log", "(0-2", "-", "COUNT", 10))
    for _ in range(20):
        redis.publish(size=5)
    first = redis.ask("XRANGE", "{c}log", "-", "+", "COUNT", 1)[0][0]
    print("trimmed: the first kept is", first, "and the length", redis.ask("XLEN", "{c}log"), "- a read after 0-3 begins there without a word")
    print("trimming '~' keeps more than was asked, exactly only without it; there is no trimming by age but by MINID, which our offsets are not")


def races(port):
    winners = []

    def run():
        redis = Redis(port)
        for at in range(100):
            if redis.publish(at=("e1", 22 + at))[0] == "published":
                winners.append(at)
            while int(redis.ask("HGET", "{c}meta", "offset")) < 23 + at:
                pass

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("four publishers compare 100 times:", len(winners), "successes, each position once:", len(set(winners)) == 100)


def fan_out(port):
    subscriber, publisher = Redis(port), Redis(port)
    subscriber.ask("SUBSCRIBE", "{c}")
    times = []
    for _ in range(2000):
        begin = time.perf_counter()
        publisher.publish()
        answered = time.perf_counter()
        subscriber.read()
        times.append((answered - begin, time.perf_counter() - begin))
    show = lambda values: f"median {statistics.median(values) * 1e6:.0f} us, p99 {sorted(values)[len(values) * 99 // 100] * 1e6:.0f} us"
    print("publish, answered:", show([t[0] for t in times]), "| at the subscriber:", show([t[1] for t in times]))
    begin = time.perf_counter()
    for _ in range(2000):
        publisher.ask("XRANGE", "{c}log", "(0-0", "+", "COUNT", 1)
    print(f"a read: {(time.perf_counter() - begin) / 2000 * 1e6:.0f} us on average")
    subscriber.socket.close()
    last = publisher.publish()[2]
    late = Redis(port)
    late.ask("SUBSCRIBE", "{c}")
    print("what was published at", last, "while nobody was subscribed never reaches a subscriber: pub/sub keeps nothing, the log must be read to find out")


def restarts(folder):
    for name, options in (
        ("no persistence", ()),
        ("appendonly, fsync everysec", ("--appendonly", "yes")),
        ("appendonly, fsync always", ("--appendonly", "yes", "--appendfsync", "always")),
    ):
        here = os.path.join(folder, name.replace(" ", "-"))
        port, server = start(here, *options)
        redis = Redis(port)
        begin = time.perf_counter()
        for _ in range(200):
            redis.publish()
        cost = (time.perf_counter() - begin) / 200 * 1e6
        stop(server)
        server = start_at(port, here, *options)
        print(f"killed after 200 ({name}, {cost:.0f} us each): the next is", Redis(port).publish(epoch="e2"))
        stop(server)


def failover(folder):
    port, server_of_primary = start(os.path.join(folder, "primary"))
    second_port, replica = start(os.path.join(folder, "replica"), "--replicaof", "127.0.0.1", str(port))
    redis, other = Redis(port), Redis(second_port)
    while "master_link_status:up" not in other.ask("INFO", "replication"):
        time.sleep(0.05)
    redis.publish(data="one")
    print("replicas that have it (WAIT 1 1000):", redis.ask("WAIT", 1, 1000))
    # What a monitor does that cannot reach the primary, while clients still can.
    other.ask("REPLICAOF", "NO", "ONE")
    print("acknowledged by the old primary during the partition:", redis.publish(data="two"), "| WAIT 1 200 ->", redis.ask("WAIT", 1, 200))
    print("acknowledged by the new primary:", other.publish(data="TWO"))
    redis.ask("REPLICAOF", "127.0.0.1", str(second_port))
    while "master_link_status:up" not in redis.ask("INFO", "replication"):
        time.sleep(0.05)
    print("after the partition both have", redis.ask("XRANGE", "{c}log", "-", "+"))
    ids = [line for line in other.ask("INFO", "replication").split("\r\n") if line.startswith(("master_replid:", "master_replid2:"))]
    print("what tells that it happened:", ids)
    stop(server_of_primary)
    stop(replica)


if __name__ == "__main__":
    folder = tempfile.mkdtemp()
    try:
        port, server = start(os.path.join(folder, "plain"))
        print(Redis(port).ask("INFO", "server").split("redis_version:")[1].split("\r\n")[0])
        operations(port)
        races(port)
        fan_out(port)
        stop(server)
        restarts(folder)
        failover(folder)
    finally:
        shutil.rmtree(folder)
