//! PostgreSQL: one query, in one read-only snapshot, with a time limit.

use std::io::Read;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::runtime::Handle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, CopyOutStream, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::csv;
use crate::ingest::redacted_error::RedactedError;
use crate::ingest::source::config::SourceEntry;
use crate::ingest::source::header::{Rename, clean_names, text_schema};
use crate::ingest::source::kind::SourceKind;
use crate::ingest::source::reader::{Paths, Reader, Sink};

const CONNECT: Duration = Duration::from_secs(10);

/// The place of a database, and the query. `Debug` prints no password, because the struct holds only the name of the
/// password's file.
#[derive(Clone, Debug)]
pub(crate) struct PostgresSource {
    /// In libpq's form: `host=… port=… dbname=… user=…`.
    connection: String,
    password_file: Option<PathBuf>,
    /// The authority of the server's certificate. Without it, only sockets and this host are reached.
    ca: Option<PathBuf>,
    query: String,
    timeout: Duration,
}

impl SourceKind for PostgresSource {
    fn from_entry(entry: &SourceEntry, base: &Path) -> Result<Self, String> {
        let connection = entry.connection.clone();
        Ok(Self {
            connection: connection.ok_or_else(|| entry.fault("it has no connection: write host=… dbname=… user=…"))?,
            password_file: entry.password_file.as_ref().map(|file| base.join(file)),
            ca: entry.ca.as_ref().map(|file| base.join(file)),
            query: entry.query()?,
            timeout: Duration::from_secs(entry.timeout_seconds.unwrap_or(600)),
        })
    }

    fn paths(&self) -> Option<&Paths> {
        None
    }

    fn paths_mut(&mut self) -> Option<&mut Paths> {
        None
    }

    fn is_database(&self) -> bool {
        true
    }

    fn open(&self, _rename: &Rename, _read_before: &[PathBuf]) -> anyhow::Result<Box<dyn Reader>> {
        Ok(Box::new(open(self.clone())?))
    }

    fn copy(&self) -> Box<dyn SourceKind> {
        Box::new(self.clone())
    }
}

impl PostgresSource {
    async fn connect(&self) -> anyhow::Result<Client> {
        let mut config: Config =
            self.connection.parse().context("connection: write host=… port=… dbname=… user=…, without a password")?;
        if config.get_password().is_some() {
            bail!("connection: a password stands in it. Put it into a file of its own, and name that as password_file");
        }
        if let Some(file) = &self.password_file {
            let password = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
            config.password(password.trim_end_matches(['\r', '\n']));
        }
        config.connect_timeout(CONNECT).application_name("loda-node");
        match &self.ca {
            Some(ca) => {
                config.ssl_mode(SslMode::Require);
                let (client, connection) = config.connect(MakeRustlsConnect::new(trusting(ca)?)).await?;
                tokio::spawn(connection);
                Ok(client)
            }
            None => {
                if !is_near(&config) {
                    bail!("the database is on another host: give `ca`, the authority of its certificate, for TLS");
                }
                config.ssl_mode(SslMode::Disable);
                let (client, connection) = config.connect(NoTls).await?;
                tokio::spawn(connection);
                Ok(client)
            }
        }
    }

    /// Begins a read-only transaction, which sees one snapshot.
    async fn begin(&self) -> anyhow::Result<Client> {
        let client = self.connect().await.context("connecting to PostgreSQL")?;
        let limit = self.timeout.as_millis();
        let begin = format!(
            "SET statement_timeout = {limit}; SET lock_timeout = 10000; \
             START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
        );
        client.batch_execute(&begin).await?;
        Ok(client)
    }
}

/// Whether the connection can only go to this host. `hostaddr` takes the place of a host's name, so both are checked.
fn is_near(config: &Config) -> bool {
    let near = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => match (name.parse::<IpAddr>(), (name.as_str(), 0).to_socket_addrs()) {
            (Ok(address), _) => address.is_loopback(),
            (Err(_), Ok(mut found)) => name == "localhost" && found.all(|address| address.ip().is_loopback()),
            (Err(_), Err(_)) => false,
        },
    };
    config.get_hosts().iter().all(near) && config.get_hostaddrs().iter().all(IpAddr::is_loopback)
}

fn trusting(ca: &Path) -> anyhow::Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(ca).with_context(|| format!("reading {}", ca.display()))?;
    for certificate in certificates {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

struct PostgresReader {
    postgres: PostgresSource,
    columns: SchemaRef,
}

fn open(postgres: PostgresSource) -> anyhow::Result<PostgresReader> {
    let columns = Handle::current().block_on(async {
        let client = postgres.begin().await?;
        let statement = client.prepare(&postgres.query).await.context("the query")?;
        anyhow::Ok(text_schema(clean_names(statement.columns().iter().map(tokio_postgres::Column::name))))
    })?;
    Ok(PostgresReader { postgres, columns })
}

impl Reader for PostgresReader {
    fn columns(&self) -> SchemaRef {
        SchemaRef::clone(&self.columns)
    }

    fn read(&self, sink: &mut dyn Sink) -> anyhow::Result<()> {
        let runtime = Handle::current();
        let (client, stream) = runtime.block_on(async {
            let client = self.postgres.begin().await?;
            let copy = format!("COPY ({}) TO STDOUT (FORMAT csv, HEADER true)", self.postgres.query);
            let stream = client.copy_out(&copy).await.map_err(|fault| told(&fault)).context("the query")?;
            anyhow::Ok((client, stream))
        })?;
        sink.file("PostgreSQL", "one read-only snapshot".to_owned());
        let fault = Arc::default();
        let kept = Arc::clone(&fault);
        let input = CopyRead { runtime, stream: Box::pin(stream), rest: Vec::new(), at: 0, fault };
        let read = csv::read_stream(input, &self.columns, sink);
        drop(client);
        // Of the wrapped errors, only the server's own message is useful.
        let stopped = kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        match stopped {
            Some(stopped) => Err(stopped).context("PostgreSQL stopped in the middle"),
            None => read.context("PostgreSQL stopped in the middle"),
        }
    }
}

/// COPY's stream, for a reader that blocks.
struct CopyRead {
    runtime: Handle,
    stream: Pin<Box<CopyOutStream>>,
    rest: Vec<u8>,
    at: usize,
    /// The reason why the stream stopped before its end.
    fault: Arc<Mutex<Option<RedactedError>>>,
}

/// The server's message may hold a value.
fn told(fault: &tokio_postgres::Error) -> RedactedError {
    match fault.as_db_error() {
        // The text "db error" alone says nothing.
        Some(db) => {
            RedactedError::new(db.message(), format!("the database ended the query (SQLSTATE {})", db.code().code()))
        }
        None => RedactedError::new(fault.to_string(), "the connection was lost"),
    }
}

impl Read for CopyRead {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.at >= self.rest.len() {
            match self.runtime.block_on(self.stream.next()) {
                None => return Ok(0),
                Some(Ok(bytes)) => (self.rest, self.at) = (bytes.to_vec(), 0),
                Some(Err(fault)) => {
                    *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(told(&fault));
                    return Err(std::io::Error::other("it ended before its end"));
                }
            }
        }
        let mut rest = self.rest.get(self.at..).unwrap_or_default();
        let read = rest.read(buffer)?;
        self.at = self.at.saturating_add(read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_connected_to_decides_and_not_its_name() {
        let near = |connection: &str| is_near(&connection.parse().unwrap());
        for good in [
            "host=localhost",
            "host=127.0.0.1",
            "host=::1",
            "host=/run/postgresql",
            "host=localhost hostaddr=127.0.0.1",
            "hostaddr=127.0.0.1",
        ] {
            assert!(near(good), "{good}");
        }
        for bad in [
            "host=10.0.0.5",
            "host=localhost hostaddr=10.0.0.5",
            "hostaddr=10.0.0.5",
            "host=localhost,localhost hostaddr=127.0.0.1,10.0.0.5",
            "host=localhost,db.borough.example",
            "host=/run/postgresql,10.0.0.5",
            "host=localhost.borough.example",
            "host=0.0.0.0",
        ] {
            assert!(!near(bad), "{bad}");
        }
    }
}
