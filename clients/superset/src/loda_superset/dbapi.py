"""The driver: ADBC's DBAPI for Flight SQL, with names of types, refusals in plain words, and nothing to commit."""

from __future__ import annotations

import json
import re
from itertools import islice
from pathlib import Path

import adbc_driver_flightsql.dbapi as flight
import pyarrow
from adbc_driver_flightsql import DatabaseOptions
from adbc_driver_flightsql.dbapi import *  # noqa: F403  SQLAlchemy looks for DBAPI's names here
from adbc_driver_flightsql.dbapi import Error, OperationalError
from adbc_driver_manager import AdbcStatusCode

PURPOSE = "adbc.flight.sql.rpc.call_header.loda-purpose"
REASON = b"loda.reason"
NAMES = [
    (pyarrow.types.is_integer, "BIGINT"),
    (pyarrow.types.is_floating, "DOUBLE"),
    (pyarrow.types.is_boolean, "BOOLEAN"),
    (pyarrow.types.is_date, "DATE"),
    (pyarrow.types.is_timestamp, "TIMESTAMP"),
]
# The driver writes "INVALID_ARGUMENT: [FlightSQL] rule: sentence. advice (InvalidArgument; ...)".
FAULT = re.compile(r"\[FlightSQL\] (?:([a-z][a-z_-]*): )?(.*?)(?: \([A-Z]\w+[;)].*)?$", re.DOTALL)


def connect(host, port, token, ca=None, purpose=None, partial="refuse") -> Connection:
    """Connects to the coordinator.

    :param ca: the file with the certificate of the coordinator's authority (PEM), if the host does not know it
    :param purpose: the purpose of all questions, if the token has none of its own
    :param partial: ``refuse`` makes a chart of an answer without all boroughs an error; ``show`` shows it
    """
    options = {DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {token.strip()}"}
    if ca:
        options[DatabaseOptions.TLS_ROOT_CERTS.value] = Path(ca).read_text()
    if purpose:
        options[PURPOSE] = purpose
    address = f"[{host}]" if ":" in host else host
    return Connection(flight.connect(f"grpc+tls://{address}:{port}", db_kwargs=options, autocommit=True), partial)


class Connection:
    """A connection. Questions change nothing, so there is nothing to commit."""

    def __init__(self, adbc: flight.Connection, partial: str):
        self.adbc, self._partial = adbc, partial

    def cursor(self) -> Cursor:
        return Cursor(self.adbc.cursor(), self._partial)

    def commit(self) -> None:
        pass

    rollback = commit

    def close(self) -> None:
        self.adbc.close()


class Cursor:
    """The rows of one answer. ``in_chart`` leaves out the last column, which says why figures are missing."""

    arraysize = 1

    def __init__(self, adbc: flight.Cursor, partial: str):
        self._adbc, self._partial, self._rows = adbc, partial, iter(())
        self.in_chart, self.description, self.rowcount = False, None, -1

    def execute(self, sql: str, parameters=None) -> Cursor:
        try:
            self._adbc.execute(sql, parameters or None)
            table = self._adbc.fetch_arrow_table()
        except Error as fault:
            raise plain(fault) from None
        if self.in_chart and self._partial == "refuse":
            check_complete(table)
        if self.in_chart:
            table = table.select([field.name for field in table.schema if REASON not in (field.metadata or {})])
        self.description = [(field.name, type_name(field.type), *[None] * 5) for field in table.schema]
        self._rows, self.rowcount = zip(*(column.to_pylist() for column in table.columns)), table.num_rows
        return self

    def fetchone(self) -> tuple | None:
        return next(self._rows, None)

    def fetchmany(self, size: int | None = None) -> list[tuple]:
        return list(islice(self._rows, size or self.arraysize))

    def fetchall(self) -> list[tuple]:
        return list(self._rows)

    def close(self) -> None:
        self._adbc.close()


def check_complete(table: pyarrow.Table) -> None:
    """Raises an error if a borough that was asked did not answer."""
    parts = json.loads((table.schema.metadata or {}).get(b"loda.statement", b"{}")).get("parts", [])
    answers = {borough["borough"]: borough["answer"] for part in parts for borough in part["boroughs"]}
    missing = sorted(borough for borough, answer in answers.items() if answer not in ("answered", "not asked"))
    if missing:
        text = f"partial: {len(missing)} of {len(answers)} boroughs did not answer: {', '.join(missing)}"
        raise OperationalError(text, status_code=AdbcStatusCode.UNKNOWN)


def plain(fault: Error) -> Error:
    """The same fault in the federation's own words."""
    told = FAULT.search(str(fault))
    if told is None:
        return fault
    rule, words = told.groups()
    text = f"refused ({rule}): {words}" if rule else words
    return type(fault)(text, status_code=fault.status_code)


def type_name(kind: pyarrow.DataType) -> str:
    """An Arrow type as SQL names it."""
    if pyarrow.types.is_decimal(kind):
        return f"DECIMAL({kind.precision}, {kind.scale})"
    return next((name for is_kind, name in NAMES if is_kind(kind)), "VARCHAR")
