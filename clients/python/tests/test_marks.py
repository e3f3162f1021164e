"""The reason column, as the federation writes it."""

import pytest
from loda.marks import Marks, symbol


@pytest.mark.parametrize(
    ("reason", "figure", "mark"),
    [
        (None, "n", None),
        ("c", "n", "c"),
        ("x: no answer", "n", "x: no answer"),
        ("n: c | share: lacks 1 of 33 boroughs: 1 withheld", "share", "lacks 1 of 33 boroughs: 1 withheld"),
        ("lacks 3 of 33 boroughs: 2 withheld, 1 no answer", "n", "lacks 3 of 33 boroughs: 2 withheld, 1 no answer"),
        ('"a | b": c | n: z: after the data end (2020-11-30)', "a | b", "c"),
        ('"a | b": c | n: z: after the data end (2020-11-30)', "n", "z: after the data end (2020-11-30)"),
        ('"say ""c""": c', 'say "c"', "c"),
    ],
)
def test_each_figure_gets_its_mark(reason, figure, mark):
    assert Marks.read(reason).of(figure, True) == mark


def test_the_row_has_a_mark_of_its_own():
    marks = Marks.read("n: c | row: judged by a figure that is not complete")
    assert marks.row == "judged by a figure that is not complete" and marks.of("other", True) is None


def test_symbols():
    marks = ["c", "x: no answer", "z: before the data begin (2018-01-01)", "lacks 2 of 33 boroughs: 2 no data", None]
    assert [symbol(mark) for mark in marks] == ["[c]", "[x]", "[z]", "[z]", ""]
