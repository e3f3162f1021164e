//! A fake coordinator without a federation. It plays one scene.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::writer::StreamWriter;
use loda_identity::SigningKey;
use loda_proto::v1::query_server::{Query, QueryServer};
use loda_proto::v1::*;
use prost::Message;
use tokio::task::JoinHandle;
use tokio_stream::{Stream, StreamExt, iter, pending};
use tonic::{Request, Response, Status};

/// The scene that the coordinator plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scene {
    Complete,
    Partial,
    Refused,
    Silent,
    /// Watches end early, twice.
    Flaky,
    Endless,
    /// The answer of another question comes.
    Swapped,
}

#[derive(Default)]
pub(crate) struct Calls {
    pub(crate) runs: AtomicUsize,
    pub(crate) watches: AtomicUsize,
    pub(crate) cancels: AtomicUsize,
}

/// Certificates made by `loda pki`, a manifest, a configuration and a listening coordinator.
pub(crate) struct Federation {
    folder: tempfile::TempDir,
    pub(crate) calls: Arc<Calls>,
    serving: JoinHandle<()>,
}

impl Federation {
    pub(crate) async fn start(scene: Scene) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let at = |name: &str| folder.path().join(name);
        for ca in ["people", "centre", "hackney"] {
            pki(&["init", at(ca).to_str().unwrap(), "--domain", "london.example"]).await;
        }
        let out = folder.path().to_str().unwrap();
        pki(&["issue", at("people").to_str().unwrap(), "analyst", "alice", "--out", out]).await;
        pki(&["issue", at("centre").to_str().unwrap(), "coordinator", "--out", out]).await;

        let ca = |name: &str| std::fs::read_to_string(at(name).join("ca.pem")).unwrap();
        let log_key = || SigningKey::generate().unwrap().0.public_hex();
        let manifest = format!(
            "federation = \"London\"\ndomain = \"london.example\"\nversion = 1\n\
             [coordinator]\naddress = \"{address}\"\nlog_key = \"{}\"\nca = \"\"\"\n{}\"\"\"\n\
             [[members]]\ngss = \"E09000012\"\nname = \"Hackney\"\naddress = \"127.0.0.1:1\"\nlog_key = \"{}\"\nca = \"\"\"\n{}\"\"\"\n\
             [[analysts]]\nca = \"\"\"\n{}\"\"\"\n",
            log_key(),
            ca("centre"),
            log_key(),
            ca("hackney"),
            ca("people")
        );
        std::fs::write(at("manifest.toml"), &manifest).unwrap();
        std::fs::create_dir(at("revocation")).unwrap();
        for ca in ["people", "centre", "hackney"] {
            std::fs::copy(at(ca).join("crl.pem"), at("revocation").join(format!("{ca}.pem"))).unwrap();
        }
        let config = "manifest = \"manifest.toml\"\ncert = \"alice.pem\"\nkey = \"alice.key\"\n\
                      revocation_lists = \"revocation\"\n";
        std::fs::write(at("loda.toml"), config).unwrap();

        let paths = loda_identity::Paths {
            manifest: at("manifest.toml"),
            certificate: at("coordinator.pem"),
            key: at("coordinator.key"),
            revocation: at("revocation"),
            denied: None,
            pinned: None,
        };
        let incoming = loda_transport::incoming(listener, loda_identity::Identity::load(paths).unwrap());
        let calls = Arc::new(Calls::default());
        let service = QueryServer::new(Coordinator { scene, calls: calls.clone() });
        let serving = tokio::spawn(async move {
            loda_transport::server(loda_transport::CONNECTION_AGE)
                .add_service(service)
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        });
        Self { folder, calls, serving }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("loda.toml")
    }

    pub(crate) async fn stop(&mut self) {
        self.serving.abort();
        let _ = (&mut self.serving).await;
    }
}

impl Drop for Federation {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn pki(args: &[&str]) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = ["loda", "pki"].iter().chain(args).map(OsString::from);
    let code = loda::run(args, &mut out, &mut err).await;
    assert_eq!(code, loda::exit::COMPLETE, "{}", String::from_utf8_lossy(&err));
}

struct Coordinator {
    scene: Scene,
    calls: Arc<Calls>,
}

type Reply<T> = Result<Response<T>, Status>;
type Flow<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Query for Coordinator {
    type WatchStream = Flow<Progress>;
    type FetchStream = Flow<ResultChunk>;

    async fn catalogue(&self, _: Request<CatalogueRequest>) -> Reply<CatalogueResponse> {
        let tables = vec![Table { name: "stop_search".into(), ..Default::default() }];
        Ok(Response::new(CatalogueResponse { tables }))
    }

    async fn contract(&self, _: Request<ContractRequest>) -> Reply<ContractResponse> {
        Err(Status::unimplemented(""))
    }

    async fn nodes(&self, _: Request<NodesRequest>) -> Reply<NodesResponse> {
        let node = NodeEntry { borough: "E09000012".into(), reachable: true, ..Default::default() };
        Ok(Response::new(NodesResponse { nodes: vec![node], ..Default::default() }))
    }

    async fn purposes(&self, _: Request<PurposesRequest>) -> Reply<PurposesResponse> {
        Ok(Response::new(PurposesResponse::default()))
    }

    async fn successors(&self, _: Request<SuccessorsRequest>) -> Reply<SuccessorsResponse> {
        Ok(Response::new(SuccessorsResponse::default()))
    }

    async fn prepare(&self, request: Request<PrepareRequest>) -> Reply<PrepareResponse> {
        let refusal = Refusal {
            rule: "identifier".into(),
            message: "the name leaves nobody".into(),
            advice: "count people".into(),
        };
        if self.scene == Scene::Refused {
            return Ok(Response::new(PrepareResponse { refusal: Some(refusal), ..Default::default() }));
        }
        let verdict = |gss: &str, refusal: Option<Refusal>| {
            let answer = if refusal.is_some() { "no" } else { "yes" };
            Verdict { borough: gss.into(), answer: answer.into(), refusal }
        };
        let mut verdicts = vec![verdict("E09000007", None), verdict("E09000012", Some(refusal))];
        if !request.get_ref().ask_nodes {
            verdicts.clear();
        }
        let fragment = Fragment { number: 1, grid: 2, verdicts, ..Default::default() };
        Ok(Response::new(PrepareResponse { prepared_id: "p1".into(), fragments: vec![fragment], ..Default::default() }))
    }

    async fn run(&self, request: Request<RunRequest>) -> Reply<RunResponse> {
        assert_eq!(request.get_ref().prepared_id, "p1");
        self.calls.runs.fetch_add(1, SeqCst);
        Ok(Response::new(RunResponse { query_id: "q1".into(), refusal: None }))
    }

    async fn watch(&self, _: Request<WatchRequest>) -> Reply<Self::WatchStream> {
        let earlier = self.calls.watches.fetch_add(1, SeqCst);
        let state = |state: State| Ok(Progress { state: state as i32, ..Default::default() });
        let running = iter([state(State::Queued), state(State::Running)]);
        Ok(Response::new(match self.scene {
            Scene::Flaky if earlier < 2 => Box::pin(running),
            Scene::Endless => Box::pin(running.chain(pending())),
            Scene::Silent => Box::pin(running.chain(iter([state(State::NotAnswered)]))),
            _ => Box::pin(running.chain(iter([state(State::Released)]))),
        }))
    }

    async fn fetch(&self, _: Request<FetchRequest>) -> Reply<Self::FetchStream> {
        let second = if self.scene == Scene::Partial { "no answer" } else { "answered" };
        let boroughs = [("E09000007", "answered"), ("E09000012", second)].map(|(gss, answer)| BoroughAnswer {
            borough: gss.into(),
            answer: answer.into(),
            ..Default::default()
        });
        let part = Part {
            dataset: "stop_search".into(),
            method: "threshold".into(),
            boroughs: boroughs.to_vec(),
            values: 2,
            withheld: 1,
            ..Default::default()
        };
        let statement = Statement {
            query_id: if self.scene == Scene::Swapped { "q2" } else { "q1" }.into(),
            purpose: "test".into(),
            complete: self.scene != Scene::Partial,
            parts: vec![part],
            notes: Vec::new(),
            errors: Vec::new(),
        };
        let chunks: Vec<_> = result()
            .chunks(256)
            .enumerate()
            .map(|(number, piece)| {
                let statement = (number == 0).then(|| statement.clone());
                let statement = statement.map(|statement| statement.encode_to_vec());
                Ok(ResultChunk { statement, arrow_ipc: piece.to_vec() })
            })
            .collect();
        Ok(Response::new(Box::pin(iter(chunks))))
    }

    async fn cancel(&self, request: Request<CancelRequest>) -> Reply<CancelResponse> {
        assert_eq!(request.get_ref().query_id, "q1");
        self.calls.cancels.fetch_add(1, SeqCst);
        Ok(Response::new(CancelResponse {}))
    }

    async fn new_token(&self, _: Request<NewTokenRequest>) -> Result<Response<NewTokenResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn list_tokens(&self, _: Request<ListTokensRequest>) -> Result<Response<ListTokensResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn revoke_token(&self, _: Request<RevokeTokenRequest>) -> Result<Response<RevokeTokenResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn recorded(&self, _: Request<RecordedRequest>) -> Result<Response<RecordedResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn read_log(&self, _: Request<ReadLogRequest>) -> Result<Response<ReadLogResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

fn result() -> Vec<u8> {
    let protected = HashMap::from([("loda.protected".to_owned(), "1".to_owned())]);
    let schema = Arc::new(Schema::new(vec![
        Field::new("outcome", DataType::Utf8, false),
        Field::new("n", DataType::Int64, true).with_metadata(protected),
        loda_answer::reason::field(["outcome", "n"]),
    ]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec!["Arrest", "Caution"])),
        Arc::new(Int64Array::from(vec![Some(1234), None])),
        Arc::new(StringArray::from(vec![None, Some("c")])),
    ];
    let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}
