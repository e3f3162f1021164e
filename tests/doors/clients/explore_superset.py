"""Tries the federation in a real Superset, in this process and without a browser.

    python explore_superset.py HOST:PORT TOKEN_FILE CA_FILE [--home DIR] [--sql]

A line for each thing: ``ok``, ``refused: TEXT`` where the federation should refuse, or ``FAILED: TEXT`` (then the exit
code is 1). ``--home`` keeps Superset's own files, so that a second run starts at once. ``--sql`` prints the SQL.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import os
import sys
import tempfile
import time
import uuid
from pathlib import Path

CONFIG = """
SECRET_KEY = "for tests alone, on one machine, without data of anybody"
SQLALCHEMY_DATABASE_URI = "sqlite:///{home}/superset.db"
WTF_CSRF_ENABLED = False
TALISMAN_ENABLED = False
RATELIMIT_ENABLED = False
SQLLAB_CTAS_NO_LIMIT = True
FEATURE_FLAGS = {{"ALLOW_ADHOC_SUBQUERY": True}}
"""
PASSWORD = "of-a-test"
COUNT = {"expressionType": "SQL", "sqlExpression": "COUNT(*)", "label": "people"}
REPAIRS = {**COUNT, "label": "repairs"}
WOMEN = "1.0*COUNT(*) FILTER (WHERE sex = 'Female')/COUNT(*)"
AXIS = {"columnType": "BASE_AXIS", "sqlExpression": "month", "label": "month", "expressionType": "SQL"}
RANGE = {"col": "month", "op": "TEMPORAL_RANGE", "val": "2025-01-01 : 2026-01-01"}
VIRTUAL = "SELECT borough_name, age_band, COUNT(*) AS people FROM residents GROUP BY borough_name, age_band"


def simple(column: str, aggregate: str) -> dict:
    """A metric as the form "Simple" makes it."""
    kind = {"expressionType": "SIMPLE", "column": {"column_name": column}, "aggregate": aggregate}
    return {**kind, "label": f"{aggregate}({column})"}


def series(grain: str | None, **more) -> dict:
    axis = {**AXIS, "timeGrain": grain} if grain else AXIS
    return {"columns": [axis], "metrics": [REPAIRS], "filters": [RANGE], **more}


def where(**condition) -> dict:
    return {"columns": ["sex"], "metrics": [COUNT], "filters": [{"col": "age_band", **condition}]}


# A title, the dataset, the query of a chart, and the rule that refuses it, if one should.
# fmt: off
CHARTS = [
    ("bar chart by borough", "residents", {"columns": ["borough_name"], "metrics": ["count"], "orderby": [["count", False]]}, ""),
    ("bar chart, distinct people", "residents", {"columns": ["borough_name"], "metrics": ["count_person"]}, ""),
    ("bar chart, distinct (simple)", "residents", {"columns": ["borough_name"], "metrics": [simple("person_key", "COUNT_DISTINCT")]}, ""),
    ("pivot by two dimensions", "residents", {"columns": ["borough_name", "age_band"], "metrics": [COUNT]}, ""),
    ("big number", "residents", {"columns": [], "metrics": [COUNT]}, ""),
    ("big number with trend", "repairs", series("P1M"), ""),
    *[(f"time series, grain {grain}", "repairs", series(grain), "") for grain in (None, "P1D", "P1M", "P3M", "P1Y")],
    ("time series by granularity (old form)", "repairs", {"is_timeseries": True, "granularity": "month", "time_range": "2025-01-01 : 2025-07-01", "columns": [], "metrics": [REPAIRS], "extras": {"time_grain_sqla": "P1M"}}, ""),
    ("time series, a line for each trade", "repairs", series("P1M", columns=[{**AXIS, "timeGrain": "P1M"}, "code"], series_columns=["code"]), ""),
    ("time series, the two largest trades", "repairs", series("P3M", columns=[{**AXIS, "timeGrain": "P3M"}, "code"], series_columns=["code"], series_limit=2, series_limit_metric=REPAIRS), ""),
    ("time series, largest trades and Others", "repairs", series("P3M", columns=[{**AXIS, "timeGrain": "P3M"}, "code"], series_columns=["code"], series_limit=2, series_limit_metric=REPAIRS, group_others_when_limit_reached=True), ""),
    ("time range in the middle of months", "repairs", {**series("P1M"), "filters": [{**RANGE, "val": "2025-02-10 : 2025-07-20"}]}, ""),
    ("time range, last 500 days", "repairs", {**series("P1M"), "filters": [{**RANGE, "val": "Last 500 days"}]}, ""),
    ("time range, last quarter", "repairs", {**series("P1M"), "filters": [{**RANGE, "val": "Last quarter"}]}, ""),
    ("time comparison, a year before", "repairs", series("P1M", time_offsets=["1 year ago"]), ""),
    ("rolling mean of three months", "repairs", series("P1M", post_processing=[{"operation": "pivot", "options": {"index": ["month"], "columns": [], "aggregates": {"repairs": {"operator": "mean"}}}}, {"operation": "rolling", "options": {"rolling_type": "mean", "window": 3, "min_periods": 0, "columns": {"repairs": "repairs"}}}, {"operation": "flatten"}]), ""),
    ("sum and mean of a measure", "repairs", {"columns": ["code"], "metrics": [simple("cost", "SUM"), simple("cost", "AVG")]}, ""),
    ("MAX of a measure", "repairs", {"columns": ["code"], "metrics": [simple("cost", "MAX")]}, "aggregate-not-allowed"),
    ("median", "repairs", {"columns": ["code"], "metrics": [{**COUNT, "sqlExpression": "MEDIAN(cost)", "label": "median"}]}, ""),
    ("table, filter =", "residents", where(op="==", val="85 and over"), ""),
    ("table, filter !=", "residents", where(op="!=", val="85 and over"), ""),
    ("table, filter IN", "residents", where(op="IN", val=["65-74", "75-84"]), ""),
    ("table, filter NOT IN", "residents", where(op="NOT IN", val=["65-74"]), ""),
    ("table, filter LIKE", "residents", where(op="LIKE", val="%over%"), ""),
    ("table, filter ILIKE", "residents", where(op="ILIKE", val="%OVER%"), ""),
    ("table, filter IS NULL", "residents", where(op="IS NULL"), ""),
    ("table, filter IS NOT NULL", "residents", where(op="IS NOT NULL"), ""),
    ("table, filter IN with NULL", "residents", where(op="IN", val=["65-74", None]), ""),
    ("table, filter that no value can meet", "residents", where(op="==", val="over 85"), "no-such-value"),
    ("table, filter on a number", "schools", {"columns": ["phase"], "metrics": [COUNT], "filters": [{"col": "pupils", "op": ">=", "val": 500}]}, ""),
    ("table, filter on a boolean", "council_tax", {"columns": ["band"], "metrics": [COUNT], "filters": [{"col": "single_person_discount", "op": "IS TRUE"}]}, ""),
    ("table, filter on a boolean by value", "council_tax", {"columns": ["band"], "metrics": [COUNT], "filters": [{"col": "single_person_discount", "op": "IN", "val": [True]}]}, ""),
    ("table, boolean as a dimension", "council_tax", {"columns": ["single_person_discount"], "metrics": [COUNT]}, ""),
    ("table, filter of the user's own SQL", "residents", {"columns": ["sex"], "metrics": [COUNT], "extras": {"where": "(age_band IN ('65-74', '75-84'))"}}, ""),
    ("table, HAVING", "residents", {"columns": ["age_band"], "metrics": [COUNT], "extras": {"having": "(COUNT(*) > 1000)"}}, ""),
    ("table, ordered by a metric that is not shown", "residents", {"columns": ["age_band"], "metrics": [COUNT], "orderby": [[{**COUNT, "sqlExpression": "COUNT(*) FILTER (WHERE sex = 'Male')", "label": "x"}, False]]}, ""),
    ("table, second page", "residents", {"columns": ["age_band"], "metrics": [COUNT], "row_limit": 5, "row_offset": 5, "orderby": [["age_band", True]]}, ""),
    ("table, number of rows", "residents", {"columns": ["age_band"], "metrics": [COUNT], "is_rowcount": True}, ""),
    ("table, percentages of the total", "residents", {"columns": ["tenure"], "metrics": [COUNT], "post_processing": [{"operation": "contribution", "options": {"columns": ["people"], "rename_columns": ["%people"]}}]}, ""),
    ("metric in SQL: a share", "residents", {"columns": ["borough_name"], "metrics": [{**COUNT, "sqlExpression": WOMEN, "label": "women"}], "orderby": [[{**COUNT, "sqlExpression": WOMEN, "label": "women"}, False]]}, ""),
    ("metric in SQL: a sum of CASE", "residents", {"columns": ["borough_name"], "metrics": [{**COUNT, "sqlExpression": "SUM(CASE WHEN sex = 'Female' THEN 1 ELSE 0 END)", "label": "women"}]}, ""),
    ("dimension in SQL: CASE", "residents", {"columns": [{"expressionType": "SQL", "sqlExpression": "CASE WHEN age_band IN ('75-84', '85 and over') THEN 'old' ELSE 'other' END", "label": "age"}], "metrics": [COUNT]}, ""),
    ("dimension in SQL: UPPER", "residents", {"columns": [{"expressionType": "SQL", "sqlExpression": "UPPER(tenure)", "label": "tenure"}], "metrics": [COUNT]}, ""),
    ("an open column", "residents", {"columns": ["ward"], "metrics": [COUNT]}, ""),
    ("a unit as a dimension", "residents", {"columns": ["person_key"], "metrics": [COUNT]}, "joinable-key"),
    ("a table of records", "residents", {"columns": ["borough_name", "age_band"]}, "rows-stay-home"),
    ("dashboard filter, its values", "residents", {"columns": ["tenure"], "metrics": [], "orderby": [["tenure", True]]}, ""),
    ("dashboard filter, values of an open column", "residents", {"columns": ["ward"], "metrics": []}, ""),
    ("dashboard filter, values by a metric", "residents", {"columns": ["ward"], "metrics": ["count"], "orderby": [["count", False]]}, ""),
    ("dashboard filter, a search in its values", "residents", {"columns": ["tenure"], "metrics": [], "filters": [{"col": "tenure", "op": "ILIKE", "val": "%own%"}]}, ""),
    ("dashboard filter, a search in an open column", "residents", {"columns": ["ward"], "metrics": ["count"], "filters": [{"col": "ward", "op": "ILIKE", "val": "%Barnet%"}]}, "predicate-not-allowed"),
    ("dashboard filter, least and greatest", "schools", {"columns": [], "metrics": [simple("pupils", "MIN"), simple("pupils", "MAX")]}, ""),
    ("filter on an open column", "residents", {"columns": ["sex"], "metrics": [COUNT], "filters": [{"col": "ward", "op": "IN", "val": ["Barnet 01", "Barnet 02"]}]}, ""),
    ("people over London", "residents", {"columns": ["sex"], "metrics": ["count_person"]}, ""),
    ("people over London, distinct (simple)", "residents", {"columns": ["sex"], "metrics": [simple("person_key", "COUNT_DISTINCT")]}, "linkage-question"),
    ("homes with a repair, by trade", "repairs", {"columns": ["code"], "metrics": ["count_property"]}, "derived-value"),
    ("homes with a repair, by quarter and trade", "repairs", series("P3M", columns=[{**AXIS, "timeGrain": "P3M"}, "code"], metrics=["count_property"]), ""),
    ("schools", "schools", {"columns": ["phase"], "metrics": ["count_school"]}, ""),
    ("number of different values", "repairs", {"columns": [], "metrics": [simple("code", "COUNT_DISTINCT")]}, ""),
    ("a grain that is not offered", "repairs", series("P1W"), "P1W"),
    ("published data", "schools", {"columns": ["ofsted"], "metrics": [simple("pupils", "SUM"), simple("free_school_meals", "SUM")]}, ""),
    ("reference table", "boroughs", {"columns": ["name"], "metrics": [simple("gss", "COUNT")]}, ""),
    ("virtual dataset, grouped again", "virtual", {"columns": ["borough_name"], "metrics": [simple("people", "SUM")], "filters": [{"col": "age_band", "op": "IN", "val": ["65-74", "75-84"]}]}, ""),
    ("virtual dataset, as it is", "virtual", {"columns": ["borough_name", "age_band", "people"], "metrics": []}, ""),
]
# fmt: on
# Superset says nothing else if the values of a column are refused; its form then offers no values.
SILENT = "Fatal error"
# SQL Lab: a statement, and the rule that refuses it, if one should.
# fmt: off
LAB = [
    ("SELECT borough, COUNT(*) AS people FROM residents GROUP BY borough", ""),
    ("SELECT borough, COUNT(*) AS people FROM residents GROUP BY borough ORDER BY people DESC LIMIT 2;", ""),
    ("-- purpose: demo\nSELECT COUNT(*) FROM residents", ""),
    ("SELECT b.name, COUNT(*) AS n FROM residents r JOIN boroughs b ON r.borough = b.gss GROUP BY b.name", ""),
    ("SELECT COUNT(DISTINCT (borough, person_key)) AS people FROM residents", ""),
    ("SELECT date_trunc('quarter', month) AS q, AVG(cost), MEDIAN(cost) FROM repairs WHERE month >= DATE '2025-04-01' GROUP BY 1", ""),
    ("SELECT code, 100.0 * COUNT(*) FILTER (WHERE month >= DATE '2025-07-01') / COUNT(*) AS share FROM repairs GROUP BY code", ""),
    ("SELECT code, quantile_cont(cost, 0.9) AS p FROM repairs GROUP BY code", ""),
    ("SELECT code, percentile_cont(0.9) WITHIN GROUP (ORDER BY cost) AS p FROM repairs GROUP BY code", ""),
    ("SELECT EXTRACT(YEAR FROM month) AS y, COUNT(*) FROM repairs GROUP BY 1", ""),
    ("SELECT age_band, sex, COUNT(*) FROM residents GROUP BY ROLLUP (age_band, sex)", ""),
    ("SELECT age_band, sex, COUNT(*) FROM residents GROUP BY GROUPING SETS ((age_band), (sex), ())", ""),
    ("WITH a AS (SELECT borough, COUNT(*) AS n FROM residents GROUP BY borough) SELECT borough, n, RANK() OVER (ORDER BY n DESC) FROM a", ""),
    ("SELECT tenure, COUNT(*)::DOUBLE AS n FROM residents WHERE tenure ILIKE 'own%' GROUP BY tenure", ""),
    ("SELECT borough, words FROM loda.last_statement CROSS JOIN (SELECT 'x' AS borough) x", ""),
    ("SELECT words FROM loda.last_statement", ""),
    ("SELECT borough, answer FROM loda.coverage", ""),
    ("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'", ""),
    ("SHOW TABLES", ""),
    ("DESCRIBE residents", ""),
    ("EXPLAIN SELECT tenure, COUNT(*) FROM residents GROUP BY tenure", ""),
    ("SELECT COUNT(*) FROM council_tax c LEFT JOIN (SELECT uprn, COUNT(*) FILTER (WHERE adult) AS adults FROM electoral_roll GROUP BY uprn) e ON c.uprn = e.uprn WHERE c.single_person_discount AND e.adults >= 2", ""),
    ("SELECT * FROM residents LIMIT 100", "rows-stay-home"),
    ("SELECT tenur, COUNT(*) FROM residents GROUP BY tenur", "sql"),
    ("SELECT COUNT(*) FROM residents WHERE tenure = 'Council'", "no-such-value"),
    ("DROP TABLE residents", "DML"),
]
# fmt: on


class Superset:
    """Superset's own application, and a client that has signed in."""

    def __init__(self, home: Path):
        config = home / "superset_config.py"
        config.write_text(CONFIG.format(home=home))
        os.environ.update(SUPERSET_CONFIG_PATH=str(config), SUPERSET_HOME=str(home))
        logging.disable(logging.CRITICAL)
        from superset.app import create_app
        from superset.cli.main import superset

        with contextlib.redirect_stdout(io.StringIO()):
            self.app = create_app()
        if not (home / "ready").exists():
            run = self.app.test_cli_runner().invoke
            admin = ["--username", "admin", "--firstname", "a", "--lastname", "b", "--email", "a@b.example"]
            for command in (["db", "upgrade"], ["fab", "create-admin", *admin, "--password", PASSWORD], ["init"]):
                result = run(superset, command)
                if result.exit_code:
                    sys.exit(f"superset {command[0]}: {result.output[-2000:]} {result.exception!r}")
            (home / "ready").touch()
        self.client = self.app.test_client()
        self.client.post("/login/", data={"username": "admin", "password": PASSWORD})
        login = {"username": "admin", "password": PASSWORD, "provider": "db", "refresh": True}
        signed_in = self.client.post("/api/v1/security/login", json=login).get_json()
        self.headers = {"Authorization": f"Bearer {signed_in['access_token']}"}

    def call(self, method: str, path: str, body=None) -> tuple[int, dict]:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            answer = self.client.open(
                path if path.startswith("/") else f"/api/v1/{path}", method=method, json=body, headers=self.headers
            )
        return answer.status_code, answer.get_json(silent=True) or {"message": answer.get_data(as_text=True)}


class Trial:
    def __init__(self, superset: Superset, shows_sql: bool):
        self.superset, self.shows_sql, self.failed = superset, shows_sql, 0

    def call(self, title: str, rule: str, method: str, path: str, body=None, check=None) -> dict:
        """Calls, and prints one line."""
        began = time.monotonic()
        status, answer = self.superset.call(method, path, body)
        text = told(answer) if status >= 400 else ""
        if status < 400 and check and not check(answer):
            text = f"an unexpected answer: {json.dumps(answer)[:300]}"
        if rule and (rule in text or (rule == "DML" and text)):
            line = f"refused: {text}"
        elif text or rule:
            self.failed += 1
            line = f"FAILED: {text or 'should be refused: ' + rule}"
        else:
            line = "ok"
        print(
            " ".join(f"{title}: {line}".split()),
            f"({time.monotonic() - began:.1f} s)" if self.shows_sql else "",
            flush=True,
        )
        return answer if status < 400 else {}

    def sql(self, *statements) -> None:
        for statement in statements if self.shows_sql else ():
            print("    " + " ".join(str(statement).split()), flush=True)


def told(answer: dict) -> str:
    """The text that Superset shows to its user."""
    errors = answer.get("errors") or []
    return " / ".join(error["message"] for error in errors) or str(answer.get("message") or answer)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("door")
    parser.add_argument("token", type=Path)
    parser.add_argument("ca", type=Path)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--sql", action="store_true")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        home = options.home or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        home.mkdir(parents=True, exist_ok=True)
        trial = Trial(Superset(home.resolve()), options.sql)
        run(trial, options)
    print(f"{trial.failed} failed" if trial.failed else "all as expected")
    return 1 if trial.failed else 0


def run(trial: Trial, options) -> None:
    call, name = trial.call, "federation"
    for kind in ("dataset", "database"):  # of an earlier run
        for old in trial.superset.call("GET", f"{kind}/")[1].get("result", []):
            trial.superset.call("DELETE", f"{kind}/{old['id']}")
    uri = f"loda://me:{options.token.read_text().strip()}@{options.door}/"
    database = {"database_name": name, "sqlalchemy_uri": uri, "server_cert": options.ca.read_text()}
    call("test connection", "", "POST", "database/test_connection/", database)
    wrong = {**database, "sqlalchemy_uri": f"loda://me:wrong@{options.door}/"}
    call("test connection, wrong token", "token", "POST", "database/test_connection/", wrong)
    db = call("create database", "", "POST", "database/", database).get("id")
    if db is None:
        return
    stored = trial.superset.call("GET", f"database/{db}/connection")[1]["result"]["sqlalchemy_uri"]
    call("the token is not shown", "", "GET", f"database/{db}/connection", None, lambda _: "XXXX" in stored)
    offered = lambda answer: any(found["engine"] == "loda" for found in answer["databases"])
    call("offered among the databases", "", "GET", "database/available/", None, offered)
    has = lambda *names: (
        lambda answer: set(names) <= {r["value"] if isinstance(r, dict) else r for r in answer["result"]}
    )
    call("schemas", "", "GET", f"database/{db}/schemas/", None, has("public", "loda"))
    call("tables", "", "GET", f"database/{db}/tables/?q=(schema_name:public)", None, has("residents", "repairs"))
    call("views", "", "GET", f"database/{db}/tables/?q=(schema_name:loda)", None, has("coverage", "last_statement"))
    columns = call("columns of a table", "", "GET", f"database/{db}/table_metadata/?name=repairs&schema=public")
    trial.sql(
        *[f"{c['name']} {c['type']} {c.get('comment')}" for c in columns.get("columns", [])], columns.get("selectStar")
    )

    ids = {}
    for table in ("residents", "repairs", "schools", "council_tax", "boroughs", "virtual"):
        body = {"database": db, "schema": "public", "table_name": table}
        if table == "virtual":
            body["sql"] = VIRTUAL
        ids[table] = call(f"create dataset {table}", "", "POST", "dataset/", body).get("id")
    described = call("the dataset's columns and metrics", "", "GET", f"dataset/{ids['repairs']}").get("result", {})
    trial.sql(
        [(c["column_name"], c["type"], c["is_dttm"]) for c in described.get("columns", [])],
        [m["expression"] for m in described.get("metrics", [])],
    )
    trial.sql(described.get("time_grain_sqla"), described.get("main_dttm_col"))

    for table, column, rule in [
        ("residents", "age_band", ""), ("residents", "borough_name", ""), ("repairs", "month", ""), ("virtual", "age_band", ""),
        ("council_tax", "single_person_discount", ""), ("residents", "ward", ""), ("residents", "person_key", SILENT),
    ]:  # fmt: skip
        path = f"datasource/table/{ids[table]}/column/{column}/values/"
        trial.sql(call(f"values of {table}.{column}", rule, "GET", path).get("result"))
    samples = "/datasource/samples?force=true&datasource_type=table&datasource_id="
    for table, rule in [("residents", "rows-stay-home"), ("schools", "identifier"), ("virtual", "")]:
        call(f"samples of {table}", rule, "POST", f"{samples}{ids[table]}", {})

    for title, table, query, rule in CHARTS:
        query = {"row_limit": 1000, "orderby": [], **query}
        body = {
            "datasource": {"id": ids[table], "type": "table"},
            "queries": [query],
            "result_format": "json",
            "result_type": "full",
            "force": True,
        }
        answer = call(f"chart: {title}", rule, "POST", "chart/data", body)
        for part in answer.get("result", []):
            trial.sql(part["query"], part["data"][:2], part.get("coltypes"))
        if trial.shows_sql and not answer:
            body["result_type"] = "query"
            trial.sql(*[p.get("query") for p in trial.superset.call("POST", "chart/data", body)[1].get("result", [{}])])

    for sql, rule in LAB:
        body = {
            "database_id": db,
            "sql": sql,
            "runAsync": False,
            "schema": "public",
            "queryLimit": 1000,
            "client_id": uuid.uuid4().hex[:11],
        }
        answer = call(f"SQL Lab: {sql}", rule, "POST", "sqllab/execute/", body)
        if answer and "loda." not in sql and "COUNT(*) AS people" in sql and "reason" not in answer["data"][0]:
            trial.failed += 1
            print("FAILED: the reason column is missing")
        trial.sql(answer.get("query", {}).get("executedSql"), answer.get("data", [])[:2])


if __name__ == "__main__":
    sys.exit(main())
