//! The node's process: files, data, log and connections, from start to stop.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, bail};
use futures::stream::select;
use futures::{Stream, StreamExt};
use loda_contract::Contract;
use loda_identity::{Gss, Identity, SigningKey};
use loda_ledger::payload::PayloadStore;
use loda_ledger::{
    Change, Entry, Event, Log, SignedLines, Spool, Unconfirmed, Witness, coordinator_key, of_key, witness_key,
};
use loda_proto::v1::node_server::NodeServer;
use loda_service::log_tree::LogTree;
use loda_service::read_log::PAYLOADS;
use loda_service::{Measure, Operations, Program, State, TaskGroup, log, measures, stop};
use loda_transport::{AuthoriseLayer, Limits, dial_out, incoming_with, server};
use tokio::net::TcpListener;

use crate::assess::{Believed, Standing, rests_on};
use crate::config::Config;
use crate::epochs::{Epochs, Openings, Surroundings};
use crate::ingest::finding::Decided;
use crate::ingest::served_dataset::{ServedDataset, ServedIndex};
use crate::ingest::unit_ids::RecordSecret;
use crate::query::agreement::{Agreed, Agreement};
use crate::query::borough::Borough;
use crate::query::disclose::Methods;
use crate::query::engine::DataFusionEngine;
use crate::query::registry::LogRecovery;
use crate::query::service::{Parties, QueryService, Work};
use crate::refresh::{self, subprocess};
use crate::snapshot::Snapshot;
use crate::tables::Tables;

/// Threads that run queries need room for DataFusion's deep frames.
const QUERY_STACK: usize = 32 << 20;

/// When a node is stopped, it waits this long for running queries to end, and then for their answers to be fetched.
const DRAIN: Duration = Duration::from_secs(30);
const LAST_FETCH: Duration = Duration::from_millis(700);

/// When a connection reaches its age, its calls get this long to end.
const GRACE: Duration = Duration::from_secs(30);

/// The folder of what this node has confirmed of other logs, below its state folder.
const WITNESS: &str = "witness";

/// A node that has ingested its data and can serve.
#[derive(Clone)]
pub struct Node {
    pub(crate) borough: Arc<Borough>,
    pub(crate) queries: Arc<QueryService>,
    pub(crate) identity: Identity,
    /// Confirms checkpoints of the coordinator's log.
    pub(crate) witness: Arc<Witness>,
    /// The tree of the log, while the node serves as a process.
    pub(crate) tree: Option<LogTree>,
}

/// Runs a node until it is told to stop.
///
/// # Errors
/// A fault that keeps the node from serving, with the file and the fix.
pub fn run(config: &Path, program: Program, ingest_only: bool) -> anyhow::Result<()> {
    log::begin();
    let queries = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("queries")
        .thread_stack_size(QUERY_STACK)
        .enable_time()
        .enable_io()
        .build()?;
    let serving = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let config = Config { program: Some(program), ..Config::load(config)? };
    let _alone = loda_service::alone(&config.state, "node")?;
    let methods = Methods::with(&config.perturbation)?;
    let node = queries.block_on(Node::open(config, methods, queries.handle().clone()))?;
    if ingest_only {
        node.borough.say_tables();
        return Ok(());
    }
    let tree = LogTree::open(&node.borough.config.state, &node.identity, node.borough.config.borough.as_str())?;
    let node = Node { tree: Some(tree.clone()), ..node };
    serving.block_on(async {
        let listener = node.bind().await?;
        let draining = async {
            let _told = stop::signal().await;
            tracing::info!("stopping: no more queries are taken, and those that run may end");
            node.queries.registry.drain(DRAIN).await;
            node.queries.note_refusals(true);
            // The answers that were released last are fetched in this time.
            tokio::time::sleep(LAST_FETCH).await;
            tree.finish();
        };
        // Connections that stay open must not keep a stopped node running.
        tokio::select! {
            served = node.serve(listener) => served,
            () = draining => Ok(()),
            // The service manager starts the node again.
            () = node.queries.keep_log() => bail!("the query log cannot be written any more"),
            () = tree.clone().keep() => bail!("no checkpoint of the query log can be signed any more"),
        }
    })
}

impl Node {
    /// Reads the files that the configuration names, ingests the data, and opens the log.
    ///
    /// # Errors
    /// A fault in configuration, agreement, manifest, keys or log. A dataset that cannot be ingested keeps its last
    /// good snapshot or is left out, and the fault is reported.
    pub async fn open(config: Config, methods: Methods, queries: tokio::runtime::Handle) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&config.state).with_context(|| format!("making {}", config.state.display()))?;
        let identity = Identity::load(config.identity.clone())?;
        let manifest = identity.manifest();
        let agreement = Agreed::open(&config.agreement)?;
        let log_key = config.state.join("log.key");
        if !log_key.exists() {
            SigningKey::generate()?.0.save(&log_key)?;
        }
        let key = SigningKey::load(&log_key)?;
        if manifest.member(&config.borough).is_some_and(|member| member.log_key != key.public_hex()) {
            bail!(
                "{}: not the key that the manifest names for this borough's log: restore it from the backup; where it is lost, the \
                 federation has to agree on a manifest with another",
                log_key.display()
            );
        }
        let witness = witness_key(&manifest.domain, config.borough.as_str(), &key.public_hex());
        let witness = witness.context("the domain of the federation is no name of a witness")?;
        let witness = Witness::new(&config.state.join(WITNESS), SigningKey::load(&log_key)?, witness);
        let mut history = LogRecovery::default();
        let mut opened = Openings::default();
        let mut decided = BTreeSet::new();
        let log = SignedLines::open_telling(&config.state.join("log.jsonl"), key, &mut |entry| {
            opened.note(&entry);
            if let Event::Admin(Change::Note(text)) = &entry.event
                && text.starts_with(DECIDED)
            {
                decided.insert((entry.dataset.clone(), text.clone()));
            }
            history.note(entry);
        })?;
        let secret = RecordSecret::load_or_create(&subprocess::secret_file(&config.state))?;
        let mut held = Vec::new();
        for dataset in &config.datasets {
            let contract = Arc::new(Contract::load(&dataset.contract)?);
            let pinned = manifest.datasets.iter().find(|d| d.name == contract.dataset);
            if pinned.is_none_or(|d| d.contract_sha256 != contract.sha256) {
                tracing::error!(
                    dataset = contract.dataset,
                    "the contract is not the one in the manifest: it has been edited, or another is agreed; the dataset is not \
                     served, and `loda-node doctor` says more"
                );
                continue;
            }
            held.push(ServedDataset::new(contract, dataset.clone()));
        }
        let index = config.residents.clone().map(ServedIndex::new);
        let log: Arc<dyn Log> = Arc::new(log);
        let public = held.iter().map(|held| &held.contract).filter(|contract| contract.protection.is_public());
        let epochs = Epochs::open(
            &config.state,
            Surroundings {
                on: methods.pins(),
                published: public.cloned().collect(),
                opened,
                log: Arc::clone(&log),
                method: methods.fingerprint(),
                secret: secret.fingerprint(),
            },
        )?;
        let parts = subprocess::all(&config, held.iter().map(|held| held.contract.dataset.clone()));
        let mut snapshots = Vec::new();
        let mut outcomes = subprocess::read(&config, &secret, &parts).await;
        // Public datasets come first, because they list the values of columns about people.
        outcomes.sort_by_key(|outcome| {
            held.iter().any(|held| {
                Some(&held.contract.dataset) == outcome.part.as_ref() && held.contract.protection.may_be_about_people()
            })
        });
        for outcome in outcomes {
            match (&outcome.part, &index) {
                (None, Some(index)) => {
                    index.settle(outcome);
                }
                (Some(dataset), _) => {
                    if let Some(held) = held.iter().find(|held| held.contract.dataset == *dataset) {
                        snapshots.extend(held.settle(&config.state, &epochs, outcome)?);
                    }
                }
                (None, None) => {}
            }
        }
        log.append(&agreement.entry())?;
        let assessments = assessments(&config, &agreement.now(), &held, &|entry| {
            log.append(entry)?;
            Ok(())
        })?;
        for held in &held {
            for (key, Decided { by, on, why }) in &held.config.decided {
                let told = format!("{DECIDED}{key}, by {by} on {on}: {why}").escape_debug().to_string();
                // Each decision once, and not at each start.
                if decided.insert((held.contract.dataset.clone(), told.clone())) {
                    log.append(&Entry::of_dataset(&held.contract.dataset, Change::Note(told)))?;
                }
            }
        }
        let spool = Spool::open(&config.state.join("released")).context("opening the folder of released answers")?;
        let limits = config.limits;
        let borough = Arc::new(Borough {
            agreement,
            snapshots: RwLock::new(snapshots),
            held,
            index,
            methods: methods.with_noise(secret.noise_key()),
            secret,
            engine: Arc::new(DataFusionEngine::new(&limits)?),
            tables: Arc::new(Tables::new(limits.tables_mb)),
            replaced: tokio::sync::Notify::new(),
            epochs,
            assessments: RwLock::new(assessments),
            memory: tokio::sync::RwLock::default(),
            config,
        });
        let work: Arc<dyn Work> = Arc::<Borough>::clone(&borough);
        let parties = parties(&identity, &borough.config.borough);
        let payloads = Arc::new(PayloadStore::open(&borough.config.state.join(PAYLOADS))?);
        let queries =
            QueryService::open(&limits, (log, payloads), spool, history, work, TaskGroup::new(queries), parties)?;
        // The proof of a fork outlives a restart.
        if let Some(log) = coordinator_key(&manifest)
            && let Some(at) = witness.forked(&log).context("reading what was confirmed of the coordinator's log")?
        {
            queries.witnessed(Some(&Unconfirmed::Forked { at }));
        }
        Ok(Self { borough, queries, identity, witness: Arc::new(witness), tree: None })
    }

    /// Binds the address that the configuration names, if it names one.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn bind(&self) -> anyhow::Result<Option<TcpListener>> {
        let Some(listen) = &self.borough.config.listen else { return Ok(None) };
        Ok(Some(TcpListener::bind(listen).await.with_context(|| format!("listening on {listen}"))?))
    }

    /// Serves over a listener, over connections that the node dials, or over both, until the transport fails.
    ///
    /// # Errors
    /// The transport fails.
    pub async fn serve(&self, listener: Option<TcpListener>) -> anyhow::Result<()> {
        let (identity, config) = (&self.identity, &self.borough.config);
        let age = Duration::from_secs(config.limits.connection_seconds);
        let limits = Limits { connection_life: age.saturating_add(GRACE), ..Limits::default() };
        let accepted = listener.map(|listener| incoming_with(listener, identity.clone(), limits, None));
        let dialled = config.dial_out.then(|| dial_out(identity.clone(), age));
        let connections = select(optional(accepted), optional(dialled));
        let service =
            NodeServer::new(self.clone()).max_decoding_message_size(256 << 10).max_encoding_message_size(4 << 20);
        tokio::spawn(identity.clone().keep_current());
        if let Some(address) = config.operations.clone() {
            let queries = Arc::clone(&self.queries);
            let borough = Arc::clone(&self.borough);
            let state = move || State {
                active: queries.registry.active(),
                faults: borough
                    .faults()
                    .into_iter()
                    .chain(queries.log_fault())
                    .chain(queries.coordinator_fault())
                    .collect(),
                measures: measured(&borough, &queries),
            };
            Operations::new(identity.clone(), &self.queries.outcomes, &self.queries.times, state).start(address);
        }
        self.queries.beside(refresh::keep(Arc::clone(&self.borough), Arc::clone(&self.queries)));
        self.queries.beside(refresh::open_epochs(Arc::clone(&self.borough), Arc::clone(&self.queries)));
        self.queries.beside(Arc::clone(&self.borough).keep_ready());
        self.queries.beside(self.queries.keep_words(config.retention));
        self.queries.beside(keep_agreement(Arc::clone(&self.borough), Arc::clone(&self.queries)));
        tracing::info!(borough = %config.borough, datasets = self.borough.snapshots().len(), "serving");
        server(age)
            .layer(AuthoriseLayer::new(identity.clone()))
            .add_service(service)
            .serve_with_incoming(connections)
            .await?;
        Ok(())
    }

    /// The files of each dataset's snapshot, for tests that pool them.
    #[must_use]
    pub fn snapshot_files(&self) -> Vec<(String, std::path::PathBuf)> {
        let pieces =
            |s: &Snapshot| s.files.iter().map(|file| (s.contract.dataset.clone(), file.clone())).collect::<Vec<_>>();
        self.borough.snapshots().iter().flat_map(pieces).collect()
    }
}

/// The measures for the operator's monitoring, in addition to counts of questions.
fn measured(borough: &Borough, queries: &QueryService) -> Vec<Measure> {
    let mut all = measures::of_log(&borough.config.state.join("log.jsonl"), queries.log_entries());
    let doubted = i64::from(queries.coordinator_fault().is_some());
    all.push(Measure::new("coordinator_log_doubted", "Whether the coordinator's log does not continue", doubted));
    let snapshots = borough.snapshots();
    let now = chrono::Utc::now().date_naive();
    let age = "Days since the day that a dataset describes";
    all.extend(snapshots.iter().map(|snapshot| {
        Measure::new("snapshot_age_days", age, (now - snapshot.as_at).num_days())
            .of("dataset", &*snapshot.contract.dataset)
    }));
    let agreement = borough.agreement.now();
    let ends = "When nothing is agreed any more about a dataset, in Unix seconds";
    all.extend(snapshots.iter().filter_map(|snapshot| {
        let until = agreement.until(&snapshot.contract.dataset)?.succ_opt()?.and_time(chrono::NaiveTime::MIN);
        Some(
            Measure::new("agreement_ends", ends, until.and_utc().timestamp())
                .of("dataset", &*snapshot.contract.dataset),
        )
    }));
    all
}

/// Applies changes of the borough's agreement, and their effect on assessments.
async fn keep_agreement(borough: Arc<Borough>, queries: Arc<QueryService>) {
    let log = |entry: &Entry| Ok(queries.note(entry)?);
    let changed = |agreement: &Agreement| {
        let believed = assessments(&borough.config, agreement, &borough.held, &log)?;
        *borough.assessments.write().unwrap_or_else(PoisonError::into_inner) = believed;
        Ok(())
    };
    borough.agreement.keep(log, changed).await;
}

/// Stands before a steward's decision in the log.
const DECIDED: &str = "decided: ";

/// The limits from the datasets' assessments. Each of them is logged.
fn assessments(
    config: &Config,
    agreement: &Agreement,
    held: &[ServedDataset],
    log: &dyn Fn(&Entry) -> anyhow::Result<()>,
) -> anyhow::Result<BTreeMap<String, Believed>> {
    let rests_on = rests_on(held.iter().map(|held| held.contract.as_ref()), &config.perturbation);
    let today = chrono::Utc::now().date_naive();
    let mut believed = BTreeMap::new();
    for held in held.iter().filter(|held| held.contract.protection.may_be_about_people()) {
        let dataset = held.contract.dataset.clone();
        let until = agreement.until(&dataset).unwrap_or(today);
        let Some(found) = Believed::of(&config.state, &dataset, &rests_on, until) else { continue };
        log(&Entry::of_dataset(&dataset, Change::Note(found.words.clone())))?;
        let wanted = Standing::of(&held.contract, &held.config).wanted();
        if wanted > found.dimensions {
            tracing::warn!(
                dataset,
                wanted,
                good = found.dimensions,
                "tables of so many dimensions tell too much: the node answers the smaller ones, unless the steward's decision says \
                 otherwise; see loda-node assess"
            );
        }
        believed.insert(dataset, found);
    }
    Ok(believed)
}

/// The other parties, as this node knows them.
pub(crate) fn parties(identity: &Identity, borough: &Gss) -> Parties {
    let own = identity.manifest().member(borough).map(|member| of_key(&member.log_key)).unwrap_or_default();
    let (of_log, of_askers, of_quorum) = (identity.clone(), identity.clone(), identity.clone());
    Parties {
        own,
        coordinator: Box::new(move || of_log.manifest().coordinator.log_key.clone()),
        asker_of: Box::new(move |signed| match of_askers.now().trust.asker_of(signed) {
            Ok((peer, asking)) => Ok((peer.id, asking)),
            Err(refusal) => Err(refusal.to_string()),
        }),
        quorum: Box::new(move || of_quorum.manifest().witnessing()),
    }
}

/// A stream that is not there yields nothing, and does not end the server.
fn optional<S: Stream>(stream: Option<S>) -> impl Stream<Item = S::Item> {
    match stream {
        Some(stream) => stream.left_stream(),
        None => futures::stream::pending().right_stream(),
    }
}
