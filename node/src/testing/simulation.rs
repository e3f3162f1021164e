//! A node for simulations. The protocol and its bookkeeping are the same as in a served node, and the work takes as
//! long as the simulation says. It exists only under the tests' feature.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::future::BoxFuture;
use loda_disclosure::{Method, Released};
use loda_ledger::payload::PayloadStore;
use loda_ledger::{Entry, Log, Spool};
use loda_proto::v1::SubmitRequest;
use loda_proto::v1::node_server::NodeServer;
use loda_question::{Fragment, Refusal};
use loda_service::TaskGroup;
use uuid::Uuid;

use crate::query::registry::LogRecovery;
use crate::query::request::{Accepted, Asked};
use crate::query::service::{QueryService, Work};
use crate::serve::{Node, parties};

/// The work on a query: how long it takes, and whether it succeeds.
pub type SimulatedWork = dyn Fn(Uuid) -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync;

/// A borough whose answers are worked out in advance.
pub struct CannedNode {
    node: Node,
    answers: HashMap<String, Released<RecordBatch>>,
}

impl CannedNode {
    #[must_use]
    pub fn new(node: Node) -> Self {
        Self { node, answers: HashMap::new() }
    }

    /// Works out the answer to a request, with the real engine and disclosure control.
    ///
    /// # Errors
    /// The request is refused, or it fails.
    pub async fn learn(&mut self, request: SubmitRequest) -> anyhow::Result<()> {
        let refused = |refusal: Refusal| anyhow::anyhow!("refused: {}", refusal.message);
        let asked = Asked::parse(request).map_err(refused)?;
        let accepted = self.node.borough.judge(&asked).map_err(refused)?;
        let cells = self.node.borough.cells(&asked, &accepted).await?;
        self.answers.insert(asked.fragment_hash().to_owned(), cells);
        Ok(())
    }

    /// Begins one run of the node, with the log and the spool of the run before. It ends with its tasks.
    ///
    /// # Errors
    /// The log cannot be written.
    pub fn begin(
        self: &Arc<Self>,
        log: Arc<dyn Log>,
        earlier: Vec<Entry>,
        spool: Spool,
        tasks: TaskGroup,
        toil: Arc<SimulatedWork>,
    ) -> anyhow::Result<NodeServer<Node>> {
        let mut history = LogRecovery::default();
        earlier.into_iter().for_each(|entry| history.note(entry));
        let work = Arc::new(Working { rehearsed: Arc::clone(self), toil });
        let queries = QueryService::open(
            &self.node.borough.config.limits,
            (log, Arc::new(PayloadStore::in_memory()?)),
            spool,
            history,
            work,
            tasks,
            parties(&self.node.identity, &self.node.borough.config.borough),
        )?;
        let mut node = self.node.clone();
        node.queries = queries;
        Ok(NodeServer::new(node))
    }
}

struct Working {
    rehearsed: Arc<CannedNode>,
    toil: Arc<SimulatedWork>,
}

impl Work for Working {
    fn judge(&self, asked: &Asked) -> Result<Accepted, Refusal> {
        self.rehearsed.node.borough.judge(asked)
    }

    fn meant(&self, asked: &Asked) -> Option<Fragment> {
        self.rehearsed.node.borough.meant(asked)
    }

    fn agreed(&self, asked: &Asked, accepted: &Accepted) -> Result<(), Refusal> {
        self.rehearsed.node.borough.agreed(asked, accepted)
    }

    /// Of one question in three, the answer is at hand.
    fn at_hand(&self, asked: &Asked, _accepted: &Accepted) -> Option<Released<RecordBatch>> {
        let ready = asked.query.as_u128().is_multiple_of(3);
        ready.then(|| self.rehearsed.answers.get(asked.fragment_hash()).cloned()).flatten()
    }

    fn method(&self, accepted: &Accepted) -> Arc<dyn Method> {
        self.rehearsed.node.borough.method(accepted)
    }

    fn step(&self, accepted: &Accepted) -> Option<std::time::Duration> {
        self.rehearsed.node.borough.step(accepted)
    }

    fn cells<'a>(
        &'a self,
        asked: &'a Asked,
        _accepted: &'a Accepted,
    ) -> BoxFuture<'a, anyhow::Result<Released<RecordBatch>>> {
        Box::pin(async move {
            (self.toil)(asked.query).await?;
            let answer = self.rehearsed.answers.get(asked.fragment_hash());
            answer.cloned().ok_or_else(|| anyhow::anyhow!("the simulation has not rehearsed this question"))
        })
    }
}
