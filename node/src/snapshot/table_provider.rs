//! A snapshot's pieces as a table of the engine. Pieces never change, so each is opened once, and its footer is kept.
//!
//! The engine's own tables list a folder for each question, and hand each read to another thread. For a file on this
//! host, that costs more than the read. The threads that run queries may wait for a disk, because gRPC and health
//! answer elsewhere.

use std::fs::File;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::config::TableParquetOptions;
use datafusion::common::stats::Precision;
use datafusion::common::{Result, Statistics, internal_datafusion_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfigBuilder, ParquetFileReaderFactory, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::{TableProvider, TableType};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use prost::bytes::Bytes;

/// The pieces of one snapshot.
#[derive(Debug)]
pub(crate) struct Pieces {
    schema: SchemaRef,
    rows: usize,
    /// Each is named by its place in `open`.
    files: Vec<PartitionedFile>,
    open: Arc<OpenPieces>,
}

#[derive(Debug)]
struct OpenPieces(Vec<Piece>);

#[derive(Clone, Debug)]
struct Piece {
    file: Arc<File>,
    metadata: Arc<ParquetMetaData>,
}

impl Pieces {
    /// Opens the pieces.
    ///
    /// # Errors
    /// A piece cannot be read, or has other columns than the first.
    pub(crate) fn open(paths: &[PathBuf]) -> Result<Self> {
        let (mut schema, mut rows, mut files, mut open) = (None, 0_usize, Vec::new(), Vec::new());
        for path in paths {
            let file = File::open(path)?;
            let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
            let read = ArrowReaderMetadata::load(&file, options)?;
            let columns = Arc::new(Schema::new(read.schema().fields().clone()));
            if *schema.get_or_insert_with(|| Arc::clone(&columns)) != columns {
                return Err(internal_datafusion_err!("the pieces of a snapshot have other columns"));
            }
            rows = rows.saturating_add(usize::try_from(read.metadata().file_metadata().num_rows()).unwrap_or(0));
            files.push(PartitionedFile::new(open.len().to_string(), file.metadata()?.len()));
            open.push(Piece { file: Arc::new(file), metadata: Arc::clone(read.metadata()) });
        }
        let schema = schema.ok_or_else(|| internal_datafusion_err!("a snapshot has no piece"))?;
        Ok(Self { schema, rows, files, open: Arc::new(OpenPieces(open)) })
    }
}

#[async_trait]
impl TableProvider for Pieces {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let global = state.config_options().execution.parquet.clone();
        let source = ParquetSource::new(Arc::clone(&self.schema))
            .with_table_parquet_options(TableParquetOptions { global, ..Default::default() })
            .with_parquet_file_reader_factory(Arc::clone(&self.open) as Arc<dyn ParquetFileReaderFactory>);
        // Joins build on the smaller side, and need no other statistics.
        let known = Statistics { num_rows: Precision::Exact(self.rows), ..Statistics::new_unknown(&self.schema) };
        let scan = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
            .with_file_group(FileGroup::new(self.files.clone()))
            .with_statistics(known)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit);
        Ok(DataSourceExec::from_data_source(scan.build()))
    }
}

impl ParquetFileReaderFactory for OpenPieces {
    fn create_reader(
        &self,
        _partition: usize,
        file: PartitionedFile,
        _hint: Option<usize>,
        _metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let piece = file.object_meta.location.as_ref().parse().ok().and_then(|place: usize| self.0.get(place));
        let piece = piece.ok_or_else(|| internal_datafusion_err!("a piece of another snapshot"))?;
        Ok(Box::new(piece.clone()))
    }
}

impl Piece {
    fn read(&self, range: &Range<u64>) -> Result<Bytes, ParquetError> {
        let length = usize::try_from(range.end.saturating_sub(range.start))?;
        let mut bytes = vec![0; length];
        std::os::unix::fs::FileExt::read_exact_at(self.file.as_ref(), &mut bytes, range.start)?;
        Ok(bytes.into())
    }
}

impl AsyncFileReader for Piece {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        std::future::ready(self.read(&range)).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        std::future::ready(ranges.iter().map(|range| self.read(range)).collect()).boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        std::future::ready(Ok(Arc::clone(&self.metadata))).boxed()
    }
}
