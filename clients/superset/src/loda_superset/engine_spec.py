"""What Superset needs to know about the federation."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from sqlalchemy import types
from superset.constants import TimeGrain
from superset.db_engine_specs.base import BaseEngineSpec
from superset.utils.core import create_ssl_cert_file

COUNTED = re.compile(r"COUNT\(DISTINCT (?:\(borough, )?(\w+)\)+ counts each ([a-z]+)")


class LodaEngineSpec(BaseEngineSpec):
    """The London data federation."""

    engine = "loda"
    engine_name = "London data federation"
    default_driver = "adbc"
    drivers = {"adbc": "ADBC and Flight SQL"}
    sqlalchemy_uri_placeholder = "loda://me:TOKEN@host:port/?ca=/etc/loda/web-ca.pem"

    # A join with the largest groups would pick records; Superset asks for these groups first instead.
    allows_joins = False
    supports_file_upload = False
    disable_ssh_tunneling = True

    _time_grain_expressions = {
        None: "{col}",
        TimeGrain.DAY: "DATE_TRUNC('day', {col})",
        TimeGrain.MONTH: "DATE_TRUNC('month', {col})",
        TimeGrain.QUARTER: "DATE_TRUNC('quarter', {col})",
        TimeGrain.YEAR: "DATE_TRUNC('year', {col})",
    }

    @classmethod
    def convert_dttm(cls, target_type: str, dttm: datetime, db_extra: dict[str, Any] | None = None) -> str | None:
        """A literal. A day between two months means the later one: the answer's statement says so."""
        kind = cls.get_sqla_column_type(target_type)
        if isinstance(kind, types.Date):
            return f"DATE '{dttm.date()}'"
        if isinstance(kind, types.DateTime):
            return f"TIMESTAMP '{dttm.isoformat(sep=' ', timespec='seconds')}'"
        return None

    @classmethod
    def execute(cls, cursor, query: str, database, **kwargs: Any) -> None:
        """In SQL Lab, which alone sets ``async_``, the reason column is shown. Elsewhere it is no column of a dataset:
        a chart could not say that boroughs are missing, so that this is an error."""
        cursor.in_chart = "async_" not in kwargs
        super().execute(cursor, query, database, **kwargs)

    @classmethod
    def get_datatype(cls, type_code: Any) -> str | None:
        return type_code or None

    @classmethod
    def get_metrics(cls, database, inspector, table) -> list[dict[str, Any]]:
        """COUNT(*), and for each kind of unit the number of different ones: each once in every borough that holds it."""
        metrics = super().get_metrics(database, inspector, table)
        if not inspector.has_table(table.table, table.schema):
            return metrics  # A virtual dataset.
        for column in inspector.get_columns(table.table, table.schema):
            if found := COUNTED.search(column["comment"] or ""):
                sql = f"COUNT(DISTINCT (borough, {found[1]}))"
                metrics.append({"metric_name": f"count_{found[2]}", "verbose_name": sql, "expression": sql})
        return metrics

    @classmethod
    def _extract_error_message(cls, ex: Exception) -> str:
        """A refusal's own words, without SQLAlchemy's around them."""
        return str(getattr(ex, "orig", None) or getattr(ex, "statement", None) or ex)

    extract_error_message = _extract_error_message

    @staticmethod
    def get_extra_params(database, source=None) -> dict[str, Any]:
        """The root certificate that was pasted into Superset's form stands for ``ca``."""
        extra = BaseEngineSpec.get_extra_params(database, source)
        if database.server_cert:
            connect = extra.setdefault("engine_params", {}).setdefault("connect_args", {})
            connect["ca"] = create_ssl_cert_file(database.server_cert)
        return extra
