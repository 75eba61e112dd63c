"""Owns what a run's results mean: reading the testsuite's report, comparing it with the committed expectation, saying where they
differ. Knows nothing of processes.
"""

from __future__ import annotations

import json
import pathlib
from typing import NamedTuple

# From best to worst. The first three conform; the standard leaves open what NON-STRICT and INFORMATIONAL cases look at.
RANKS = ["OK", "NON-STRICT", "INFORMATIONAL"]
RANKS += ["UNIMPLEMENTED", "NO_CLOSE", "WRONG CODE", "UNCLEAN", "FAILED BY CLIENT", "FAILED"]
CONFORMING = set(RANKS[:3])
NOT_RUN = "NOT RUN"


class Outcome(NamedTuple):
    """How a peer behaved in one case, and how it closed."""

    behavior: str
    close: str

    def conforms(self) -> bool:
        return {self.behavior, self.close} <= CONFORMING

    def __str__(self) -> str:
        return f"{self.behavior} / {self.close}"


Outcomes = dict[str, Outcome]


class Difference(NamedTuple):
    case: str
    expected: Outcome | None
    found: Outcome | None

    def verdict(self) -> str:
        if self.found is None:
            return "not run"
        if self.expected is None:
            return "not in the file"
        return "better" if rank(self.found) < rank(self.expected) else "worse"


def rank(outcome: Outcome) -> tuple[int, int]:
    places = [RANKS.index(word) if word in RANKS else len(RANKS) for word in outcome]
    return max(places), sum(places)


def case_key(case: str) -> tuple[int, ...]:
    return tuple(int(part) for part in case.split("."))


def read_report(folder: pathlib.Path, agent: str) -> Outcomes:
    """The outcomes that one run of the testsuite left in its folder; empty when it left none."""
    try:
        report = json.loads((folder / "index.json").read_text())
    except OSError:
        return {}
    cases = report.get(agent, {})
    return {case: Outcome(found["behavior"], found["behaviorClose"]) for case, found in cases.items()}


def read_expected(file: pathlib.Path) -> Outcomes:
    """The committed outcomes: a JSON object from case to "behaviour / closing behaviour"."""
    if not file.exists():
        return {}
    return {case: Outcome(*text.split(" / ")) for case, text in json.loads(file.read_text()).items()}


def write_expected(file: pathlib.Path, found: Outcomes) -> None:
    """Replaces the outcomes of the cases that ran and keeps those of the others."""
    merged = {**read_expected(file), **found}
    lines = [f'  "{case}": "{merged[case]}"' for case in sorted(merged, key=case_key)]
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def compare(cases: list[str], expected: Outcomes, found: Outcomes) -> list[Difference]:
    """One difference for each of `cases` that did not go as expected, a better outcome too. A case that did not run is one."""
    pairs = ((case, expected.get(case), found.get(case)) for case in cases)
    return [Difference(*pair) for pair in pairs if pair[1] != pair[2] or pair[2] is None]


def table(differences: list[Difference]) -> str:
    rows = [("case", "expected", "found", "")]
    for difference in sorted(differences, key=lambda row: case_key(row.case)):
        expected, found = difference.expected or "-", difference.found or NOT_RUN
        rows.append((difference.case, str(expected), str(found), difference.verdict()))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)
