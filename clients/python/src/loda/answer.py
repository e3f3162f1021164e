"""An answer: a data frame that knows its statement and its marks."""

from __future__ import annotations

import json
from html import escape

import pandas
import pyarrow

from .marks import Marks, symbol

#: The rows that a notebook shows.
SHOWN = 200


class Answer(pandas.DataFrame):
    """A data frame with ``attrs["statement"]``; in a notebook it shows marks and the statement."""

    @property
    def _constructor(self):
        return Answer

    @classmethod
    def of_table(cls, table: pyarrow.Table) -> Answer:
        """An answer as Flight SQL delivers it."""
        answer = cls(table.to_pandas(types_mapper=_kind))
        told = (table.schema.metadata or {}).get(b"loda.statement")
        answer.attrs["statement"] = json.loads(told) if told else {}
        flag = {key: [f.name for f in table.schema if (f.metadata or {}).get(key) == b"1"] for key in _FLAGS}
        answer.attrs["protected"] = flag[b"loda.protected"]
        answer.attrs["reason"] = next(iter(flag[b"loda.reason"]), None)
        return answer

    def marks(self) -> pandas.DataFrame:
        """For each figure its mark; ``row`` is the mark of the row itself. Missing: the figure is complete."""
        reasons = self._reasons()
        figures = [name for name in self.columns if name != self.attrs.get("reason")]
        columns = {name: [marks.of(name, self._is_protected(name)) for marks in reasons] for name in figures}
        columns["row"] = [marks.row for marks in reasons]
        return pandas.DataFrame(columns, index=self.index, dtype="string").dropna(axis="columns", how="all")

    def _reasons(self) -> list[Marks]:
        reason = self.attrs.get("reason")
        if reason not in self.columns:
            return [Marks()] * len(self)
        return [Marks.read(None if pandas.isna(text) else text) for text in self[reason]]

    def _is_protected(self, name) -> bool:
        return name in self.attrs.get("protected", [])

    def _repr_html_(self) -> str:
        head, reason = self.head(SHOWN), self.attrs.get("reason")
        names = [name for name in self.columns if name != reason]
        notes = bool(reason in self.columns and any(not pandas.isna(text) and text != "c" for text in head[reason]))
        header = "".join(f"<th>{escape(str(name))}</th>" for name in [*names, *(["note"] if notes else [])])
        rows = []
        for (_, row), marks in zip(head.iterrows(), head._reasons()):
            cells = [self._cell(name, row[name], marks.of(name, self._is_protected(name))) for name in names]
            if notes:
                text = row[reason]
                cells.append(f"<td>{'' if pandas.isna(text) or text == 'c' else escape(text)}</td>")
            rows.append(f"<tr>{''.join(cells)}</tr>")
        more = f"<p>{len(self) - SHOWN:,} more rows</p>" if len(self) > SHOWN else ""
        table = f"<table><thead><tr>{header}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        return f"<div>{table}{more}{_statement(self.attrs.get('statement') or {})}</div>"

    @staticmethod
    def _cell(name, value, mark: str | None) -> str:
        if pandas.isna(value):
            title = f' title="{escape(mark)}"' if mark else ""
            return f"<td{title}>{symbol(mark)}</td>"
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        text = f"{value:,}" if number else str(value)
        dagger = f'<sup title="{escape(mark)}">†</sup>' if mark else ""
        style = ' style="text-align: right"' if number else ""
        return f"<td{style}>{escape(text)}{dagger}</td>"


_FLAGS = (b"loda.protected", b"loda.reason")


def _kind(kind: pyarrow.DataType):
    """Types that have a missing value of their own: a withheld count stays a whole number's column."""
    if pyarrow.types.is_int64(kind):
        return pandas.Int64Dtype()
    if pyarrow.types.is_float64(kind):
        return pandas.Float64Dtype()
    if pyarrow.types.is_boolean(kind):
        return pandas.BooleanDtype()
    if pyarrow.types.is_string(kind):
        return pandas.StringDtype()
    return pandas.ArrowDtype(kind)


def _statement(statement: dict) -> str:
    """The statement in a few lines."""
    lines = []
    for part in statement.get("parts", []):
        answers = [borough["answer"] for borough in part["boroughs"]]
        asked = sum(answer != "not asked" for answer in answers)
        line = f"{part['dataset']}: {answers.count('answered')} of {asked} boroughs answered"
        if part.get("withheld"):
            line += f"; {part['withheld']:,} of {part['values']:,} figures withheld. A figure that cannot be told is [c]"
        lines.append(line)
        lines += part.get("notes", [])
    lines = list(dict.fromkeys(lines))
    errors = [f"{error['column']} ±{error['standard_error']:.2g}" for error in statement.get("errors", [])]
    if errors:
        lines.append("standard error: " + "; ".join(errors))
    lines += [f"note: {note}" for note in statement.get("notes", [])]
    if statement and not statement.get("complete"):
        lines.append("PARTIAL: not every borough that was asked answered")
    return "".join(f"<p>{escape(line)}</p>" for line in lines)
