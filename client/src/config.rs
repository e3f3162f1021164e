//! The configuration: the coordinator's address and the asker's certificate.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The environment variable that names the configuration file.
pub const CONFIG_VARIABLE: &str = "LODA_CONFIG";
/// The default name of the configuration file.
pub const CONFIG_FILE: &str = "loda.toml";

/// A checked configuration: every path is absolute or relative to the working directory, and exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The coordinator's `host:port`; `None`: the manifest's.
    pub coordinator: Option<String>,
    /// The federation manifest.
    pub manifest: PathBuf,
    /// The asker's certificate (PEM).
    pub cert: PathBuf,
    /// Its private key (PEM).
    pub key: PathBuf,
    /// The folder of revocation lists.
    pub revocation_lists: PathBuf,
}

impl Config {
    /// Reads the file that `named` names, else `LODA_CONFIG`, else `./loda.toml`.
    ///
    /// # Errors
    /// If the file is missing, is not TOML of this form, or names missing files.
    pub fn find(named: Option<&Path>) -> Result<Self, ConfigError> {
        let file = named
            .map(Path::to_path_buf)
            .or_else(|| std::env::var_os(CONFIG_VARIABLE).map(PathBuf::from))
            .unwrap_or_else(|| PathBuf::from(CONFIG_FILE));
        Self::load(&file)
    }

    /// Reads one configuration file. Paths in it are relative to it.
    ///
    /// # Errors
    /// As [`Config::find`].
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file)
            .map_err(|source| ConfigError::Unreadable { file: file.to_path_buf(), source })?;
        let written: Written = toml::from_str(&text)
            .map_err(|error| ConfigError::Malformed { file: file.to_path_buf(), error: error.to_string() })?;
        let folder = file.parent().unwrap_or_else(|| Path::new(""));
        let existing = |setting: &'static str, path: PathBuf| {
            let resolved = folder.join(path);
            if resolved.is_file() {
                Ok(resolved)
            } else {
                Err(ConfigError::Missing { file: file.to_path_buf(), setting, path: resolved })
            }
        };
        if let Some(address) = &written.coordinator
            && !is_host_port(address)
        {
            return Err(ConfigError::Address { file: file.to_path_buf(), address: address.clone() });
        }
        Ok(Self {
            coordinator: written.coordinator,
            manifest: existing("manifest", written.manifest)?,
            cert: existing("cert", written.cert)?,
            key: existing("key", written.key)?,
            revocation_lists: folder.join(written.revocation_lists),
        })
    }
}

/// A fault of the configuration, with the file and the fix.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}\n  fix: write it (see `loda --help`), or name another with --config FILE or {CONFIG_VARIABLE}", file.display())]
    Unreadable {
        /// The configuration file.
        file: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is not TOML of this form.
    #[error("{}: {}\n  fix: the settings are coordinator (optional), manifest, cert, key and revocation_lists, each a text", file.display(), error.trim_end())]
    Malformed {
        /// The configuration file.
        file: PathBuf,
        /// The parser's message, with line and column.
        error: String,
    },
    /// A named file is missing.
    #[error("{}: {setting} = {} is not a file\n  fix: correct the path; it is relative to the folder of the configuration file", file.display(), path.display())]
    Missing {
        /// The configuration file.
        file: PathBuf,
        /// The setting that names it.
        setting: &'static str,
        /// The path that was tried.
        path: PathBuf,
    },
    /// The address is not `host:port`.
    #[error("{}: coordinator = {address:?} is not an address\n  fix: write \"host:port\", for example \"coordinator.example:7443\", without https://", file.display())]
    Address {
        /// The configuration file.
        file: PathBuf,
        /// The address as it is written.
        address: String,
    },
    /// A certificate, key, manifest or revocation list that cannot be used.
    #[error("{reason}\n  fix: give what the federation issued")]
    Unusable {
        /// The file and the reason.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    coordinator: Option<String>,
    manifest: PathBuf,
    cert: PathBuf,
    key: PathBuf,
    revocation_lists: PathBuf,
}

fn is_host_port(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::fs;

    use super::*;

    fn folder(config: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        for file in ["manifest.toml", "alice.pem", "alice.key"] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        let file = folder.path().join("loda.toml");
        fs::write(&file, config).unwrap();
        (folder, file)
    }

    const GOOD: &str =
        "manifest = \"manifest.toml\"\ncert = \"alice.pem\"\nkey = \"alice.key\"\nrevocation_lists = \"revocation\"\n";

    #[test]
    fn paths_are_relative_to_the_file() {
        let (folder, file) = folder(GOOD);
        let config = Config::load(&file).unwrap();
        assert_eq!(config.cert, folder.path().join("alice.pem"));
        assert_eq!(config.coordinator, None);
    }

    #[test]
    fn errors_name_the_file_and_the_fix() {
        let cases = [
            (format!("{GOOD}colour = \"red\"\n"), "colour"),
            (GOOD.replace("alice.key", "bob.key"), "key ="),
            (format!("coordinator = \"https://x:1\"\n{GOOD}"), "host:port"),
            (format!("coordinator = \"x\"\n{GOOD}"), "host:port"),
            ("manifest = 3".into(), "line 1"),
            (String::new(), "manifest"),
        ];
        for (text, expected) in cases {
            let (_folder, file) = folder(&text);
            let message = Config::load(&file).unwrap_err().to_string();
            assert!(message.contains("loda.toml") && message.contains("fix:"), "{message}");
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_missing_file_says_how_to_name_another() {
        let message = Config::load(Path::new("nowhere/loda.toml")).unwrap_err().to_string();
        assert!(message.contains("nowhere/loda.toml") && message.contains("--config"), "{message}");
    }
}
