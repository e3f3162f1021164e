//! A source as a table of the mapping, and the path of a row's origin through the mapping.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use anyhow::Context;
use arrow::array::{ArrayRef, RecordBatch, StringArray, StringBuilder, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, LogicalPlanBuilder, Projection, Union};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::PartitionStream;
use tokio::sync::mpsc::Sender;

use super::missing::{Missing, folded};
use super::reader::{Reader, Sink};
use super::report::{FILE, Intake, LINE, SourceReport};
use super::unpivot::Unpivot;
use crate::ingest::columns::judgement::Look;
use crate::ingest::columns::profile::Profile;
use crate::ingest::columns::suspects::Suspects;

/// The rows of a batch, and the number of batches that wait to be mapped.
const ROWS: usize = 8192;
const WAITING: usize = 2;

/// One source, for the mapping's SQL.
pub(crate) struct SourceTable {
    name: String,
    reader: Arc<dyn Reader>,
    unpivot: Option<Unpivot>,
    missing: Missing,
    intake: Arc<Intake>,
}

/// How the rows of a source are changed before the mapping has them.
pub(super) struct TableSettings {
    pub(super) unpivot: Option<Unpivot>,
    pub(super) missing: Missing,
}

impl SourceTable {
    pub(super) fn new(name: String, settings: TableSettings, reader: Box<dyn Reader>, intake: Arc<Intake>) -> Self {
        let TableSettings { unpivot, missing } = settings;
        Self { name, reader: reader.into(), unpivot, missing, intake }
    }

    /// The table that DataFusion scans.
    ///
    /// # Errors
    /// Columns that are to become rows are not there.
    pub(crate) fn provider(self) -> anyhow::Result<Arc<dyn TableProvider>> {
        let columns = self.reader.columns();
        let columns = match &self.unpivot {
            Some(unpivot) => unpivot.columns(&columns).with_context(|| format!("source '{}'", self.name))?,
            None => columns,
        };
        let mut fields: Vec<Field> = columns.fields().iter().map(|f| f.as_ref().clone()).collect();
        fields.push(Field::new(FILE, DataType::Utf8, true));
        fields.push(Field::new(LINE, DataType::UInt64, true));
        let schema = Arc::new(Schema::new(fields));
        let scan = Scan { table: Arc::new(self), schema: Arc::clone(&schema) };
        Ok(Arc::new(StreamingTable::try_new(schema, vec![Arc::new(scan)])?))
    }
}

struct Scan {
    table: Arc<SourceTable>,
    schema: SchemaRef,
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scan({})", self.table.name)
    }
}

impl PartitionStream for Scan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.schema), WAITING);
        let (table, schema, sender) = (Arc::clone(&self.table), Arc::clone(&self.schema), builder.tx());
        builder.spawn_blocking(move || {
            let mut rows = MappedRows::new(&table, schema, sender);
            let read = table.reader.read(&mut rows).and_then(|()| rows.flush());
            read.map_err(|fault| DataFusionError::External(fault.context(format!("source '{}'", table.name)).into()))
        });
        builder.build()
    }
}

/// Rows on their way to the mapping.
struct MappedRows<'a> {
    table: &'a SourceTable,
    schema: SchemaRef,
    sender: Sender<Result<RecordBatch>>,
    texts: Vec<StringBuilder>,
    lines: Vec<u64>,
    file: String,
    /// Rows of the current file that are not counted yet.
    of_file: u64,
    report: SourceReport,
    look: Look,
    /// For each column, the texts that stand for nothing. Empty: there are none.
    missing: Vec<HashSet<String>>,
    /// The suspects that the intake knows.
    told: usize,
}

impl Drop for MappedRows<'_> {
    fn drop(&mut self) {
        let (report, look) = (std::mem::take(&mut self.report), std::mem::take(&mut self.look));
        self.table.intake.note(&self.table.name, report, look);
    }
}

impl<'a> MappedRows<'a> {
    fn new(table: &'a SourceTable, schema: SchemaRef, sender: Sender<Result<RecordBatch>>) -> Self {
        let columns = table.reader.columns();
        let texts = columns.fields().iter().map(|_| StringBuilder::new()).collect();
        let names: Vec<String> = columns.fields().iter().map(|field| field.name().clone()).collect();
        let profiles = names.iter().map(|name| Profile::named(name)).collect();
        let look = Look { profiles, suspects: Suspects::of(names) };
        let missing = if table.missing.is_empty() { Vec::new() } else { table.missing.of(&columns) };
        Self {
            table,
            schema,
            sender,
            texts,
            lines: Vec::new(),
            file: String::new(),
            of_file: 0,
            report: SourceReport::default(),
            look,
            missing,
            told: 0,
        }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        let lines = std::mem::take(&mut self.lines);
        let count = std::mem::take(&mut self.of_file);
        self.report.counted(count);
        let found = self.look.suspects.found();
        if found.len() > self.told {
            self.told = found.len();
            self.table.intake.suspect(&self.table.name, found.iter().map(|(line, of)| (line.clone(), *of)));
        }
        if lines.is_empty() {
            return Ok(());
        }
        let columns: Vec<ArrayRef> = self.texts.iter_mut().map(|t| Arc::new(t.finish()) as ArrayRef).collect();
        let batch = RecordBatch::try_new(self.table.reader.columns(), columns)?;
        self.send(&batch, lines)
    }

    fn send(&mut self, batch: &RecordBatch, lines: Vec<u64>) -> anyhow::Result<()> {
        let mut columns = batch.columns().to_vec();
        columns.push(Arc::new(StringArray::from(vec![self.file.as_str(); lines.len()])));
        columns.push(Arc::new(UInt64Array::from(lines)));
        let columns = match &self.table.unpivot {
            Some(unpivot) => unpivot.rows(&batch.schema(), columns)?,
            None => columns,
        };
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        self.sender.blocking_send(Ok(batch)).context("the mapping has stopped reading")
    }
}

impl Sink for MappedRows<'_> {
    fn row(&mut self, line: u64, values: &[Option<&str>]) -> anyhow::Result<()> {
        let values: Vec<Option<&str>> = values
            .iter()
            .enumerate()
            .map(|(place, value)| match (self.missing.get(place), *value) {
                (Some(nothing), Some(text)) if nothing.contains(&folded(text)) => None,
                (_, value) => value,
            })
            .collect();
        let is_record = self.look.suspects.row(&self.file, line, &values).is_none();
        for ((column, profile), value) in self.texts.iter_mut().zip(&mut self.look.profiles).zip(values) {
            if is_record {
                profile.add(value);
            }
            column.append_option(value);
        }
        self.lines.push(line);
        self.of_file = self.of_file.saturating_add(1);
        if self.lines.len() >= ROWS { self.flush() } else { Ok(()) }
    }

    fn batch(&mut self, line: u64, batch: RecordBatch) -> anyhow::Result<()> {
        let rows = batch.num_rows() as u64;
        self.of_file = self.of_file.saturating_add(rows);
        self.send(&batch, (line..line.saturating_add(rows)).collect())
    }

    fn bad(&mut self, line: u64, why: String) {
        self.report.bad(&self.file, line, why);
    }

    fn blank(&mut self) {
        self.report.blank = self.report.blank.saturating_add(1);
    }

    fn file(&mut self, path: &str, how: String) {
        // The rows of the file before are sent first. If nobody reads any more, the next row gives the error.
        let _read = self.flush();
        self.file = path.to_owned();
        self.look.suspects.file();
        self.report.files.push((path.to_owned(), how, 0));
    }
}

/// Carries a row's file and line through every step that keeps rows: projections and UNION ALL. A step that combines
/// rows ends them.
pub(crate) fn carry_origin(plan: LogicalPlan) -> Result<LogicalPlan> {
    let carried = plan.transform_up(|node| {
        let carried = match node {
            LogicalPlan::Projection(projection) => {
                let mut exprs = projection.expr;
                for name in [FILE, LINE] {
                    let there = exprs.iter().any(|e| e.schema_name().to_string().ends_with(name));
                    if let Some(column) = origin(&projection.input, name).filter(|_| !there) {
                        exprs.push(Expr::Column(column).alias(name));
                    }
                }
                LogicalPlan::Projection(Projection::try_new(exprs, projection.input)?)
            }
            LogicalPlan::Distinct(Distinct::All(input)) => {
                LogicalPlan::Distinct(Distinct::All(Arc::new(stripped(&input)?)))
            }
            LogicalPlan::Union(union) => {
                let all =
                    union.inputs.iter().all(|input| origin(input, FILE).is_some() && origin(input, LINE).is_some());
                let inputs = union.inputs.iter().map(|input| {
                    let plain = plain(input).map(Expr::Column);
                    let mut columns: Vec<Expr> = plain.collect();
                    if all {
                        let origins =
                            [FILE, LINE].into_iter().filter_map(|name| origin(input, name).map(|c| (c, name)));
                        columns.extend(origins.map(|(column, name)| Expr::Column(column).alias(name)));
                    }
                    Ok(Arc::new(LogicalPlanBuilder::from(Arc::clone(input)).project(columns)?.build()?))
                });
                LogicalPlan::Union(Union::try_new_with_loose_types(inputs.collect::<Result<Vec<_>>>()?)?)
            }
            other => other.recompute_schema()?,
        };
        Ok(Transformed::yes(carried))
    })?;
    Ok(carried.data)
}

fn origin(plan: &LogicalPlan, name: &str) -> Option<Column> {
    plan.schema().columns().into_iter().find(|column| column.name == name)
}

fn plain(plan: &LogicalPlan) -> impl Iterator<Item = Column> + use<> {
    plan.schema().columns().into_iter().filter(|column| column.name != FILE && column.name != LINE)
}

fn stripped(plan: &LogicalPlan) -> Result<LogicalPlan> {
    LogicalPlanBuilder::from(plan.clone()).project(plain(plan).map(Expr::Column).collect::<Vec<_>>())?.build()
}
