//! Answers about the server itself: its name, its features, its tables and its types.

use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{
    CommandGetCatalogs, CommandGetDbSchemas, CommandGetTableTypes, CommandGetTables, Nullable, Searchable, XdbcDataType,
};
use loda_proto::v1;

use crate::catalogue::Catalogue;
use crate::plan::planner::{CATALOG, SCHEMA};
use crate::result::local_query::{OWN, own_tables};

const TABLE: &str = "TABLE";
const VIEW: &str = "VIEW";

type MetadataBatch<T> = Result<T, FlightError>;

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
    for Listed { catalog, db_schema, name, kind, schema } in listed(catalogue)? {
        data.append(catalog, db_schema, name, kind, &schema)?;
    }
    data.build()
}

/// A table or view, with its columns as tools show them.
pub(super) struct Listed {
    pub(super) catalog: &'static str,
    pub(super) db_schema: &'static str,
    pub(super) name: String,
    kind: &'static str,
    pub(super) schema: Schema,
}

pub(super) fn listed(catalogue: &Catalogue) -> MetadataBatch<Vec<Listed>> {
    let described = catalogue.wire(&|_| Vec::new()).tables;
    let tables = catalogue.tables().into_iter().map(|(name, table)| {
        let columns = described.iter().find(|described| described.name == name).map(|described| &*described.columns);
        let schema = remarked(&table.schema(), &name, columns.unwrap_or_default());
        Listed { catalog: CATALOG, db_schema: SCHEMA, name, kind: TABLE, schema }
    });
    let own = own_tables().map_err(|fault| FlightError::ExternalError(fault.into()))?;
    let views = own.into_iter().map(|(name, schema)| Listed {
        catalog: CATALOG,
        db_schema: OWN,
        name: name.to_owned(),
        kind: VIEW,
        schema: schema.as_ref().clone(),
    });
    Ok(tables.chain(views).collect())
}

/// The columns with what tools show of them: the type's name, what a column means, and the values that it can have.
fn remarked(schema: &Schema, table: &str, columns: &[v1::TableColumn]) -> Schema {
    let field = |field: &FieldRef| {
        let described = columns.iter().find(|column| column.name == *field.name());
        let remarks = described.map(|column| match (column.description.as_str(), column.values.as_str()) {
            (description, "") => description.to_owned(),
            ("", values) => values.to_owned(),
            (description, values) => format!("{description} ({values})"),
        });
        let searchable = described.is_none_or(|column| column.role != "identifier");
        let (kind, digits, scale) = match field.data_type() {
            DataType::Int64 => ("BIGINT", Some(19), Some(0)),
            DataType::Float64 => ("DOUBLE", Some(15), None),
            DataType::Decimal128(digits, scale) => ("DECIMAL", Some(u32::from(*digits)), Some(*scale)),
            DataType::Date32 => ("DATE", Some(10), None),
            DataType::Boolean => ("BOOLEAN", Some(1), None),
            _ => ("VARCHAR", None, None),
        };
        let flag = |is: bool| Some(if is { "1" } else { "0" }.to_owned());
        let said = [
            ("CATALOG_NAME", Some(CATALOG.to_owned())),
            ("DB_SCHEMA_NAME", Some(SCHEMA.to_owned())),
            ("TABLE_NAME", Some(table.to_owned())),
            ("TYPE_NAME", Some(kind.to_owned())),
            ("PRECISION", digits.map(|digits| digits.to_string())),
            ("SCALE", scale.map(|scale| scale.to_string())),
            ("REMARKS", remarks),
            ("IS_AUTO_INCREMENT", flag(false)),
            ("IS_CASE_SENSITIVE", flag(kind == "VARCHAR")),
            ("IS_READ_ONLY", flag(true)),
            ("IS_SEARCHABLE", flag(searchable)),
        ];
        let said = said.into_iter().filter_map(|(name, value)| Some((format!("ARROW:FLIGHT:SQL:{name}"), value?)));
        field.as_ref().clone().with_metadata(said.collect())
    };
    Schema::new(schema.fields().iter().map(field).collect::<Vec<_>>())
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
