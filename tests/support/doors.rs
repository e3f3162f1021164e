//! A federation with doors, of real processes, and its callers.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use loda_demo::layout::{DOMAIN, Layout, Options};
use loda_demo::processes::Processes;
use loda_identity::{Authority, PeerId, Role};

const BINARY: &str = env!("CARGO_BIN_EXE_loda-demo");

pub struct Doors {
    pub layout: Layout,
    pub door: Door,
    pub processes: Processes,
    _dir: tempfile::TempDir,
}

/// An address, and the authority to trust there.
pub struct Door {
    /// `host:port`.
    pub address: String,
    /// A file of certificates.
    pub authority: PathBuf,
}

impl Deref for Doors {
    type Target = Door;

    fn deref(&self) -> &Door {
        &self.door
    }
}

/// The most common Flight SQL client.
pub const ADBC: &str = "ADBC 1.13 for Python, pyarrow, pandas, polars";

/// The number of analysts in the agreements beside the demo's own, without `other`: `a00` and so on.
pub const CROWD: usize = 50;

/// One federation for all tests that change nothing in it. Its processes end with this process.
pub static DOORS: LazyLock<Doors> = LazyLock::new(|| Doors::start(4, "origins = [\"https://dashboards.example\"]"));

/// An HTTP answer.
#[derive(Debug)]
pub struct Said {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Said {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}: {}", self.status, self.text()))
    }

    pub fn header(&self, name: &str) -> Option<String> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned());
        found.next_back()
    }
}

impl Doors {
    /// `nodes`: the number of boroughs. `of_doors`: more lines under `[doors]`.
    pub fn start(nodes: usize, of_doors: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options: Options = super::options(dir.path(), nodes, None);
        let layout = super::laid_out(&options);
        let config = layout.coordinator().join("coordinator.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, format!("{text}\n{of_doors}\n")).unwrap();
        for borough in &layout.boroughs {
            // More analysts beside the demo's own.
            let agreement = layout.node(borough.gss).join("agreement.toml");
            let text = std::fs::read_to_string(&agreement).unwrap();
            let demo = format!("\"spiffe://{DOMAIN}/analyst/demo\"");
            let crowd = (0..CROWD).map(|n| format!("a{n:02}")).chain(["other".to_owned()]);
            let crowd = crowd.map(|name| format!(", \"spiffe://{DOMAIN}/analyst/{name}\""));
            let more = format!("{demo}{}", crowd.collect::<String>());
            std::fs::write(&agreement, text.replace(&demo, &more)).unwrap();
        }
        let address = Layout::doors(options.port);
        let mut processes = Processes::start(Path::new(BINARY), &layout).unwrap();
        super::RUNTIME.block_on(processes.ready(Duration::from_secs(120), &mut |_| {})).unwrap();
        let door = Door { address, authority: layout.web_authority() };
        Self { layout, door, processes, _dir: dir }
    }

    /// The certificate and key of a role, issued by the analysts' authority. Beside them is the command line's
    /// configuration (`.toml`). The files are made once, and are complete before other tests read them.
    pub fn certificate(&self, role: Role) -> (PathBuf, PathBuf) {
        static MADE: Mutex<()> = Mutex::new(());
        let _held = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        let name = role.to_string().replace('/', "-");
        let at = |end: &str| self.layout.dir.join("analyst").join(format!("of{name}.{end}"));
        if !at("pem").exists() {
            let authority = Authority::load(self.layout.authority("analysts")).unwrap();
            let issued = authority.issue(&PeerId::new(DOMAIN, role).unwrap(), 30).unwrap();
            let name = |end: &str| at(end).file_name().unwrap().to_str().unwrap().to_owned();
            let config = format!(
                "manifest = \"../manifest.toml\"\ncert = {:?}\nkey = {:?}\nrevocation_lists = \"../revocation\"\n",
                name("pem"),
                name("key")
            );
            std::fs::write(at("toml"), config).unwrap();
            std::fs::write(at("key"), issued.key_pem).unwrap();
            std::fs::write(at("pem"), issued.cert_pem).unwrap();
        }
        (at("pem"), at("key"))
    }

    /// Runs the command line with the certificate of a role.
    pub fn loda(&self, role: Role, arguments: &[&str]) -> std::process::Output {
        let config = self.certificate(role).0.with_extension("toml");
        Command::new(BINARY).arg("loda").args(arguments).arg("--config").arg(config).output().unwrap()
    }

    /// A new token for a role.
    pub fn token(&self, role: Role, more: &[&str]) -> String {
        let output = self.loda(role, &[&["token", "new", "a test"], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Door {
    /// Asks with curl; `arguments` end with the path.
    pub fn curl(&self, arguments: &[&str]) -> Said {
        let (path, options) = arguments.split_last().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (head, body) = (dir.path().join("head"), dir.path().join("body"));
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--path-as-is", "--max-time", "90", "--write-out", "%{http_code}"])
            .arg("--cacert")
            .arg(&self.authority)
            .arg("--dump-header")
            .arg(&head)
            .arg("--output")
            .arg(&body)
            .args(options)
            .arg(format!("https://{}{path}", self.address))
            .output()
            .unwrap();
        let status = String::from_utf8_lossy(&output.stdout).parse().unwrap_or(0);
        let read = |path: &Path| std::fs::read(path).unwrap_or_default();
        Said { status, head: String::from_utf8_lossy(&read(&head)).into_owned(), body: read(&body) }
    }

    /// As [`Self::curl`], with a token.
    pub fn with(&self, token: &str, arguments: &[&str]) -> Said {
        let bearer = format!("Authorization: Bearer {token}");
        self.curl(&[&["-H", bearer.as_str()], arguments].concat())
    }

    /// Asks a question, waits for its end, and returns its address.
    pub fn ask(&self, token: &str, sql: &str, purpose: &str) -> String {
        let body = serde_json::json!({"sql": sql, "purpose": purpose}).to_string();
        let said = self.with(token, &["--json", &body, "/v1/questions"]);
        assert_eq!(said.status, 201, "{}", said.text());
        let place = said.header("location").unwrap();
        let ended = self.with(token, &[&format!("{place}?wait=60")]).json();
        assert_eq!(ended["state"], "answered", "{ended}");
        place
    }
}

/// The resident memory of a process in MiB.
pub fn resident_mib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

pub fn analyst() -> Role {
    Role::Analyst("demo".to_owned())
}

/// Checks that the table in docs/tools.md lists the client that has just worked. With `LODA_WRITE_DOCS=1` the entry is
/// written.
pub fn works(client: &str, features: &[&str]) {
    static PAGE: Mutex<()> = Mutex::new(());
    let _held = PAGE.lock().unwrap_or_else(PoisonError::into_inner);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tools.md");
    let mut page = std::fs::read_to_string(&path).unwrap();
    for feature in features {
        let row = format!("| {client} | {feature} | yes |\n");
        if page.contains(&row) {
            continue;
        }
        assert!(std::env::var_os("LODA_WRITE_DOCS").is_some(), "docs/tools.md lacks {row}");
        page.push_str(&row);
    }
    std::fs::write(&path, page).unwrap();
}

/// Whether a program is installed. Reports a missing one.
pub fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        super::skip::tool(format!("{program} is not installed"));
    }
    found
}

/// A Python with the packages that the doors' clients need. `None`: there is no Python or no registry.
pub fn python() -> Option<PathBuf> {
    static PYTHON: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
        let found = installed("python", "requirements.txt", &[]);
        if found.is_none() {
            super::skip::tool("no Python with tests/doors/clients/requirements.txt can be had here");
        }
        found
    });
    PYTHON.clone()
}

/// A Python with Superset, whose packages go with no others and with few versions of Python: where they do not install,
/// nothing is wrong with us.
pub fn superset() -> Option<PathBuf> {
    static PYTHON: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
        let found = installed("superset", "superset.txt", &[]);
        if found.is_none() {
            super::skip::host("Superset does not install here");
        }
        found
    });
    PYTHON.clone()
}

/// A Python with a verifier of transparency logs. It asks for a newer Python than most machines have, and needs none.
pub fn transparency() -> Option<PathBuf> {
    static PYTHON: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
        let found = installed("transparency", "transparency.txt", &["--ignore-requires-python"]);
        if found.is_none() {
            super::skip::tool("no Python with tests/doors/clients/transparency.txt can be had here");
        }
        found
    });
    PYTHON.clone()
}

/// A Python with the packages of a list, made once beside the build. `more`: further options of pip's.
fn installed(name: &str, requirements: &str, more: &[&str]) -> Option<PathBuf> {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/doors/clients").join(requirements);
    let wanted = std::fs::read(&requirements).unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let (python, installed) = (folder.join("bin/python"), folder.join("installed.txt"));
    if std::fs::read(&installed).is_ok_and(|there| there == wanted) {
        return Some(python);
    }
    let run = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    let made = run(Command::new("python3").args(["-m", "venv"]).arg(&folder))
        && run(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(more).arg("-r").arg(&requirements));
    if !made {
        return None;
    }
    std::fs::write(installed, wanted).unwrap();
    Some(python)
}
