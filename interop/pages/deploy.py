"""What docs/howto/deploy.md promises, without a systemd that runs: the unit is looked at by systemd's own tools, and the server gets the page's
configuration, the signals that the unit would send, and the page's commands for a backup, with other folders and ports. Argument: `command` and
`folder`, as JSON.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from page import blocks, write_files

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs/howto/deploy.md"
UNIT = ROOT / "packaging/systemd/switchboard.service"
ABOUT = json.loads(sys.argv[1])
FOLDER = pathlib.Path(ABOUT["folder"])
BINARY = ABOUT["command"][0]
SECONDS_MAX = 30
# By systemd's own reckoning 0.0 is locked in and 10.0 is open; what is left is the network, which a server needs.
EXPOSURE_MAX = 1.5


def here(text: str) -> str:
    """The page's text with folders of our own in place of the system's."""
    for path, ours in (
        ("/etc/switchboard", "etc"),
        ("/var/lib/switchboard", "lib"),
        ("/var/backups", "backups"),
        ("/tmp/restored", "restored"),
    ):
        text = text.replace(path, str(FOLDER / ours))
    return text


def run(*words: str, **more: object) -> str:
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS_MAX, **more)
    if done.returncode != 0:
        raise AssertionError(f"`{' '.join(words)}` ended with {done.returncode}: {(done.stdout + done.stderr).strip()}")
    return done.stdout + done.stderr


def shell(text: str) -> str:
    return run("bash", "-euc", text, env={**os.environ, "PATH": f"{pathlib.Path(BINARY).parent}:{os.environ['PATH']}"})


class Server:
    """As the unit starts it, told where to say that it is ready."""

    def __init__(self) -> None:
        self.told = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.told.settimeout(SECONDS_MAX)
        path = FOLDER / "notify"
        path.unlink(missing_ok=True)
        self.told.bind(str(path))
        (words,) = re.findall(r"^ExecStart=/usr/local/bin/switchboard (.*)$", UNIT.read_text(), re.MULTILINE)
        arguments = [*here(words).split(), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
        self.log = open(FOLDER / "serve.log", "a")
        self.process = subprocess.Popen(
            [BINARY, *arguments],
            env={**os.environ, "NOTIFY_SOCKET": str(path)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        self.addresses: dict[str, str] = {}
        while len(self.addresses) < 2:
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError(f"the server did not start (its output: {self.log.name})")
            if found := re.match(r"\s+(HTTP API|console)\s+(http://[\d.:]+)", line):
                self.addresses[found[1]] = found[2]
        self.says("READY=1")

    def says(self, state: str) -> None:
        heard = self.told.recv(64).decode()
        if heard != state:
            raise AssertionError(f"the supervisor was told {heard}, not {state}")

    def admin(self, path: str) -> str:
        with urllib.request.urlopen(self.addresses["console"] + path, timeout=SECONDS_MAX) as answer:
            return answer.read().decode()

    def ask(self, method: str, key: str, **members: object) -> dict:
        request = urllib.request.Request(
            f"{self.addresses['HTTP API']}/api/v1/{method}", json.dumps(members).encode(), {"Authorization": f"Bearer {key}"}
        )
        with urllib.request.urlopen(request, timeout=SECONDS_MAX) as answer:
            return json.load(answer)

    def stop(self) -> None:
        self.process.terminate()
        self.says("STOPPING=1")
        status = self.process.wait(SECONDS_MAX)
        if status != 0:
            raise AssertionError(f"after SIGTERM the server ended with {status}")


def api_key() -> str:
    return (FOLDER / "etc/api-key").read_text().strip()


def systemd_takes_the_unit() -> None:
    unit = FOLDER / "unit/switchboard.service"
    unit.parent.mkdir()
    unit.write_text(UNIT.read_text().replace("/usr/local/bin/switchboard", BINARY))
    said = run("systemd-analyze", "verify", "--man=no", str(unit))
    if "switchboard" in said:
        raise AssertionError(said)
    overridden = FOLDER / "overridden/switchboard.service"
    overridden.parent.mkdir()
    shutil.copy(unit, overridden)
    dropped = overridden.with_name("switchboard.service.d")
    write_files(PAGE, dropped)
    (dropped / "switchboard.toml").unlink()
    said = run("systemd-analyze", "verify", "--man=no", str(overridden))
    if "switchboard" in said:
        raise AssertionError(said)


def systemd_finds_it_locked_in() -> None:
    threshold = f"--threshold={EXPOSURE_MAX * 10:.0f}"
    said = run("systemd-analyze", "security", "--offline=yes", threshold, str(FOLDER / "unit/switchboard.service"), "--no-pager")
    print(f"# {said.strip().splitlines()[-1]}")


def the_configuration_is_right() -> None:
    run(BINARY, "config", "check", str(FOLDER / "etc/switchboard.toml"))


def it_says_when_it_is_ready_and_shows_the_metrics_that_the_page_names() -> None:
    if not server.admin("/readyz"):
        raise AssertionError("/readyz says nothing")
    shown = server.admin("/metrics")
    for name in re.findall(r"^\| `(switchboard_\w+)`", PAGE.read_text(), re.MULTILINE):
        # Without webhooks nothing is told of them.
        if not re.search(rf"^{name}(_count)?[ {{]", shown, re.MULTILINE) and "webhook" not in name:
            raise AssertionError(f"no metric is called {name}")


def a_reload_serves_a_new_application_and_a_wrong_one_changes_nothing() -> None:
    file = FOLDER / "etc/switchboard.toml"
    right = file.read_text() + '\n[[apps]]\nid = "second"\nanonymous = []\napi_keys = ["0123456789abcdef0123456789abcdef"]\n'
    file.write_text(right)
    (reload,) = re.findall(r"^ExecReload=/bin/kill -(\w+) \$MAINPID$", UNIT.read_text(), re.MULTILINE)
    server.process.send_signal(signal.Signals[f"SIG{reload}"])
    until(lambda: serves("0123456789abcdef0123456789abcdef"))
    file.write_text("[server]\nlisten = 1\n")
    before = pathlib.Path(server.log.name).read_text().count("the configuration is no good")
    server.process.send_signal(signal.SIGHUP)
    until(lambda: pathlib.Path(server.log.name).read_text().count("the configuration is no good") > before)
    if not serves("0123456789abcdef0123456789abcdef"):
        raise AssertionError("a configuration that is wrong took away an application")
    file.write_text(right)


def serves(key: str) -> bool:
    try:
        return server.ask("channels", key)["channels"] == []
    except urllib.error.HTTPError:
        return False


def until(true) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not true():
        if time.monotonic() > deadline:
            raise AssertionError("it did not come to that")
        time.sleep(0.05)


def a_backup_is_good_and_brings_the_history_back() -> None:
    global server
    server.ask("publish", api_key(), channel="news", data="before the backup")
    words = ("backup", "verify", "new-epoch")
    backup, verify, renew = ([block for block in blocks(PAGE) if word in block.words][0] for word in words)
    stop, copy, start = backup.lines
    if (stop, start) != ("systemctl stop switchboard", "systemctl start switchboard"):
        raise AssertionError(f"the backup is {backup.lines}")
    server.stop()
    shell(here(copy))
    server = Server()
    after = server.ask("publish", api_key(), channel="news", data="after it")["position"]
    shell(here(verify.text))
    server.stop()
    shutil.rmtree(FOLDER / "lib/history")
    shutil.move(FOLDER / "restored/history", FOLDER / "lib/history")
    command, owner = renew.lines
    if not owner.startswith("chown -R switchboard:switchboard "):
        raise AssertionError(f"the new epoch is {renew.lines}")
    shell(here(command))
    server = Server()
    history = server.ask("history", api_key(), channel="news")
    found = [publication["data"] for publication in history["publications"]]
    if found != ["before the backup"]:
        raise AssertionError(f"the restored history has {found}")
    # As far as the lost publication was, and one further.
    for data in ("another", "and one more"):
        server.ask("publish", api_key(), channel="news", data=data)
    try:
        server.ask("history", api_key(), channel="news", since=after)
    except urllib.error.HTTPError as refusal:
        if json.load(refusal)["error"]["code"] != "history_lost":
            raise
    else:
        raise AssertionError("a position from after the backup was taken for one of now")


def it_says_when_it_stops() -> None:
    server.stop()


CHECKS = (
    systemd_takes_the_unit,
    systemd_finds_it_locked_in,
    the_configuration_is_right,
    it_says_when_it_is_ready_and_shows_the_metrics_that_the_page_names,
    a_reload_serves_a_new_application_and_a_wrong_one_changes_nothing,
    a_backup_is_good_and_brings_the_history_back,
    it_says_when_it_stops,
)


def prepare() -> Server:
    shutil.rmtree(FOLDER, ignore_errors=True)
    for name in ("etc", "lib", "backups"):
        (FOLDER / name).mkdir(parents=True)
    for name in ("secret", "api-key"):
        (FOLDER / "etc" / name).write_text(os.urandom(32).hex() + "\n")
        (FOLDER / "etc" / name).chmod(0o600)
    for block in blocks(PAGE):
        if block.words.get("file") == "switchboard.toml":
            (FOLDER / "etc/switchboard.toml").write_text(here(block.text))
    return Server()


if __name__ == "__main__":
    failures = 0
    server = prepare()
    try:
        for check in CHECKS:
            name = check.__name__.replace("_", " ")
            try:
                check()
                print(f"ok {name}", flush=True)
            except (AssertionError, OSError, subprocess.TimeoutExpired) as error:
                failures += 1
                print(f"not ok {name}: {str(error).replace(chr(10), ' ')[:600]}", flush=True)
    finally:
        server.process.kill()
    sys.exit(1 if failures else 0)
