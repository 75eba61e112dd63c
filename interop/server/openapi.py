"""The HTTP API against its own description, by schemathesis: for each method requests that the description allows and requests that it does not,
and answers as it says. Argument: the server, as in native.py.

Not asked is whether every request that the description allows is taken (positive_data_acceptance): names are bounded in bytes and levels, of which
JSON Schema has no words.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml

METHODS = 10
PHASES = ("examples", "coverage", "fuzzing")
RUN_SECONDS_MAX = 240


def run(about: dict[str, str], report: pathlib.Path) -> subprocess.CompletedProcess[str]:
    command = [
        str(pathlib.Path(sys.executable).with_name("schemathesis")),
        "run",
        f"{about['http']}/api/v1/openapi.json",
        *("--header", f"Authorization: Bearer {about['api_key']}"),
        *("--phases", ",".join(PHASES)),
        *("--max-examples", "25"),
        *("--seed", "1"),
        *("--exclude-checks", "positive_data_acceptance"),
        *("--warnings", "off"),
        *("--report-junit-path", str(report)),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=RUN_SECONDS_MAX, check=False, cwd=report.parent)


def main() -> int:
    about = json.loads(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.xml"
        done = run(about, report)
        cases = list(xml.parse(report).getroot().iter("testcase")) if report.exists() else []
    failed = 0
    for case in cases:
        found = [*case.iter("failure"), *case.iter("error")]
        failed += bool(found)
        print(f"{'not ok' if found else 'ok'} {case.get('name')}", flush=True)
        for failure in found:
            for line in f"{failure.get('message', '')}\n{failure.text or ''}".splitlines():
                print(f"# {line}", flush=True)
    # A run that found nothing to do has shown nothing.
    whole = len(cases) >= METHODS and (done.returncode == 0) == (failed == 0)
    print(f"{'ok' if whole else 'not ok'} all methods were tried", flush=True)
    if not whole:
        for line in (done.stdout + done.stderr).splitlines()[-40:]:
            print(f"# {line}", flush=True)
    return 0 if whole and failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
