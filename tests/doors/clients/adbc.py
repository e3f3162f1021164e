"""Flight SQL with ADBC: what an analyst does, and what he is not let do."""

import json
import os

import adbc_driver_flightsql.dbapi as flight
import polars
import pyarrow
import pyarrow.flight
from adbc_driver_flightsql import DatabaseOptions
from adbc_driver_manager import dbapi

ADDRESS, CA = "grpc+tls://" + os.environ["LODA_ADDRESS"], open(os.environ["LODA_CA"]).read()
ROOTS = {DatabaseOptions.TLS_ROOT_CERTS.value: CA}
PEOPLE = "SELECT borough, tenure, COUNT(DISTINCT person_key) AS people FROM residents GROUP BY borough, tenure"


def connect(**options):
    return flight.connect(ADDRESS, db_kwargs={**ROOTS, **options}, autocommit=True)


def bearer(name, **more):
    return connect(**{DatabaseOptions.AUTHORIZATION_HEADER.value: "Bearer " + os.environ[name], **more})


def refused(what, *words):
    try:
        what()
    except dbapi.Error as fault:
        assert any(word in str(fault) for word in words), fault
    else:
        raise AssertionError(f"{words} was let through")


def rows(connection, sql, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetch_arrow_table()


with bearer("LODA_TOKEN", **{"adbc.flight.sql.rpc.call_header.loda-purpose": "demo"}) as connection:
    info = connection.adbc_get_info()
    assert info["vendor_name"] == "London data federation", info
    objects = connection.adbc_get_objects(depth="all").read_all().to_pylist()
    (catalog,) = objects
    schemas = {schema["db_schema_name"]: schema["db_schema_tables"] for schema in catalog["catalog_db_schemas"]}
    tables = {table["table_name"]: table["table_columns"] for table in schemas["public"]}
    assert catalog["catalog_name"] == "london" and "coverage" in {t["table_name"] for t in schemas["loda"]}
    assert "tenure" in {column["column_name"] for column in tables["residents"]}
    described = connection.adbc_get_table_schema("residents")
    assert "tenure" in described.names
    remarks = described.field("tenure").metadata
    assert remarks[b"ARROW:FLIGHT:SQL:TYPE_NAME"] == b"VARCHAR", remarks
    assert b"Social rented" in remarks[b"ARROW:FLIGHT:SQL:REMARKS"], remarks
    assert "TABLE" in connection.adbc_get_table_types()

    table = rows(connection, PEOPLE)
    statement = json.loads(table.schema.metadata[b"loda.statement"])
    assert statement["complete"] and statement["purpose"] == "demo" and table.num_rows >= 12
    frame = table.to_pandas()
    assert frame["people"].sum() > 1000 and list(frame.columns) == ["borough", "tenure", "people", "reason"]
    assert polars.from_arrow(table)["people"].sum() == frame["people"].sum()
    last = rows(connection, "SELECT query_id, complete, sql FROM loda.last_statement").to_pylist()
    assert last == [{"query_id": statement["query_id"], "complete": True, "sql": PEOPLE}], last
    coverage = rows(connection, "SELECT borough, answer FROM loda.coverage ORDER BY borough").to_pylist()
    assert {row["answer"] for row in coverage} == {"answered"} and len(coverage) == 4

    # Prepared, with parameters of both spellings; the schema is known before anything is asked.
    for where in ["tenure = ? AND age_band <> ?", "tenure = $1 AND age_band <> $2"]:
        with connection.cursor() as cursor:
            sql = f"SELECT borough, COUNT(DISTINCT person_key) AS people FROM residents WHERE {where} GROUP BY borough"
            wanted = cursor.adbc_prepare(sql)
            assert wanted.types == [pyarrow.string(), pyarrow.string()], wanted
            cursor.execute(sql, ("Social rented", "85 and over"))
            found = cursor.fetch_arrow_table()
        plain = rows(connection, sql.replace("?", "'Social rented'", 1).replace("?", "'85 and over'")
                     .replace("$1", "'Social rented'").replace("$2", "'85 and over'"))
        assert found.num_rows == 4
        assert found.sort_by("borough").to_pylist() == plain.sort_by("borough").to_pylist()
    with connection.cursor() as cursor:
        schema = cursor.adbc_execute_schema(PEOPLE)
        assert schema.names == ["borough", "tenure", "people", "reason"], schema

    # A value is a value, whatever it says.
    sql = "SELECT COUNT(DISTINCT (borough, person_key)) AS n FROM residents WHERE tenure = ?"
    try:
        rows(connection, sql, ("x' OR '1'='1",))
        raise AssertionError("a value that is no code was asked")
    except flight.ProgrammingError as told:
        assert "tenure has no" in str(told), told

    # Probes of tools are answered here.
    assert rows(connection, "SELECT 1").to_pydict() == {"Int64(1)": [1]}
    assert "London" in rows(connection, "SELECT VERSION() AS v")["v"][0].as_py()
    shown = rows(connection, "SHOW TABLES").to_pylist()
    assert any(row["table_name"] == "residents" for row in shown)
    assert rows(connection, "SELECT COUNT(*) AS n FROM information_schema.columns WHERE table_name = 'residents'")["n"][0].as_py() > 5
    for qualified in ["public.residents", "london.public.residents", '"london"."public"."residents"']:
        assert rows(connection, PEOPLE.replace("residents", qualified)).num_rows == table.num_rows

    refused(lambda: rows(connection, "SELECT * FROM residents"), "rows")
    refused(lambda: rows(connection, "DELETE FROM residents"), "statement", "not allowed")
    forever = "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT COUNT(*) FROM t"
    refused(lambda: rows(connection, forever), "a recursive query")
    refused(lambda: rows(connection, "SELECT repeat('x', 1000000000) AS x"), "repeat", "Invalid function")

# Every item of SqlInfo that the protocol names: JDBC asks for them one by one.
client = pyarrow.flight.connect(ADDRESS, tls_root_certs=CA)
options = pyarrow.flight.FlightCallOptions(headers=[(b"authorization", b"Bearer " + os.environ["LODA_TOKEN"].encode())])
name = b"type.googleapis.com/arrow.flight.protocol.sql.CommandGetSqlInfo"
descriptor = pyarrow.flight.FlightDescriptor.for_command(b"\n" + bytes([len(name)]) + name)
(endpoint,) = client.get_flight_info(descriptor, options).endpoints
told = client.do_get(endpoint.ticket, options).read_all()["info_name"].to_pylist()
assert set(told) == {*range(12), 100, 101, *range(500, 577)}, sorted(told)

# A purpose in a comment, and in a session option.
with bearer("LODA_TOKEN") as connection:
    said = rows(connection, "-- purpose: housing-safety\n" + PEOPLE).schema.metadata[b"loda.statement"]
    assert json.loads(said)["purpose"] == "housing-safety"
    connection.adbc_connection.set_options(**{"adbc.flight.sql.session.option.purpose": "demo"})
    said = rows(connection, PEOPLE).schema.metadata[b"loda.statement"]
    assert json.loads(said)["purpose"] == "demo"

# A certificate; a user's name with a token for a password.
shown = {
    DatabaseOptions.MTLS_CERT_CHAIN.value: open(os.environ["LODA_CERTIFICATE"]).read(),
    DatabaseOptions.MTLS_PRIVATE_KEY.value: open(os.environ["LODA_KEY"]).read(),
}
with connect(**shown) as connection:
    assert rows(connection, "-- purpose: demo\n" + PEOPLE).num_rows >= 12
with connect(username="me", password=os.environ["LODA_TOKEN"]) as connection:
    assert rows(connection, "-- purpose: demo\n" + PEOPLE).num_rows >= 12

# Nobody, and those who are not who they say.
refused(lambda: rows(connect(), "SELECT 1"), "sign_in_needed", "UNAUTHENTICATED", "Unauthenticated")
os.environ["LODA_WRONG"] = os.environ["LODA_TOKEN"][:-4] + "AAAA"
refused(lambda: rows(bearer("LODA_WRONG"), "SELECT 1"), "token_not_accepted")
refused(lambda: rows(bearer("LODA_READER"), PEOPLE), "not_permitted")
refused(lambda: connect(username="me", password="letmein").cursor().execute("SELECT 1"), "token_not_accepted")
refused(lambda: rows(bearer("LODA_OTHER", **shown), "SELECT 1"), "credentials_disagree")
print("ADBC", flight.__name__, "with pyarrow", pyarrow.__version__, "lists, prepares, asks; wrong tokens and people are kept out")
