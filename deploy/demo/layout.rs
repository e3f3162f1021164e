//! The folder of a federation, as an operator would spread it over many machines.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use anyhow::Context;
use loda_contract::Contract;
use loda_identity::manifest::{Authority as AnalystAuthority, CoordinatorEntry, DatasetEntry, Member};
use loda_identity::{Authority, DIAL_OUT, Gss, Manifest, Paths, PeerId, Role, SigningKey, write_private};
use serde::Serialize;

use crate::boroughs::{BOROUGHS, Borough, reference_csv};
use crate::datasets::{Covers, Dataset, Held, REAL, SYNTHETIC};
use crate::{extracts, generate, real};

/// The trust domain of every demo federation.
pub const DOMAIN: &str = "demo.london";

/// The purposes that the demo's agreements grant.
pub const PURPOSES: [&str; 4] = ["housing-safety", "food-safety", "policing-scrutiny", "demo"];

/// The doors' port, as an offset from the coordinator's port. The ports between belong to the 33 nodes.
const DOORS: u16 = 34;

/// The days for which demo certificates and agreements are valid.
const DAYS: i64 = 365;

/// The options of a layout.
#[derive(Clone, Debug)]
pub struct Options {
    pub dir: PathBuf,
    /// The number of boroughs that take part, in the order of their codes.
    pub nodes: usize,
    /// The coordinator's port. The nodes listen on the ports after it.
    pub port: u16,
    /// A folder of open data. `None`: generated tables.
    pub data: Option<PathBuf>,
    /// Whether nodes read messy extracts of the generated London, where there are such.
    pub extracts: bool,
    pub seed: u64,
    /// The scale of generated tables. 1 is all of London.
    pub scale: f64,
    /// The generated tables to write. Empty: all tables.
    pub tables: Vec<&'static str>,
    /// The number of boroughs, counted from the last, that do not listen and dial the coordinator instead.
    pub dialling: usize,
}

/// A federation's folder on disk.
#[derive(Clone, Debug)]
pub struct Layout {
    pub dir: PathBuf,
    pub boroughs: Vec<&'static Borough>,
}

impl Layout {
    #[must_use]
    pub fn manifest(&self) -> PathBuf {
        self.dir.join("manifest.toml")
    }

    #[must_use]
    pub fn node(&self, gss: &str) -> PathBuf {
        self.dir.join("nodes").join(gss)
    }

    #[must_use]
    pub fn coordinator(&self) -> PathBuf {
        self.dir.join("coordinator")
    }

    /// The client's configuration.
    #[must_use]
    pub fn client(&self) -> PathBuf {
        self.dir.join("analyst").join("loda.toml")
    }

    /// The configuration of an auditor's client.
    #[must_use]
    pub fn auditor(&self) -> PathBuf {
        self.dir.join("auditor").join("loda.toml")
    }

    /// The authority that people's own tools must trust to use the doors.
    #[must_use]
    pub fn web_authority(&self) -> PathBuf {
        self.dir.join("analyst").join("web-ca.pem")
    }

    /// The address of the doors of a coordinator that listens on `port`.
    #[must_use]
    pub fn doors(port: u16) -> String {
        format!("127.0.0.1:{}", port.saturating_add(DOORS))
    }

    /// The development authority of a borough, for tests that issue their own certificates.
    #[must_use]
    pub fn authority(&self, name: &str) -> PathBuf {
        self.dir.join("pki").join(name)
    }

    /// The revocation list of a development authority. All parties read it.
    #[must_use]
    pub fn revocation_list(&self, name: &str) -> PathBuf {
        self.dir.join("revocation").join(format!("{name}.pem"))
    }

    /// The files of the party in a folder, as the party reads them.
    #[must_use]
    pub fn identity(&self, folder: &Path) -> Paths {
        Paths {
            manifest: self.manifest(),
            certificate: folder.join("tls.pem"),
            key: folder.join("tls.key"),
            revocation: self.dir.join("revocation"),
            denied: None,
            pinned: None,
        }
    }

    /// Makes authorities, keys, certificates, manifest, contracts, data, configurations and agreements.
    ///
    /// # Errors
    /// If a file cannot be written or the data cannot be read.
    pub fn create(options: &Options, told: &mut dyn FnMut(&str)) -> anyhow::Result<Self> {
        Self::create_under(options, told, &|dataset| dataset.contract.to_owned())
    }

    /// The same with other contracts than the demo's.
    ///
    /// # Errors
    /// As [`Layout::create`].
    pub fn create_under(
        options: &Options,
        told: &mut dyn FnMut(&str),
        contract: &dyn Fn(&Dataset) -> String,
    ) -> anyhow::Result<Self> {
        let boroughs: Vec<&Borough> = BOROUGHS.iter().take(options.nodes.clamp(1, BOROUGHS.len())).collect();
        let layout = Self { dir: std::path::absolute(&options.dir)?, boroughs };
        let wanted = |dataset: &&Dataset| options.tables.is_empty() || options.tables.contains(&dataset.name);
        let datasets: Vec<&Dataset> = match &options.data {
            Some(_) => REAL.iter().collect(),
            None => SYNTHETIC.iter().filter(wanted).collect(),
        };
        told("certificates and manifest");
        let contracts = layout.write_contracts(&datasets, contract)?;
        layout.write_identities(options, contracts)?;
        layout.write_coordinator(options.port, &datasets)?;
        layout.write_nodes(options, told)?;
        Ok(layout)
    }

    /// Writes the boroughs' data and configurations in parallel.
    fn write_nodes(&self, options: &Options, told: &mut dyn FnMut(&str)) -> anyhow::Result<()> {
        let (next, (done, finished)) = (AtomicUsize::new(0), mpsc::channel());
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads.min(self.boroughs.len()) {
                let (next, done) = (&next, done.clone());
                scope.spawn(move || {
                    while let Some((borough, number)) = {
                        let place = next.fetch_add(1, Ordering::Relaxed);
                        self.boroughs.get(place).zip(u16::try_from(place).ok())
                    } {
                        let written = self.write_borough(options, borough, number.saturating_add(1));
                        let failed = written.is_err();
                        // Another borough has failed, and the receiver is gone.
                        if done.send((borough.name, written)).is_err() || failed {
                            break;
                        }
                    }
                });
            }
            drop(done);
            for (name, written) in finished {
                told(name);
                written?;
            }
            Ok(())
        })
    }

    fn write_borough(&self, options: &Options, borough: &Borough, number: u16) -> anyhow::Result<()> {
        let folder = self.node(borough.gss).join("data");
        let held = match &options.data {
            Some(data) => real::held(&std::path::absolute(data)?, borough.gss),
            None => generate::write(&folder, borough.gss, options.seed, options.scale, &options.tables)?,
        };
        self.write_node(options, borough, self.address(options, number), held)
    }

    fn write_contracts(
        &self,
        datasets: &[&Dataset],
        contract: &dyn Fn(&Dataset) -> String,
    ) -> anyhow::Result<Vec<DatasetEntry>> {
        let entries = datasets.iter().map(|dataset| {
            let text = contract(dataset);
            let contract = Contract::parse(&text, dataset.name)?;
            write(&self.dir.join("contracts").join(format!("{}.toml", dataset.name)), &text)?;
            Ok(DatasetEntry {
                name: contract.dataset,
                contract_sha256: contract.sha256,
                protection: contract.protection.name().to_owned(),
            })
        });
        entries.collect()
    }

    fn write_identities(&self, options: &Options, datasets: Vec<DatasetEntry>) -> anyhow::Result<()> {
        let port = options.port;
        let office = self.make_authority("coordinator")?;
        let analysts = self.make_authority("analysts")?;
        self.issue(&office, Role::Coordinator, &self.coordinator())?;
        let web = office.issue_web(&["localhost".to_owned(), "127.0.0.1".to_owned()], DAYS)?;
        write(&self.coordinator().join("web.pem"), &web.cert_pem)?;
        write_private(&self.coordinator().join("web.key"), web.key_pem.as_bytes())?;
        write(&self.web_authority(), office.ca_pem())?;
        self.issue(&analysts, Role::Analyst("demo".to_owned()), &self.dir.join("analyst"))?;
        self.issue(&analysts, Role::Auditor("demo".to_owned()), &self.dir.join("auditor"))?;
        let members = self.boroughs.iter().zip(1_u16..).map(|(borough, number)| {
            let gss: Gss = borough.gss.parse()?;
            let authority = self.make_authority(borough.gss)?;
            let folder = self.node(borough.gss);
            self.issue(&authority, Role::Node(gss.clone()), &folder)?;
            Ok(Member {
                gss,
                name: borough.name.to_owned(),
                address: self.address(options, number).unwrap_or_else(|| DIAL_OUT.to_owned()),
                ca: authority.ca_pem().to_owned(),
                log_key: log_key(&folder)?,
            })
        });
        // Two thirds of them: no two logs can both be confirmed unless a third of the boroughs helps.
        let quorum = u32::try_from(self.boroughs.len() * 2 / 3).ok().filter(|_| self.boroughs.len() > 3);
        let manifest = Manifest {
            federation: "London data federation (demo)".to_owned(),
            domain: DOMAIN.to_owned(),
            version: 1,
            previous: None,
            approvals: None,
            witnesses: quorum,
            witness_minutes: None,
            members: members.collect::<anyhow::Result<Vec<_>>>()?,
            coordinator: CoordinatorEntry {
                address: format!("127.0.0.1:{port}"),
                ca: office.ca_pem().to_owned(),
                log_key: log_key(&self.coordinator())?,
            },
            analysts: vec![AnalystAuthority { ca: analysts.ca_pem().to_owned() }],
            datasets,
        };
        manifest.check()?;
        write(&self.manifest(), &manifest.to_toml())?;
        let client = ["manifest = \"../manifest.toml\"", CLIENT_FILES].join("\n");
        write(&self.client(), &client)?;
        write(&self.auditor(), &client)
    }

    /// The address on which a borough's node listens. `None`: it dials out.
    fn address(&self, options: &Options, number: u16) -> Option<String> {
        let listening = self.boroughs.len().saturating_sub(options.dialling);
        let port = options.port.saturating_add(number);
        (usize::from(number) <= listening).then(|| format!("127.0.0.1:{port}"))
    }

    fn make_authority(&self, name: &str) -> anyhow::Result<Authority> {
        let authority = Authority::create(&format!("Demo authority of {name}"), DAYS)?;
        authority.save(self.authority(name))?;
        write(&self.revocation_list(name), &authority.revocation_list(&[], DAYS)?)?;
        Ok(authority)
    }

    fn issue(&self, authority: &Authority, role: Role, folder: &Path) -> anyhow::Result<()> {
        let issued = authority.issue(&PeerId::new(DOMAIN, role)?, DAYS)?;
        write(&folder.join("tls.pem"), &issued.cert_pem)?;
        Ok(write_private(&folder.join("tls.key"), issued.key_pem.as_bytes())?)
    }

    fn write_coordinator(&self, port: u16, datasets: &[&Dataset]) -> anyhow::Result<()> {
        write(&self.dir.join("reference/boroughs.csv"), &reference_csv())?;
        let config = CoordinatorFile {
            listen: format!("127.0.0.1:{port}"),
            manifest: "../manifest.toml",
            contracts: datasets.iter().map(|d| format!("../contracts/{}.toml", d.name)).collect(),
            state: "state",
            tls: TlsFile { revocation_lists: "../revocation", ..TLS },
            reference: vec![ReferenceEntry {
                name: "boroughs",
                title: "London boroughs: names, populations, inner or outer",
                path: "../reference/boroughs.csv",
            }],
            doors: DoorsFile { listen: Self::doors(port), certificate: "web.pem", key: "web.key" },
        };
        write(&self.coordinator().join("denied.txt"), DENIED)?;
        write(&self.coordinator().join("coordinator.toml"), &toml::to_string(&config)?)
    }

    fn write_node(
        &self,
        options: &Options,
        borough: &Borough,
        listen: Option<String>,
        held: Vec<Held>,
    ) -> anyhow::Result<()> {
        let folder = self.node(borough.gss);
        let today = chrono::Utc::now().date_naive();
        let agreement = AgreementFile {
            id: "DEMO-2026-01",
            version: 1,
            grant: vec![Grant {
                analysts: vec![format!("spiffe://{DOMAIN}/analyst/demo")],
                purposes: PURPOSES.to_vec(),
                datasets: held.iter().map(|h| h.dataset).collect(),
                from: (today - chrono::TimeDelta::days(1)).to_string(),
                until: (today + chrono::TimeDelta::days(DAYS)).to_string(),
            }],
        };
        write(&folder.join("agreement.toml"), &toml::to_string(&agreement)?)?;
        write(&folder.join("denied.txt"), DENIED)?;
        let dataset = held.into_iter().map(|held| DatasetFile {
            contract: format!("../../contracts/{}.toml", held.dataset),
            as_at: held.as_at,
            sql: held.sql,
            covers: held.covers,
            source: held
                .sources
                .into_iter()
                .map(|s| SourceFile { name: s.name, path: s.path, format: s.format })
                .collect(),
        });
        let config = NodeFile {
            borough: borough.gss,
            dial_out: listen.is_none(),
            listen,
            manifest: "../../manifest.toml",
            agreement: "agreement.toml",
            state: "state",
            tls: TLS,
            dataset: dataset.collect(),
        };
        let mut config = toml::Table::try_from(&config)?;
        if options.extracts {
            extracts::feed(&folder, borough, options.seed, options.scale, &mut config)?;
        }
        write(&folder.join("node.toml"), &toml::to_string(&config)?)
    }
}

const DENIED: &str =
    "# One SPIFFE id or SHA-256 fingerprint of a certificate a line: denied at once, whatever its authority says.\n";

/// Makes a party's log key, and returns its public half for the manifest.
fn log_key(folder: &Path) -> anyhow::Result<String> {
    let path = folder.join("state").join("log.key");
    std::fs::create_dir_all(folder.join("state"))?;
    let (key, _) = SigningKey::generate()?;
    key.save(&path)?;
    Ok(key.public_hex())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

#[derive(Serialize)]
struct NodeFile {
    borough: &'static str,
    listen: Option<String>,
    dial_out: bool,
    manifest: &'static str,
    agreement: &'static str,
    state: &'static str,
    tls: TlsFile,
    dataset: Vec<DatasetFile>,
}

#[derive(Serialize)]
struct TlsFile {
    certificate: &'static str,
    key: &'static str,
    revocation_lists: &'static str,
    denied: &'static str,
}

/// Paths relative to a node's folder.
const TLS: TlsFile =
    TlsFile { certificate: "tls.pem", key: "tls.key", revocation_lists: "../../revocation", denied: "denied.txt" };

const CLIENT_FILES: &str = "cert = \"tls.pem\"\nkey = \"tls.key\"\nrevocation_lists = \"../revocation\"\n";

#[derive(Serialize)]
struct DatasetFile {
    contract: String,
    as_at: String,
    sql: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    covers: Option<Covers>,
    source: Vec<SourceFile>,
}

#[derive(Serialize)]
struct SourceFile {
    name: String,
    path: PathBuf,
    format: &'static str,
}

#[derive(Serialize)]
struct AgreementFile {
    id: &'static str,
    version: u32,
    grant: Vec<Grant>,
}

#[derive(Serialize)]
struct Grant {
    analysts: Vec<String>,
    purposes: Vec<&'static str>,
    datasets: Vec<&'static str>,
    from: String,
    until: String,
}

#[derive(Serialize)]
struct CoordinatorFile {
    listen: String,
    manifest: &'static str,
    contracts: Vec<String>,
    state: &'static str,
    tls: TlsFile,
    reference: Vec<ReferenceEntry>,
    doors: DoorsFile,
}

#[derive(Serialize)]
struct DoorsFile {
    listen: String,
    certificate: &'static str,
    key: &'static str,
}

#[derive(Serialize)]
struct ReferenceEntry {
    name: &'static str,
    title: &'static str,
    path: &'static str,
}
