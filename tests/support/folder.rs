//! A borough's folder, and what the program says in it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_loda-demo");

pub struct Folder(tempfile::TempDir);

/// What a run of the program said, and whether it was content.
pub struct Said {
    pub text: String,
    pub content: bool,
}

impl Folder {
    /// With a contract of the dataset that bears its name.
    pub fn new(dataset: &str, contract: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::create_dir(folder.path("contracts")).unwrap();
        fs::write(folder.path(&format!("contracts/{dataset}.toml")), contract).unwrap();
        folder
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts a file into place as a careful system does.
    pub fn put(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path("partial"), bytes).unwrap();
        fs::rename(self.path("partial"), self.path(name)).unwrap();
    }

    /// Writes `node.toml`: what every node says, and then the rest.
    pub fn configure(&self, rest: &str) {
        let node = format!(
            "borough = \"E09000022\"\nlisten = \"127.0.0.1:{}\"\nmanifest = \"manifest.toml\"\nagreement = \"agreement.toml\"\n\
             state = \"state\"\n[tls]\ncertificate = \"tls.pem\"\nkey = \"tls.key\"\nrevocation_lists = \"revocation\"\n{rest}\n",
            super::free_ports()
        );
        fs::write(self.path("node.toml"), node).unwrap();
    }

    /// Makes the certificates and agreements of a trial around `node.toml`.
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

    /// Reads the sources and writes snapshots, as a start does.
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
