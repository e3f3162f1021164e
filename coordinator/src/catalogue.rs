//! The tables that SQL can ask: each dataset as one table with a `borough` column, and the reference tables.

use std::any::Any;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use arrow::array::RecordBatch;
use arrow::csv::ReaderBuilder;
use arrow::csv::reader::Format;
use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use loda_contract::{Column, ColumnType, Contract, Domain, Role, Unit, Value};
use loda_identity::Manifest;
use loda_ledger::sha256_hex;
use loda_proto::v1;
use loda_question::plan::{
    BOROUGH, BOROUGH_NAME, CODE_END, CODES, Lookup, Reader, arrow_schema, column_type, value_at,
};
use loda_question::{Refusal, Rule};
use serde::{Deserialize, Serialize};

use crate::config::{Config, Reference};

/// All tables that SQL may name.
pub(crate) struct Catalogue {
    pub(crate) contracts: BTreeMap<String, Arc<Contract>>,
    references: Vec<ReferenceTable>,
    lookups: BTreeMap<String, Lookup>,
    files: Files,
}

/// A reference table as it was read.
struct ReferenceTable {
    of: Reference,
    table: Arc<MemTable>,
    batches: Vec<RecordBatch>,
}

/// The files of a catalogue as they were when the coordinator started. Worker processes read the catalogue from here,
/// even if the files change meanwhile.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Files {
    /// Each contract's path, as error messages show it, and its text.
    contracts: Vec<(String, String)>,
    references: Vec<(Reference, String)>,
}

impl Files {
    fn read(config: &Config) -> anyhow::Result<Self> {
        let text = |path: &Path| std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()));
        let contracts = config.contracts.iter().map(|path| Ok((path.display().to_string(), text(path)?)));
        let references = config.references.iter().map(|reference| Ok((reference.clone(), text(&reference.path)?)));
        Ok(Self {
            contracts: contracts.collect::<anyhow::Result<_>>()?,
            references: references.collect::<anyhow::Result<_>>()?,
        })
    }
}

impl Catalogue {
    /// Loads the contracts that the manifest pins, and the reference tables.
    ///
    /// # Errors
    /// A contract that the manifest does not pin, a missing contract, or an unreadable table.
    pub(crate) fn load(config: &Config, manifest: &Manifest) -> anyhow::Result<Self> {
        let loaded = Self::of_files(Files::read(config)?)?;
        for (path, text) in &loaded.files.contracts {
            let contract = Contract::parse(text, path)?;
            let pinned = manifest.datasets.iter().find(|d| d.name == contract.dataset);
            if pinned.is_none_or(|d| d.contract_sha256 != contract.sha256) {
                bail!("{path}: not the contract that the manifest pins: use the agreed version");
            }
        }
        if let Some(missing) = manifest.datasets.iter().find(|d| !loaded.contracts.contains_key(&d.name)) {
            bail!("the manifest names dataset '{}': add its contract to contracts = […]", missing.name);
        }
        Ok(loaded)
    }

    /// # Errors
    /// An unreadable contract or table, or contracts that do not fit together.
    pub(crate) fn of_files(files: Files) -> anyhow::Result<Self> {
        let mut contracts = BTreeMap::new();
        for (path, text) in &files.contracts {
            let contract = Contract::parse(text, path)?;
            contracts.insert(contract.dataset.clone(), Arc::new(contract));
        }
        if let Err(fault) = loda_contract::check_together(contracts.values().map(AsRef::as_ref)) {
            bail!("the contracts do not fit together: {fault}");
        }
        let (references, lookups) = (Vec::new(), BTreeMap::new());
        let mut loaded = Self { contracts, references, lookups, files: Files::default() };
        for (reference, text) in &files.references {
            loaded.add_reference(reference, text)?;
        }
        Ok(Self { files, ..loaded })
    }

    /// Adds a reference table from the text of its CSV file.
    ///
    /// # Errors
    /// A name that a dataset has, or an unreadable table.
    pub(crate) fn add_reference(&mut self, reference: &Reference, text: &str) -> anyhow::Result<()> {
        if self.contracts.contains_key(&reference.name) {
            bail!("reference table '{}' has the name of a dataset: rename it", reference.name);
        }
        let (table, batches) = read_csv(text).with_context(|| format!("reference {}", reference.path.display()))?;
        if let Some(lookup) = as_lookup(&batches) {
            self.lookups.insert(reference.name.clone(), lookup);
        }
        self.references.push(ReferenceTable { of: reference.clone(), table: Arc::new(table), batches });
        Ok(())
    }

    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    /// The text of a dataset's contract, as the manifest pins it.
    pub(crate) fn contract_text(&self, dataset: &str) -> Option<&str> {
        let sha256 = &self.contracts.get(dataset)?.sha256;
        let texts = self.files.contracts.iter().map(|(_, text)| text.as_str());
        texts.into_iter().find(|text| sha256_hex(text.as_bytes()) == *sha256)
    }

    /// A catalogue of datasets alone.
    pub(crate) fn of(contracts: Vec<Contract>) -> Self {
        let contracts = contracts.into_iter().map(|c| (c.dataset.clone(), Arc::new(c)));
        Self {
            contracts: contracts.collect(),
            references: Vec::new(),
            lookups: BTreeMap::new(),
            files: Files::default(),
        }
    }

    /// Reads plans over these tables. `names` are the code and the name of each borough.
    pub(crate) fn reading<T>(&self, names: &[(String, String)], read: impl FnOnce(&Reader<'_>) -> T) -> T {
        let contracts = |name: &str| self.contracts.get(name).cloned();
        let lookups = |name: &str| self.lookup(name);
        read(&Reader { contracts: &contracts, lookups: &lookups, names })
    }

    /// The rows of a reference table.
    pub(crate) fn reference(&self, name: &str) -> Option<&[RecordBatch]> {
        self.references.iter().find(|known| known.of.name == name).map(|known| known.batches.as_slice())
    }

    /// A small reference table as rows of values, if it may be joined to records by borough.
    pub(crate) fn lookup(&self, name: &str) -> Option<Lookup> {
        self.lookups.get(name).cloned()
    }

    /// All tables by name.
    pub(crate) fn tables(&self) -> Vec<(String, Arc<dyn TableProvider>)> {
        let federated = self.contracts.values().map(|contract| {
            let table: Arc<dyn TableProvider> = Arc::new(FederatedTable::new(contract));
            (contract.dataset.clone(), table)
        });
        let references = self.references.iter().map(|known| {
            let table: Arc<dyn TableProvider> = Arc::<MemTable>::clone(&known.table);
            (known.of.name.clone(), table)
        });
        federated.chain(references).collect()
    }

    /// The catalogue for people. `holders` returns the boroughs that hold a dataset.
    pub(crate) fn wire(&self, holders: &dyn Fn(&str) -> Vec<String>) -> v1::CatalogueResponse {
        let federated = self.contracts.values().map(|contract| {
            let borough = v1::TableColumn {
                name: BOROUGH.to_owned(),
                r#type: "text".to_owned(),
                role: "dimension".to_owned(),
                values: "its GSS code, as E09000007".to_owned(),
                nullable: false,
                description: "The borough that answers".to_owned(),
            };
            let name = v1::TableColumn {
                name: BOROUGH_NAME.to_owned(),
                values: "names of boroughs".to_owned(),
                description: "The name of that borough".to_owned(),
                ..borough.clone()
            };
            let ours = [borough].into_iter().chain(names_boroughs(contract).then_some(name));
            v1::Table {
                name: contract.dataset.clone(),
                title: contract.title.clone(),
                protection: contract.protection.name().to_owned(),
                units: contract.units.iter().map(|u| u.domain.clone()).collect(),
                columns: ours.chain(contract.columns.iter().map(|column| wire_column(contract, column))).collect(),
                boroughs: holders(&contract.dataset),
            }
        });
        let references = self.references.iter().map(|ReferenceTable { of, table, .. }| v1::Table {
            name: of.name.clone(),
            title: of.title.clone(),
            protection: "reference".to_owned(),
            columns: table.schema().fields().iter().map(|f| reference_column(f)).collect(),
            ..Default::default()
        });
        v1::CatalogueResponse { tables: federated.chain(references).collect() }
    }
}

fn wire_column(contract: &Contract, column: &Column) -> v1::TableColumn {
    let values = match &column.role {
        Role::Dimension(Domain::Codes(codes)) => codes.join(" | "),
        Role::Dimension(Domain::Range { min, max }) => format!("{min} to {max}"),
        Role::Dimension(Domain::Dates { from, to, grain }) => {
            let plain = |day: &i32| Value::Date(*day).plain(ColumnType::Date);
            format!("any from {} to {}, by {}", plain(from), plain(to), grain.name())
        }
        Role::Dimension(Domain::Booleans) => "true | false".to_owned(),
        Role::Dimension(Domain::Open) => "any; groups that are too small are not listed".to_owned(),
        Role::Measure { lower, upper, edges, clamp, .. } => {
            let plain = |units: &i128| match column.kind {
                ColumnType::Decimal(_) => Value::Decimal(*units).plain(column.kind),
                _ => units.to_string(),
            };
            let edges: Vec<String> = edges.iter().map(plain).collect();
            let sums = clamp.map_or_else(String::new, |(from, to)| {
                format!("; in sums {} to {}, and what is beyond counts as these", plain(&from), plain(&to))
            });
            format!("{} to {}{sums}; compared (< or >=) with {}", plain(lower), plain(upper), edges.join(", "))
        }
        Role::Unit(domain) => {
            let of_unit = |unit: &&Unit| unit.column.as_deref() == Some(column.name.as_str());
            let exclusive = contract.units.iter().find(of_unit).is_some_and(|unit| unit.borough_exclusive);
            match exclusive {
                true => format!("COUNT(DISTINCT {}) counts each {domain}", column.name),
                false => format!("COUNT(DISTINCT (borough, {})) counts each {domain} of each borough", column.name),
            }
        }
        Role::Identifier => "never leaves the borough".to_owned(),
        Role::Reference(to) => format!("joins {to}"),
        Role::Text => "IS NULL and IS NOT NULL only".to_owned(),
    };
    v1::TableColumn {
        name: column.name.clone(),
        r#type: column.kind.to_string(),
        role: column.role.name().to_owned(),
        values,
        nullable: column.nullable,
        description: column.description.clone(),
    }
}

fn reference_column(field: &Field) -> v1::TableColumn {
    v1::TableColumn {
        name: field.name().clone(),
        r#type: match (field.data_type(), column_type(field.data_type())) {
            (_, Some(kind)) => kind.to_string(),
            (DataType::Float64, None) => "number".to_owned(),
            (other, None) => other.to_string(),
        },
        role: "public".to_owned(),
        nullable: field.is_nullable(),
        ..Default::default()
    }
}

/// The most rows of a reference table that may replace expressions over `borough`.
const LOOKUP_ROWS: usize = 200;

fn as_lookup(batches: &[RecordBatch]) -> Option<Lookup> {
    let schema = batches.first()?.schema();
    if batches.iter().map(RecordBatch::num_rows).sum::<usize>() > LOOKUP_ROWS {
        return None;
    }
    let kinds: Vec<_> = schema.fields().iter().map(|f| column_type(f.data_type())).collect();
    let columns = schema.fields().iter().map(|f| f.name().clone()).zip(kinds.iter().copied());
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let value = |(values, kind): (_, &Option<ColumnType>)| {
                kind.and_then(|kind| value_at(values, kind, row)).unwrap_or(Value::Null)
            };
            rows.push(batch.columns().iter().zip(&kinds).map(value).collect());
        }
    }
    Some(Lookup { columns: columns.collect(), rows })
}

fn read_csv(text: &str) -> anyhow::Result<(MemTable, Vec<RecordBatch>)> {
    let format = Format::default().with_header(true);
    let (schema, _) = format.infer_schema(text.as_bytes(), None)?;
    let schema = Arc::new(schema);
    let reader = ReaderBuilder::new(Arc::clone(&schema)).with_format(format).build(text.as_bytes())?;
    let batches = reader.collect::<std::result::Result<Vec<_>, _>>()?;
    Ok((MemTable::try_new(schema, vec![batches.clone()])?, batches))
}

/// Whether a dataset has the borough's name as a column of ours: a contract may have a column of that name.
fn names_boroughs(contract: &Contract) -> bool {
    contract.columns.iter().all(|column| column.name != BOROUGH_NAME)
}

/// A dataset of the boroughs. It can be planned but never scanned.
#[derive(Debug)]
pub(crate) struct FederatedTable {
    schema: SchemaRef,
}

impl FederatedTable {
    fn new(contract: &Contract) -> Self {
        let columns = arrow_schema(contract);
        let ours = |name: &str| Arc::new(Field::new(name, DataType::Utf8, false));
        let name = names_boroughs(contract).then(|| ours(BOROUGH_NAME));
        let coded = columns.fields().iter().zip(&contract.columns).map(|(field, column)| match &column.role {
            Role::Dimension(Domain::Codes(codes)) => {
                let codes = codes.join(&CODE_END.to_string());
                Arc::new(field.as_ref().clone().with_metadata([(CODES.to_owned(), codes)].into()))
            }
            _ => Arc::clone(field),
        });
        let fields = std::iter::once(ours(BOROUGH)).chain(name).chain(coded);
        Self { schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())) }
    }
}

/// The refusal for every plan that would need the records themselves.
pub(crate) fn rows_stay_home() -> Refusal {
    Refusal::new(
        Rule::Rows,
        "row-level access is not permitted: records never leave their borough",
        "Ask for figures: SELECT borough, COUNT(*) FROM … GROUP BY borough",
    )
}

#[async_trait]
impl TableProvider for FederatedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Fails closed: a plan that was not rewritten cannot fall back to reading rows.
    async fn scan(
        &self,
        _state: &dyn Session,
        _projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Err(DataFusionError::External(Box::new(rows_stay_home())))
    }
}

/// Whether a provider is a federated table.
pub(crate) fn is_federated(table: &dyn TableProvider) -> bool {
    let table: &dyn Any = table;
    table.is::<FederatedTable>()
}
