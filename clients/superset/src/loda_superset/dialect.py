"""The SQLAlchemy dialect: ``loda://me:TOKEN@host:port/?ca=web-ca.pem&purpose=demo``."""

from __future__ import annotations

from sqlalchemy import types
from sqlalchemy.engine import default, reflection
from sqlalchemy.exc import ArgumentError, NoSuchTableError

from . import dbapi

SCHEMA = "public"
REMARKS = b"ARROW:FLIGHT:SQL:REMARKS"


class LodaDialect(default.DefaultDialect):
    """Tables and columns to read. There are no keys and no indexes, and the driver has no transactions."""

    name = "loda"
    driver = "adbc"
    default_schema_name = SCHEMA
    supports_statement_cache = True
    supports_native_boolean = True
    supports_native_decimal = True

    @classmethod
    def dbapi(cls):
        return dbapi

    import_dbapi = dbapi

    def create_connect_args(self, url):
        token = url.password or url.username
        if not token or not url.host:
            raise ArgumentError("an address is loda://me:TOKEN@host:port/?ca=FILE&purpose=PURPOSE")
        return [], {"host": url.host, "port": url.port or 443, "token": token, **url.query}

    def initialize(self, connection):
        """Asks nothing: all that differs between servers is known."""

    @reflection.cache
    def _tables(self, connection, **_):
        """The kind of each table, by schema and name."""
        objects = _adbc(connection).adbc_get_objects(depth="tables").read_all().to_pylist()
        schemas = [schema for catalog in objects for schema in catalog["catalog_db_schemas"] or []]
        return {
            (schema["db_schema_name"], table["table_name"]): table["table_type"]
            for schema in schemas
            for table in schema["db_schema_tables"] or []
        }

    def _names(self, connection, schema, kind, **kw):
        tables = self._tables(connection, **kw).items()
        return sorted(name for (of, name), is_kind in tables if of == (schema or SCHEMA) and is_kind == kind)

    def get_schema_names(self, connection, **kw):
        return sorted({schema for schema, _ in self._tables(connection, **kw)})

    def get_table_names(self, connection, schema=None, **kw):
        return self._names(connection, schema, "TABLE", **kw)

    def get_view_names(self, connection, schema=None, **kw):
        return self._names(connection, schema, "VIEW", **kw)

    def has_table(self, connection, table_name, schema=None, **_):
        return (schema or SCHEMA, table_name) in self._tables(connection)

    @reflection.cache
    def get_columns(self, connection, table_name, schema=None, **kw):
        """The columns; a comment says what one means, and its values."""
        schema = schema or SCHEMA
        if (schema, table_name) not in self._tables(connection, **kw):
            raise NoSuchTableError(table_name)
        fields = _adbc(connection).adbc_get_table_schema(table_name, db_schema_filter=schema)
        columns = []
        for field in fields:
            comment = (field.metadata or {}).get(REMARKS, b"").decode() or None
            column = {"name": field.name, "type": _type(field.type), "nullable": field.nullable}
            columns.append({**column, "default": None, "autoincrement": False, "comment": comment})
        return columns

    def get_table_comment(self, connection, table_name, schema=None, **kw):
        return {"text": None}

    def get_pk_constraint(self, connection, table_name, schema=None, **kw):
        return {"constrained_columns": [], "name": None}

    def get_foreign_keys(self, connection, table_name, schema=None, **kw):
        return []

    get_indexes = get_unique_constraints = get_check_constraints = get_foreign_keys


def _adbc(connection):
    return connection.connection.dbapi_connection.adbc


def _type(kind) -> types.TypeEngine:
    name = dbapi.type_name(kind)
    if name.startswith("DECIMAL"):
        return types.DECIMAL(kind.precision, kind.scale)
    named = {"DATE": types.Date, "BIGINT": types.BigInteger, "DOUBLE": types.Float, "BOOLEAN": types.Boolean, "TIMESTAMP": types.DateTime}
    return named.get(name, types.VARCHAR)()
