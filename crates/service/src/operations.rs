//! A local port for monitoring: `/healthz`, `/readyz` and `/metrics` (OpenMetrics text, as Prometheus reads it).
//!
//! It listens on loopback only and answers GET only. It tells counts of questions and the state of files.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use axum::Router;
use axum::extract;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use loda_identity::Identity;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use crate::measures::{Measure, Times};

/// Counts of questions by outcome.
#[derive(Clone, Default)]
pub struct Outcomes {
    all: Family<Label, Counter>,
    /// Those since they were last taken.
    recent: Arc<Mutex<BTreeMap<&'static str, u64>>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    outcome: &'static str,
}

impl Outcomes {
    /// Counts one question.
    pub fn count(&self, outcome: &'static str) {
        self.all.get_or_create(&Label { outcome }).inc();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let count = recent.entry(outcome).or_default();
        *count = count.saturating_add(1);
    }

    /// How often each outcome came since the last call.
    #[must_use]
    pub fn take(&self) -> BTreeMap<&'static str, u64> {
        std::mem::take(&mut *self.recent.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The monitoring port.
#[derive(Clone)]
pub struct Operations(Arc<Inner>);

/// The report of a service about itself, made on request.
#[derive(Debug, Default)]
pub struct State {
    /// The number of questions that run or wait.
    pub active: usize,
    /// Faults of the service, a sentence each, without data and without secrets.
    pub faults: Vec<String>,
    /// Other figures. Those with the same name must follow one another.
    pub measures: Vec<Measure>,
}

struct Inner {
    identity: Identity,
    state: Arc<dyn Fn() -> State + Send + Sync>,
    registry: Mutex<Registry>,
}

impl Operations {
    /// A port with the state of `identity`, the counts of `outcomes`, the `times` of stages, and the service's own
    /// `state`, which is called for each request.
    pub fn new(
        identity: Identity,
        outcomes: &Outcomes,
        times: &Times,
        state: impl Fn() -> State + Send + Sync + 'static,
    ) -> Self {
        let state: Arc<dyn Fn() -> State + Send + Sync> = Arc::new(state);
        let mut registry = Registry::with_prefix("loda");
        registry.register("questions", "Questions by what became of them", outcomes.all.clone());
        registry.register("seconds", "How long the stages of questions take", times.0.clone());
        registry.register_collector(Box::new(Now { identity: identity.clone(), state: Arc::clone(&state) }));
        Self(Arc::new(Inner { identity, state, registry: Mutex::new(registry) }))
    }

    /// Adds the counts of other outcomes, under a name of their own.
    #[must_use]
    pub fn with(self, name: &'static str, help: &'static str, outcomes: &Outcomes) -> Self {
        self.0.registry.lock().unwrap_or_else(PoisonError::into_inner).register(name, help, outcomes.all.clone());
        self
    }

    /// Answers at `address` (`address:port`) from now on, in a task of its own. If it cannot, it logs an error, and the
    /// program still serves.
    pub fn start(self, address: String) {
        tokio::spawn(async move {
            if let Err(fault) = self.serve(&address).await {
                tracing::error!("no monitoring: {fault:#}");
            }
        });
    }

    /// Runs until the listener fails. An address that is not on loopback or cannot be bound is an error.
    async fn serve(self, address: &str) -> anyhow::Result<()> {
        let address: SocketAddr =
            address.parse().with_context(|| format!("operations = {address:?} is not address:port"))?;
        anyhow::ensure!(
            address.ip().is_loopback(),
            "operations = \"{address}\" would be open to others: use 127.0.0.1, and let the monitoring on this host read it"
        );
        let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
        let routes = Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self);
        Ok(axum::serve(listener, routes).await?)
    }
}

/// Ready to serve: 200. Otherwise 503 with the faults, one sentence a line.
async fn ready(extract::State(Operations(inner)): extract::State<Operations>) -> impl IntoResponse {
    let mut faults = inner.identity.faults();
    let now = inner.identity.now();
    if let Err(refusal) = now.trust.still_good(&now.own) {
        faults.push(format!("our own certificate would be refused: {refusal}"));
    }
    faults.extend(now.trust.unverifiable().into_iter().map(|who| format!("no current revocation list of {who}")));
    faults.extend((inner.state)().faults);
    if faults.is_empty() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    (StatusCode::SERVICE_UNAVAILABLE, faults.into_iter().map(|fault| fault + "\n").collect())
}

async fn metrics(extract::State(Operations(inner)): extract::State<Operations>) -> impl IntoResponse {
    let mut text = String::new();
    let registry = inner.registry.lock().unwrap_or_else(PoisonError::into_inner);
    match encode(&mut text, &registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            (StatusCode::OK, [(header::CONTENT_TYPE, kind)], text)
        }
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "text/plain")], String::new()),
    }
}

/// The labels of a figure that exists only once.
const NO_LABELS: [(&str, &str); 0] = [];

/// The figures that are looked up on request.
struct Now {
    identity: Identity,
    state: Arc<dyn Fn() -> State + Send + Sync>,
}

impl std::fmt::Debug for Now {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Now")
    }
}

impl Collector for Now {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let now = self.identity.now();
        let state = (self.state)();
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let gauges = [
            ("questions_active", "Questions that run or wait", count(state.active)),
            ("certificate_ends", "When our certificate ends, in Unix seconds", now.own.not_after),
            (
                "revocation_lists_end",
                "When the first revocation list ends, in Unix seconds",
                now.trust.lists_until().unwrap_or(0),
            ),
            (
                "unverifiable_authorities",
                "Authorities without a current revocation list",
                count(now.trust.unverifiable().len()),
            ),
            ("service_faults", "What the service cannot do as it should", count(state.faults.len())),
            (
                "file_faults",
                "Files that could not be used when they were last read",
                count(self.identity.faults().len()),
            ),
            (
                "manifest_version",
                "The manifest in use",
                i64::try_from(now.trust.manifest().version).unwrap_or(i64::MAX),
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        for of_name in state.measures.chunk_by(|a, b| a.name == b.name) {
            let Some(Measure { name, help, .. }) = of_name.first() else { continue };
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for measure in of_name {
                let gauge = ConstGauge::new(measure.value);
                if measure.labels.is_empty() {
                    gauge.encode(family.encode_family(&NO_LABELS)?)?;
                } else {
                    gauge.encode(family.encode_family(&measure.labels)?)?;
                }
            }
        }
        Ok(())
    }
}
