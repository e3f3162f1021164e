"""The reason column: why values of a row are missing, incomplete or uncertain.

    c                                      each protected figure of the row
    n: c | share: lacks 1 of 33 boroughs   each figure by its name
    n: c | row: judged by a figure ...     the last part is about the row itself
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

BETWEEN = " | "
# A name in double quotes, with these doubled inside, or a bare one.
NAMED = re.compile(r'(?:"((?:[^"]|"")*)"|([^":|]*)): (.*)', re.DOTALL)
QUOTED = re.compile(r'"(?:[^"]|"")*"')
# Marks that begin with a word and a colon are not names.
CODES = {"c", "x", "z", "row"}


@dataclass
class Marks:
    """The marks of one row."""

    named: dict[str, str] = field(default_factory=dict)
    #: The mark of each protected figure that is not named.
    all: str | None = None
    #: The mark of the row: it might not be there, or stand elsewhere.
    row: str | None = None

    @classmethod
    def read(cls, reason: str | None) -> Marks:
        marks = cls()
        for part in parts(reason or ""):
            named = NAMED.fullmatch(part)
            quoted, bare, mark = named.groups() if named else (None, None, part)
            if quoted is not None:
                marks.named[quoted.replace('""', '"')] = mark
            elif bare == "row":
                marks.row = mark
            elif bare is None or bare in CODES or bare.startswith("lacks "):
                marks.all = part
            else:
                marks.named[bare] = mark
        return marks

    def of(self, column: str, protected: bool) -> str | None:
        """The mark of a column's value."""
        return self.named.get(column, self.all if protected else None)


def parts(reason: str) -> list[str]:
    """The parts of a reason. A quoted name may hold the separator."""
    found = []
    while reason:
        quoted = QUOTED.match(reason)
        end = reason.find(BETWEEN, quoted.end() if quoted else 0)
        if end < 0:
            return [*found, reason]
        found.append(reason[:end])
        reason = reason[end + len(BETWEEN) :]
    return found


def symbol(mark: str | None) -> str:
    """What stands in place of a missing figure."""
    if mark is None:
        return ""
    lacks = {word: word in mark for word in ("withheld", "no answer", "no data")}
    if mark.startswith("x: ") or (lacks["no answer"] and not lacks["withheld"]):
        return "[x]"
    if mark.startswith("z: ") or (lacks["no data"] and not lacks["withheld"]):
        return "[z]"
    return "[c]"
