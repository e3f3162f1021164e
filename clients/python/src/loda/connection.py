"""A connection over ADBC and Flight SQL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import adbc_driver_flightsql.dbapi as flight
from adbc_driver_flightsql import DatabaseOptions
from adbc_driver_manager import dbapi

from .answer import Answer

PURPOSE = "adbc.flight.sql.session.option.purpose"
# The driver writes "INVALID_ARGUMENT: [FlightSQL] rule: sentence. advice (InvalidArgument; ...)".
REFUSAL = re.compile(r"\[FlightSQL\] ([a-z_-]+): (.*?)(?: \((?:[A-Z]\w+)[;)].*)?$", re.DOTALL)


class Refused(Exception):
    """A question that is not answered. ``rule`` is the stable name of the reason."""

    def __init__(self, rule: str, words: str):
        super().__init__(f"{rule}: {words}")
        self.rule = rule
        self.words = words


def connect(
    url: str,
    *,
    token: str | None = None,
    ca: str | Path | None = None,
    certificate: str | Path | None = None,
    key: str | Path | None = None,
    purpose: str | None = None,
) -> Connection:
    """Connects to the coordinator.

    :param url: its address, as ``host:port`` or ``https://host:port``
    :param token: a token of yours (``loda token new``)
    :param ca: the certificate of the coordinator's authority (PEM), if the host does not know it
    :param certificate: your own certificate instead of a token, with its ``key`` (PEM)
    :param purpose: the purpose of your questions, as agreements name it
    """
    if token is None and certificate is None:
        raise ValueError("show who you are: token=…, or certificate=… and key=…")
    options = {}
    if token is not None:
        options[DatabaseOptions.AUTHORIZATION_HEADER.value] = f"Bearer {token.strip()}"
    if ca is not None:
        options[DatabaseOptions.TLS_ROOT_CERTS.value] = Path(ca).read_text()
    if certificate is not None:
        if key is None:
            raise ValueError("a certificate needs its key: key=…")
        options[DatabaseOptions.MTLS_CERT_CHAIN.value] = Path(certificate).read_text()
        options[DatabaseOptions.MTLS_PRIVATE_KEY.value] = Path(key).read_text()
    address = urlsplit(url if "//" in url else f"//{url}").netloc
    return Connection(flight.connect(f"grpc+tls://{address}", db_kwargs=options, autocommit=True), purpose)


class Connection:
    """Asks questions. Use it in a ``with``, or close it."""

    def __init__(self, adbc: dbapi.Connection, purpose: str | None):
        self._adbc, self._purpose, self._stated = adbc, purpose, None

    def query(self, sql: str, parameters: Sequence | None = None, *, purpose: str | None = None) -> Answer:
        """Asks, waits, and returns the answer.

        :raises Refused: with the rule and the advice
        """
        purpose = purpose or self._purpose
        try:
            if purpose is not None and purpose != self._stated:
                self._adbc.adbc_connection.set_options(**{PURPOSE: purpose})
                self._stated = purpose
            with self._adbc.cursor() as cursor:
                cursor.execute(sql, parameters)
                return Answer.of_table(cursor.fetch_arrow_table())
        except dbapi.Error as fault:
            refusal = REFUSAL.search(str(fault))
            if refusal is None:
                raise
            raise Refused(*refusal.groups()) from None

    def tables(self) -> list[str]:
        """The names of the tables that may be asked about."""
        catalogs = self._adbc.adbc_get_objects(depth="tables", db_schema_filter="public").read_all().to_pylist()
        schemas = [schema for catalog in catalogs for schema in catalog["catalog_db_schemas"] or []]
        return sorted(table["table_name"] for schema in schemas for table in schema["db_schema_tables"] or [])

    def close(self) -> None:
        self._adbc.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_) -> None:
        self.close()
