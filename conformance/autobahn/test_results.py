"""`python3 -m unittest` in this folder. Plants each kind of difference and expects the comparison to see it."""

import pathlib
import tempfile
import unittest

from results import Outcome, compare, read_expected, read_report, table, write_expected

OK = Outcome("OK", "OK")
LAX = Outcome("NON-STRICT", "OK")
UNCLEAN = Outcome("OK", "UNCLEAN")


def verdicts(expected, found, cases=("1.1.1",)):
    return [difference.verdict() for difference in compare(list(cases), expected, found)]


class Comparison(unittest.TestCase):
    def test_same(self):
        self.assertEqual(verdicts({"1.1.1": LAX}, {"1.1.1": LAX}), [])

    def test_worse(self):
        self.assertEqual(verdicts({"1.1.1": OK}, {"1.1.1": LAX}), ["worse"])
        self.assertEqual(verdicts({"1.1.1": LAX}, {"1.1.1": UNCLEAN}), ["worse"])

    def test_better_is_a_difference_too(self):
        self.assertEqual(verdicts({"1.1.1": UNCLEAN}, {"1.1.1": OK}), ["better"])

    def test_a_case_that_did_not_run(self):
        self.assertEqual(verdicts({"1.1.1": OK}, {}), ["not run"])
        self.assertEqual(verdicts({}, {}), ["not run"])

    def test_a_case_that_nobody_wrote_down(self):
        self.assertEqual(verdicts({}, {"1.1.1": OK}), ["not in the file"])

    def test_cases_outside_the_choice_are_ignored(self):
        self.assertEqual(verdicts({"1.1.1": OK, "9.1.1": OK}, {"1.1.1": OK}), [])

    def test_an_unknown_word_is_worse(self):
        self.assertEqual(verdicts({"1.1.1": UNCLEAN}, {"1.1.1": Outcome("OK", "NEW WORD")}), ["worse"])

    def test_table_orders_cases_as_numbers(self):
        rows = table(compare(["10.1.1", "9.1.1"], {}, {})).splitlines()
        self.assertEqual([row.split()[0] for row in rows], ["case", "9.1.1", "10.1.1"])


class Files(unittest.TestCase):
    def test_update_keeps_other_cases(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "expected.json"
            write_expected(file, {"9.1.1": OK, "1.1.1": OK})
            write_expected(file, {"1.1.1": LAX})
            self.assertEqual(read_expected(file), {"1.1.1": LAX, "9.1.1": OK})

    def test_no_report(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(read_report(pathlib.Path(folder), "anyone"), {})


if __name__ == "__main__":
    unittest.main()
