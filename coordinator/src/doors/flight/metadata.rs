//! Answers about the server itself: its name, its features, its tables and its types.

use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{
    SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder,
};
use arrow_flight::sql::{
    CommandGetCatalogs, CommandGetDbSchemas, CommandGetTableTypes, CommandGetTables, Nullable, Searchable, SqlInfo,
    XdbcDataType,
};

use crate::catalogue::Catalogue;
use crate::plan::planner::{CATALOG, SCHEMA};
use crate::result::local_query::{OWN, own_tables};

const TABLE: &str = "TABLE";
const VIEW: &str = "VIEW";

type MetadataBatch<T> = Result<T, FlightError>;

/// The server's name and features.
pub(super) fn sql_info() -> MetadataBatch<&'static SqlInfoData> {
    static DATA: LazyLock<Option<SqlInfoData>> = LazyLock::new(|| {
        let mut data = SqlInfoDataBuilder::new();
        data.append(SqlInfo::FlightSqlServerName, "London data federation");
        data.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
        data.append(SqlInfo::FlightSqlServerArrowVersion, "1.5");
        data.append(SqlInfo::FlightSqlServerReadOnly, true);
        data.append(SqlInfo::FlightSqlServerSql, true);
        data.append(SqlInfo::FlightSqlServerSubstrait, false);
        data.append(SqlInfo::FlightSqlServerTransaction, 0_i32);
        data.append(SqlInfo::FlightSqlServerCancel, true);
        data.append(SqlInfo::SqlDdlCatalog, false);
        data.append(SqlInfo::SqlDdlSchema, false);
        data.append(SqlInfo::SqlDdlTable, false);
        data.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
        data.build().ok()
    });
    DATA.as_ref().ok_or_else(|| FlightError::NotYetImplemented("server information".to_owned()))
}

/// The types of columns.
pub(super) fn types() -> MetadataBatch<&'static XdbcTypeInfoData> {
    static DATA: LazyLock<Option<XdbcTypeInfoData>> = LazyLock::new(|| {
        let quoted = || Some("'".to_owned());
        let mut data = XdbcTypeInfoDataBuilder::new();
        for (name, kind, size, prefix) in [
            ("VARCHAR", XdbcDataType::XdbcVarchar, None, quoted()),
            ("BIGINT", XdbcDataType::XdbcBigint, Some(64), None),
            ("DOUBLE", XdbcDataType::XdbcDouble, Some(53), None),
            ("DECIMAL", XdbcDataType::XdbcDecimal, Some(38), None),
            ("DATE", XdbcDataType::XdbcDate, Some(10), quoted()),
            ("BOOLEAN", XdbcDataType::XdbcBit, Some(1), None),
        ] {
            data.append(XdbcTypeInfo {
                type_name: name.to_owned(),
                data_type: kind,
                sql_data_type: kind,
                column_size: size,
                literal_suffix: prefix.clone(),
                literal_prefix: prefix,
                nullable: Nullable::NullabilityNullable,
                case_sensitive: name == "VARCHAR",
                searchable: Searchable::Full,
                local_type_name: Some(name.to_owned()),
                ..XdbcTypeInfo::default()
            });
        }
        data.build().ok()
    });
    DATA.as_ref().ok_or_else(|| FlightError::NotYetImplemented("type information".to_owned()))
}

pub(super) fn catalogs(command: CommandGetCatalogs) -> MetadataBatch<RecordBatch> {
    let mut data = command.into_builder();
    data.append(CATALOG);
    data.build()
}

pub(super) fn schemas(command: CommandGetDbSchemas) -> MetadataBatch<RecordBatch> {
    let mut data = command.into_builder();
    for schema in [SCHEMA, OWN] {
        data.append(CATALOG, schema);
    }
    data.build()
}

pub(super) fn table_types(command: CommandGetTableTypes) -> MetadataBatch<RecordBatch> {
    let mut data = command.into_builder();
    data.append(TABLE);
    data.append(VIEW);
    data.build()
}

pub(super) fn tables(command: CommandGetTables, catalogue: &Catalogue) -> MetadataBatch<RecordBatch> {
    let mut data = command.into_builder();
    for (name, table) in catalogue.tables() {
        data.append(CATALOG, SCHEMA, name, TABLE, &table.schema())?;
    }
    for (name, schema) in own_tables().map_err(|fault| FlightError::ExternalError(fault.into()))? {
        data.append(CATALOG, OWN, name, VIEW, &schema)?;
    }
    data.build()
}

/// No table has keys for other tables to refer to.
pub(super) fn no_primary_keys() -> RecordBatch {
    RecordBatch::new_empty(schema(&[
        ("catalog_name", DataType::Utf8, true),
        ("db_schema_name", DataType::Utf8, true),
        ("table_name", DataType::Utf8, false),
        ("column_name", DataType::Utf8, false),
        ("key_name", DataType::Utf8, true),
        ("key_sequence", DataType::Int32, false),
    ]))
}

pub(super) fn no_foreign_keys() -> RecordBatch {
    RecordBatch::new_empty(schema(&[
        ("pk_catalog_name", DataType::Utf8, true),
        ("pk_db_schema_name", DataType::Utf8, true),
        ("pk_table_name", DataType::Utf8, false),
        ("pk_column_name", DataType::Utf8, false),
        ("fk_catalog_name", DataType::Utf8, true),
        ("fk_db_schema_name", DataType::Utf8, true),
        ("fk_table_name", DataType::Utf8, false),
        ("fk_column_name", DataType::Utf8, false),
        ("key_sequence", DataType::Int32, false),
        ("fk_key_name", DataType::Utf8, true),
        ("pk_key_name", DataType::Utf8, true),
        ("update_rule", DataType::UInt8, false),
        ("delete_rule", DataType::UInt8, false),
    ]))
}

fn schema(columns: &[(&str, DataType, bool)]) -> SchemaRef {
    let fields = columns.iter().map(|(name, kind, nullable)| Field::new(*name, kind.clone(), *nullable));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
