"""Owns the Python 2.7 that the testsuite needs: where it lies, whether it is whole, how it is made. Needs no root: packages are
downloaded and unpacked into a folder, nothing is installed. Knows nothing of WebSocket.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"

# The last Debian release that has Python 2.7.
SUITE = "bullseye"
PACKAGES = [
    "python2.7",
    "python2.7-minimal",
    "libpython2.7-minimal",
    "libpython2.7-stdlib",
    "libssl1.1",
    "libffi7",
]
# What pip needs in order to install the rest, fetched with the machine's own pip.
BOOTSTRAP = ["pip==20.3.4", "setuptools==44.1.1", "wheel==0.37.1"]

STEP_SECONDS_MAX = 300


class Missing(Exception):
    """Something that this machine lacks. The text names it and says how to get it."""


class Environment:
    """A folder with an unpacked Python 2.7 (`root`) and the testsuite's packages (`site`)."""

    def __init__(self, cache: pathlib.Path):
        self.cache = cache
        self.folder = cache / "python2.7"

    def command(self, *arguments: str) -> list[str]:
        return [str(self.folder / "root/usr/bin/python2.7"), "-u", *arguments]

    def variables(self) -> dict[str, str]:
        return variables(self.folder / "root", [self.folder / "site"])

    def is_whole(self) -> bool:
        """True when an installation of exactly these packages was finished before."""
        try:
            return (self.folder / "finished").read_text() == fingerprint()
        except OSError:
            return False

    def install(self, mirror: str | None = None) -> None:
        """Makes the environment unless it is there. Raises `Missing`. Two at once wait for each other."""
        self.cache.mkdir(parents=True, exist_ok=True)
        with open(self.cache / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.is_whole():
                return
            # Built beside its place and moved there at the end: an interrupted installation is never taken for a whole one.
            fresh = self.cache / "python2.7.new"
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir()
            unpack_python(fresh, mirror)
            install_testsuite(fresh)
            (fresh / "finished").write_text(fingerprint())
            shutil.rmtree(self.folder, ignore_errors=True)
            fresh.rename(self.folder)


def fingerprint() -> str:
    """Changes when anything that decides the environment's content changes."""
    text = "\n".join([SUITE, *PACKAGES, *BOOTSTRAP, REQUIREMENTS.read_text()])
    return hashlib.sha256(text.encode()).hexdigest()


def variables(root: pathlib.Path, path: list[pathlib.Path]) -> dict[str, str]:
    libraries = [str(folder) for folder in sorted(root.glob("usr/lib/*-linux-*"))]
    return {
        **os.environ,
        "PYTHONHOME": str(root / "usr"),
        "PYTHONPATH": os.pathsep.join(str(folder) for folder in path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONWARNINGS": "ignore",
        "LD_LIBRARY_PATH": os.pathsep.join(libraries),
    }


def unpack_python(folder: pathlib.Path, mirror: str | None) -> None:
    for tool in ("apt-get", "dpkg-deb", "dpkg"):
        if shutil.which(tool) is None:
            raise Missing(f"`{tool}` (this needs Debian's package tools: run it on Debian or in a Debian container)")
    apt = folder / "apt"
    for part in ("lists/partial", "cache/archives/partial", "packages"):
        (apt / part).mkdir(parents=True)
    (apt / "sources.list").write_text(source_line(mirror) + "\n")
    options = {
        "Dir::Etc::sourcelist": apt / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::Lists": apt / "lists",
        "Dir::Cache": apt / "cache",
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "",
    }
    flags = [flag for name, value in options.items() for flag in ("-o", f"{name}={value}")]
    hint = f"the lists and packages of Debian {SUITE} (give a mirror that has them with --mirror URI)"
    step(["apt-get", *flags, "-q", "--error-on=any", "update"], hint)
    step(["apt-get", *flags, "-q", "download", *PACKAGES], hint, cwd=apt / "packages")
    for package in sorted((apt / "packages").glob("*.deb")):
        step(["dpkg-deb", "-x", str(package), str(folder / "root")], f"a whole {package.name}")
    shutil.rmtree(apt)
    python = [str(folder / "root/usr/bin/python2.7"), "-c", "import ssl, ctypes, zlib"]
    step(python, "a working Python 2.7", env=variables(folder / "root", []))


def install_testsuite(folder: pathlib.Path) -> None:
    wheels = folder / "wheels"
    for_python_2 = ["--python-version", "2.7", "--implementation", "py", "--abi", "none", "--platform", "any"]
    download = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", *for_python_2]
    hint = "pip, or its package index (Debian: apt-get install python3-pip; `python3 -m pip download six` must work)"
    step([*download, "-d", str(wheels), *BOOTSTRAP], hint)
    site = folder / "site"
    env = variables(folder / "root", [*wheels.glob("pip-*.whl"), site])
    python = str(folder / "root/usr/bin/python2.7")
    install = [python, "-m", "pip", "install", "-q", "--no-deps", "--no-cache-dir", "--target", str(site)]
    # First what builds the sdists, unpacked: inside their wheels, Python 2 does not find setuptools' own commands.
    tools = [str(wheel) for wheel in sorted(wheels.glob("*.whl")) if not wheel.name.startswith("pip-")]
    step([*install, *tools], "an unpacked setuptools", env=env)
    step([*install, "--no-build-isolation", "-r", str(REQUIREMENTS)], "the packages of requirements.txt", env=env)
    shutil.rmtree(wheels)
    # Python 2 has no packages without this file.
    (site / "zope/__init__.py").touch()
    probe = "import txaio; txaio.use_twisted(); from autobahntestsuite import wstest"
    step([python, "-c", probe], "a working testsuite", env=variables(folder / "root", [site]))


def step(command: list[str], needed: str, **options: object) -> None:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=STEP_SECONDS_MAX,
            **options,
        )
    except subprocess.TimeoutExpired:
        raise Missing(f"{needed}: `{command[0]}` did not end within {STEP_SECONDS_MAX} s") from None
    except OSError as error:
        raise Missing(f"{needed}: {error}") from None
    if done.returncode != 0:
        tail = "\n    ".join(done.stdout.strip().splitlines()[-8:])
        raise Missing(f"{needed}; `{command[0]}` said:\n    {tail}")


def source_line(mirror: str | None) -> str:
    if mirror:
        return f"deb {mirror} {SUITE} main"
    release = os_release()
    if release.get("ID") != "debian":
        raise Missing(f"a Debian mirror: this is {release.get('ID', 'unknown')} (give one with --mirror URI)")
    for uri, keyring in machine_sources(release.get("VERSION_CODENAME", "")):
        options = f"[signed-by={keyring}] " if keyring else ""
        return f"deb {options}{uri} {SUITE} main"
    raise Missing("a source of the machine's own release under /etc/apt (give a mirror with --mirror URI)")


def os_release() -> dict[str, str]:
    try:
        text = pathlib.Path("/etc/os-release").read_text()
    except OSError:
        return {}
    return {name: value.strip('"') for name, _, value in (line.partition("=") for line in text.splitlines())}


def machine_sources(codename: str) -> list[tuple[str, str | None]]:
    """(URI, keyring) of each of the machine's apt sources that serves its own release."""
    etc = pathlib.Path("/etc/apt")
    found: list[tuple[str, str | None]] = []
    for file in sorted((etc / "sources.list.d").glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", file.read_text()):
            lines = (line for line in stanza.splitlines() if not line.startswith("#"))
            fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            if codename in fields.get("suites", "").split() and fields.get("uris"):
                found.append((fields["uris"].split()[0], fields.get("signed-by") or None))
    for file in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*.list"))]:
        if not file.exists():
            continue
        for line in file.read_text().splitlines():
            match = re.match(r"deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s", line.strip() + " ")
            if match and match["suite"] == codename:
                keyring = re.search(r"signed-by=(\S+)", match["options"] or "")
                found.append((match["uri"], keyring and keyring[1]))
    return found
