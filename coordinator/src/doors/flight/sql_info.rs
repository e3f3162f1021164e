//! What the server can do, as Flight SQL clients and the JDBC driver ask for it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::{SqlInfo, SqlSupportsConvert};

const TRUE: [SqlInfo; 13] = [
    SqlInfo::FlightSqlServerReadOnly,
    SqlInfo::FlightSqlServerSql,
    SqlInfo::FlightSqlServerCancel,
    SqlInfo::SqlAllTablesAreSelectable,
    SqlInfo::SqlSupportsColumnAliasing,
    SqlInfo::SqlNullPlusNullIsNull,
    SqlInfo::SqlSupportsTableCorrelationNames,
    SqlInfo::SqlSupportsExpressionsInOrderBy,
    SqlInfo::SqlSupportsOrderByUnrelated,
    SqlInfo::SqlSupportsLikeEscapeClause,
    SqlInfo::SqlSupportsNonNullableColumns,
    SqlInfo::SqlCatalogAtStart,
    SqlInfo::SqlDataDefinitionsInTransactionsIgnored,
];

const FALSE: [SqlInfo; 19] = [
    SqlInfo::FlightSqlServerSubstrait,
    SqlInfo::FlightSqlServerBulkIngestion,
    SqlInfo::FlightSqlServerIngestTransactionsSupported,
    SqlInfo::SqlDdlCatalog,
    SqlInfo::SqlDdlSchema,
    SqlInfo::SqlDdlTable,
    SqlInfo::SqlSupportsDifferentTableCorrelationNames,
    SqlInfo::SqlSupportsIntegrityEnhancementFacility,
    SqlInfo::SqlSelectForUpdateSupported,
    SqlInfo::SqlStoredProceduresSupported,
    SqlInfo::SqlCorrelatedSubqueriesSupported,
    SqlInfo::SqlMaxRowSizeIncludesBlobs,
    SqlInfo::SqlTransactionsSupported,
    SqlInfo::SqlDataDefinitionCausesTransactionCommit,
    SqlInfo::SqlBatchUpdatesSupported,
    SqlInfo::SqlSavepointsSupported,
    SqlInfo::SqlNamedParametersSupported,
    SqlInfo::SqlLocatorsUpdateCopy,
    SqlInfo::SqlStoredFunctionsUsingCallSyntaxSupported,
];

const TEXTS: [(SqlInfo, &str); 11] = [
    (SqlInfo::FlightSqlServerName, "London data federation"),
    (SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION")),
    (SqlInfo::FlightSqlServerArrowVersion, "1.5"),
    (SqlInfo::FlightSqlServerSubstraitMinVersion, ""),
    (SqlInfo::FlightSqlServerSubstraitMaxVersion, ""),
    (SqlInfo::SqlIdentifierQuoteChar, "\""),
    (SqlInfo::SqlSearchStringEscape, "\\"),
    (SqlInfo::SqlExtraNameCharacters, ""),
    (SqlInfo::SqlSchemaTerm, "schema"),
    (SqlInfo::SqlProcedureTerm, ""),
    (SqlInfo::SqlCatalogTerm, "catalog"),
];

/// Numbers of enumerations, and sets of them with one bit for each.
const ENUMERATED: [(SqlInfo, i32); 21] = [
    (SqlInfo::FlightSqlServerTransaction, 0),
    (SqlInfo::FlightSqlServerTransactionTimeout, 0),
    // Bare names are in small letters; quoted ones are as they are written.
    (SqlInfo::SqlIdentifierCase, 3),
    (SqlInfo::SqlQuotedIdentifierCase, 0),
    // Withheld values sort last in both directions.
    (SqlInfo::SqlNullOrdering, 3),
    (SqlInfo::SqlSupportedGroupBy, 0b11),
    // Minimum and core; entry level.
    (SqlInfo::SqlSupportedGrammar, 0b11),
    (SqlInfo::SqlAnsi92SupportedLevel, 0b1),
    (SqlInfo::SqlOuterJoinsSupportLevel, 0b10),
    (SqlInfo::SqlSchemasSupportedActions, 0),
    (SqlInfo::SqlCatalogsSupportedActions, 0),
    (SqlInfo::SqlSupportedPositionedCommands, 0),
    // In comparisons, EXISTS and IN.
    (SqlInfo::SqlSupportedSubqueries, 0b111),
    (SqlInfo::SqlSupportedUnions, 0b11),
    (SqlInfo::SqlSupportedTransactionsIsolationLevels, 0b1),
    // Forward only, and read only.
    (SqlInfo::SqlSupportedResultSetTypes, 0b10),
    (SqlInfo::SqlSupportedConcurrenciesForResultSetUnspecified, 0),
    (SqlInfo::SqlSupportedConcurrenciesForResultSetForwardOnly, 0b10),
    (SqlInfo::SqlSupportedConcurrenciesForResultSetScrollSensitive, 0),
    (SqlInfo::SqlSupportedConcurrenciesForResultSetScrollInsensitive, 0),
    (SqlInfo::FlightSqlServerStatementTimeout, 0),
];

/// Limits; 0 stands for none, or for one that is not known beforehand.
const LIMITS: [(SqlInfo, i64); 21] = [
    (SqlInfo::SqlMaxBinaryLiteralLength, 0),
    (SqlInfo::SqlMaxCharLiteralLength, 0),
    (SqlInfo::SqlMaxColumnNameLength, 0),
    (SqlInfo::SqlMaxColumnsInGroupBy, 0),
    (SqlInfo::SqlMaxColumnsInIndex, 0),
    (SqlInfo::SqlMaxColumnsInOrderBy, 0),
    (SqlInfo::SqlMaxColumnsInSelect, 0),
    (SqlInfo::SqlMaxColumnsInTable, 0),
    (SqlInfo::SqlMaxConnections, 0),
    (SqlInfo::SqlMaxCursorNameLength, 0),
    (SqlInfo::SqlMaxIndexLength, 0),
    (SqlInfo::SqlDbSchemaNameLength, 0),
    (SqlInfo::SqlMaxProcedureNameLength, 0),
    (SqlInfo::SqlMaxCatalogNameLength, 0),
    (SqlInfo::SqlMaxRowSize, 0),
    (SqlInfo::SqlMaxStatementLength, 100_000),
    (SqlInfo::SqlMaxTableNameLength, 0),
    (SqlInfo::SqlMaxTablesInSelect, 0),
    (SqlInfo::SqlMaxUsernameLength, 0),
    (SqlInfo::SqlMaxStatements, 0),
    (SqlInfo::SqlDefaultTransactionIsolation, 0),
];

/// Words and functions, by their kind.
const LISTS: [(SqlInfo, &[&str]); 5] = [
    (SqlInfo::SqlKeywords, &["EXPLAIN", "DESCRIBE", "ILIKE", "LIMIT", "OFFSET"]),
    (
        SqlInfo::SqlNumericFunctions,
        &["ABS", "CEILING", "EXP", "FLOOR", "LOG10", "POWER", "ROUND", "SIGN", "SQRT", "TRUNCATE"],
    ),
    (
        SqlInfo::SqlStringFunctions,
        &["CONCAT", "LCASE", "LEFT", "LENGTH", "LTRIM", "REPLACE", "RIGHT", "RTRIM", "SUBSTRING", "UCASE"],
    ),
    (SqlInfo::SqlSystemFunctions, &["USER"]),
    (SqlInfo::SqlDatetimeFunctions, &["MONTH", "QUARTER", "YEAR"]),
];

/// CAST: which types become which.
const CONVERSIONS: [(SqlSupportsConvert, &[SqlSupportsConvert]); 5] = [
    (
        SqlSupportsConvert::SqlConvertBigint,
        &[
            SqlSupportsConvert::SqlConvertDecimal,
            SqlSupportsConvert::SqlConvertFloat,
            SqlSupportsConvert::SqlConvertVarchar,
        ],
    ),
    (
        SqlSupportsConvert::SqlConvertDecimal,
        &[SqlSupportsConvert::SqlConvertFloat, SqlSupportsConvert::SqlConvertVarchar],
    ),
    (
        SqlSupportsConvert::SqlConvertFloat,
        &[SqlSupportsConvert::SqlConvertDecimal, SqlSupportsConvert::SqlConvertVarchar],
    ),
    (SqlSupportsConvert::SqlConvertDate, &[SqlSupportsConvert::SqlConvertVarchar]),
    (SqlSupportsConvert::SqlConvertBit, &[SqlSupportsConvert::SqlConvertBigint, SqlSupportsConvert::SqlConvertVarchar]),
];

/// All that the protocol has names for.
pub(super) fn sql_info() -> Result<&'static SqlInfoData, FlightError> {
    static DATA: LazyLock<Option<SqlInfoData>> = LazyLock::new(|| {
        let mut data = SqlInfoDataBuilder::new();
        TRUE.into_iter().for_each(|info| data.append(info, true));
        FALSE.into_iter().for_each(|info| data.append(info, false));
        TEXTS.into_iter().for_each(|(info, text)| data.append(info, text));
        ENUMERATED.into_iter().for_each(|(info, number)| data.append(info, number));
        LIMITS.into_iter().for_each(|(info, limit)| data.append(info, limit));
        LISTS.into_iter().for_each(|(info, words)| data.append(info, words));
        let conversions =
            CONVERSIONS.into_iter().map(|(from, to)| (from as i32, to.iter().map(|to| *to as i32).collect()));
        data.append(SqlInfo::SqlSupportsConvert, conversions.collect::<BTreeMap<i32, Vec<i32>>>());
        data.build().ok()
    });
    DATA.as_ref().ok_or_else(|| FlightError::NotYetImplemented("server information".to_owned()))
}
