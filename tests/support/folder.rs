//! A borough's folder, and the output of the program in it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::Running;
use super::doors::Door;

const BINARY: &str = env!("CARGO_BIN_EXE_loda-demo");

pub struct Folder(tempfile::TempDir);

/// The output of one run of the program, and whether the run succeeded.
pub struct Said {
    pub text: String,
    pub content: bool,
}

impl Folder {
    /// A folder with the contract of this dataset.
    pub fn new(dataset: &str, contract: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::create_dir(folder.path("contracts")).unwrap();
        fs::write(folder.path(&format!("contracts/{dataset}.toml")), contract).unwrap();
        folder
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts a file in place by rename, as a careful system does.
    pub fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path("partial"), bytes).unwrap();
        fs::rename(self.path("partial"), self.path(name)).unwrap();
    }

    /// Writes `node.toml`: the settings that all nodes share, then the rest.
    pub fn configure(&self, rest: &str) {
        let node = format!(
            "borough = \"E09000022\"\nlisten = \"127.0.0.1:{}\"\nmanifest = \"manifest.toml\"\nagreement = \"agreement.toml\"\n\
             state = \"state\"\n[tls]\ncertificate = \"tls.pem\"\nkey = \"tls.key\"\nrevocation_lists = \"revocation\"\n{rest}\n",
            super::free_ports()
        );
        fs::write(self.path("node.toml"), node).unwrap();
    }

    /// Makes the certificates and agreements of a trial for `node.toml`.
    pub fn trial(&self) {
        let trial = self.said(&["loda", "federation", "trial", "--borough", "E09000022"]);
        assert!(trial.content, "{}", trial.text);
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(arguments).current_dir(self.0.path()).stdin(Stdio::piped());
        command
    }

    pub fn said(&self, arguments: &[&str]) -> Said {
        let output = self.command(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        Said { text, content: output.status.success() }
    }

    pub fn check(&self) -> Said {
        self.said(&["node", "check"])
    }

    /// Reads the sources and writes snapshots, as at a start.
    pub fn ingest(&self) -> String {
        self.said(&["node", "--ingest-only", "--config", "node.toml"]).text
    }

    pub fn snapshots(&self) -> String {
        self.said(&["node", "snapshots"]).text
    }

    /// The pieces of a dataset's newest snapshot.
    pub fn pieces(&self, dataset: &str) -> Vec<PathBuf> {
        let of_dataset = self.path("state/snapshots").join(dataset);
        let folder = fs::read_dir(of_dataset).unwrap().next().unwrap().unwrap().path();
        let files = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
        let mut listings: Vec<PathBuf> = files.filter(|file| file.extension().is_some_and(|e| e == "json")).collect();
        listings.sort();
        let listing = fs::read(listings.last().unwrap()).unwrap();
        let listing: serde_json::Value = serde_json::from_slice(&listing).unwrap();
        let pieces = listing["pieces"].as_array().unwrap();
        pieces.iter().map(|piece| folder.join(piece.as_str().unwrap())).collect()
    }
}

/// A folder whose node and coordinator serve, with doors.
pub struct Trial {
    pub folder: Folder,
    pub door: Door,
    pub token: String,
    pub coordinator: Running,
    /// The monitoring ports of the node and the coordinator.
    pub operations: [u16; 2],
    pub node: Running,
}

impl Trial {
    /// Serves a configured folder.
    pub fn serve(folder: Folder) -> Self {
        let port = super::free_ports();
        let operations = [port + 3, port + 4];
        let node = fs::read_to_string(folder.path("node.toml")).unwrap();
        let listen = node.lines().find(|line| line.starts_with("listen")).unwrap();
        let monitored = format!("listen = \"127.0.0.1:{}\"\noperations = \"127.0.0.1:{}\"", port + 1, operations[0]);
        fs::write(folder.path("node.toml"), node.replace(listen, &monitored)).unwrap();
        let made = folder.said(&["loda", "federation", "trial", "--borough", "E09000022", "--port", &port.to_string()]);
        assert!(made.content, "{}", made.text);
        let config = folder.path("coordinator/coordinator.toml");
        let text = fs::read_to_string(&config).unwrap();
        fs::write(&config, format!("operations = \"127.0.0.1:{}\"\n{text}", operations[1])).unwrap();
        let serve = |arguments: &[&str], log: &str| {
            let log = fs::File::create(folder.path(log)).unwrap();
            let mut command = folder.command(arguments);
            Running(command.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
        };
        let node = serve(&["node", "--config", "node.toml"], "node.log");
        let coordinator = serve(&["coordinator", "--config", "coordinator/coordinator.toml"], "coordinator.log");
        let began = Instant::now();
        let until = |arguments: &[&str]| loop {
            let said = folder.command(arguments).output().unwrap();
            if said.status.success() {
                break String::from_utf8(said.stdout).unwrap().trim().to_owned();
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{}", String::from_utf8_lossy(&said.stderr));
            std::thread::sleep(Duration::from_millis(200));
        };
        let token = until(&["loda", "token", "new", "a test", "--config", "loda.toml"]);
        // The node is ready when it describes its datasets.
        while !until(&["loda", "nodes", "--config", "loda.toml"]).contains("1 of 1 nodes") {
            assert!(began.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(200));
        }
        let door = Door { address: format!("localhost:{}", port + 2), authority: folder.path("web-ca.pem") };
        Self { folder, door, token, coordinator, operations, node }
    }
}
