//! The processes of a federation. They are children of one binary and end with it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use loda::Client;

use crate::layout::Layout;

/// A running federation. Dropping it ends every process that it started.
pub struct Processes {
    binary: PathBuf,
    layout: Layout,
    coordinator: Option<Child>,
    nodes: BTreeMap<&'static str, Child>,
}

impl Processes {
    /// Starts the nodes and the coordinator from `binary`, which must be this crate's own.
    ///
    /// # Errors
    /// If a process cannot be started.
    pub fn start(binary: &Path, layout: &Layout) -> anyhow::Result<Self> {
        let mut processes =
            Self { binary: binary.to_owned(), layout: layout.clone(), coordinator: None, nodes: BTreeMap::new() };
        for borough in &layout.boroughs {
            processes.start_node(borough.gss)?;
        }
        processes.start_coordinator()?;
        Ok(processes)
    }

    /// Starts or restarts the coordinator.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub fn start_coordinator(&mut self) -> anyhow::Result<()> {
        self.coordinator = Some(self.spawn("coordinator", &self.layout.coordinator(), "coordinator.toml")?);
        Ok(())
    }

    /// Kills the coordinator, as a machine failure would.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill_coordinator(&mut self) -> anyhow::Result<()> {
        let mut child = self.coordinator.take().context("no coordinator runs")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Starts or restarts one node.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub fn start_node(&mut self, gss: &'static str) -> anyhow::Result<()> {
        let child = self.spawn("node", &self.layout.node(gss), "node.toml")?;
        self.nodes.insert(gss, child);
        Ok(())
    }

    /// The process id of a node.
    #[must_use]
    pub fn node_id(&self, gss: &str) -> Option<u32> {
        self.nodes.get(gss).map(Child::id)
    }

    /// The process id of the coordinator.
    #[must_use]
    pub fn coordinator_id(&self) -> Option<u32> {
        self.coordinator.as_ref().map(Child::id)
    }

    /// Kills one node, as a machine failure would.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill_node(&mut self, gss: &str) -> anyhow::Result<()> {
        let mut child = self.nodes.remove(gss).context("no such node runs")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Starts a child. It writes to a log in its folder. It ends when its standard input closes, also if this process
    /// is killed.
    fn spawn(&self, role: &str, folder: &Path, config: &str) -> anyhow::Result<Child> {
        let log = File::options().create(true).append(true).open(folder.join("process.log"))?;
        Command::new(&self.binary)
            .args([role, "--config"])
            .arg(folder.join(config))
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", self.binary.display()))
    }

    /// Waits until all nodes answer, and reports how many do.
    ///
    /// # Errors
    /// If a process ends or does not start in time. The error has the last lines of its log.
    pub async fn ready(&mut self, limit: Duration, told: &mut (dyn FnMut(usize) + Send)) -> anyhow::Result<Client> {
        let started = Instant::now();
        let config = loda::Config::load(&self.layout.client())?;
        loop {
            self.check()?;
            if let Ok(client) = Client::connect(&config).await
                && let Ok(said) = client.nodes().await
            {
                let reachable = said.nodes.iter().filter(|n| n.reachable).count();
                told(reachable);
                if reachable == self.nodes.len() {
                    return Ok(client);
                }
            }
            if started.elapsed() > limit {
                bail!("the federation did not come up within {} s: see process.log in each folder", limit.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    fn check(&mut self) -> anyhow::Result<()> {
        for (gss, child) in &mut self.nodes {
            if child.try_wait()?.is_some() {
                bail!("node {gss} ended:\n{}", last_lines(&self.layout.node(gss)));
            }
        }
        if let Some(child) = &mut self.coordinator
            && child.try_wait()?.is_some()
        {
            bail!("the coordinator ended:\n{}", last_lines(&self.layout.coordinator()));
        }
        Ok(())
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in self.nodes.values_mut().chain(&mut self.coordinator) {
            // A process that has already ended is fine.
            let _ended = child.kill();
            let _reaped = child.wait();
        }
    }
}

fn last_lines(folder: &Path) -> String {
    let text = std::fs::read_to_string(folder.join("process.log")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(5)..).unwrap_or_default().join("\n")
}
