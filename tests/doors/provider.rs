//! A real identity provider: the tokens that are accepted, and the tokens that are not.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use loda_identity::Role;
use serde_json::Value;

use crate::support::doors::{Doors, analyst, has, works};
use crate::support::{Running, free_ports};

/// The provider's packages, installed once beside the build.
pub(crate) fn installed() -> Option<std::path::PathBuf> {
    if !has("node") || !has("npm") {
        return None;
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/doors/clients");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("provider");
    std::fs::create_dir_all(&folder).unwrap();
    let wanted = std::fs::read(here.join("package.json")).unwrap();
    let there = std::fs::read(folder.join("package.json")).is_ok_and(|there| there == wanted);
    std::fs::copy(here.join("provider.mjs"), folder.join("provider.mjs")).unwrap();
    if !there || !folder.join("node_modules/oidc-provider").is_dir() {
        std::fs::write(folder.join("package.json"), wanted).unwrap();
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&folder);
        let npm = npm.output().unwrap();
        if !npm.status.success() {
            crate::support::skip::tool(format!(
                "oidc-provider cannot be installed: {}",
                String::from_utf8_lossy(&npm.stderr)
            ));
            return None;
        }
    }
    Some(folder)
}

#[test]
fn a_providers_tokens_come_in_and_forged_stolen_and_old_ones_do_not() {
    if !has("curl") {
        return;
    }
    let Some(folder) = installed() else { return };
    let port = free_ports();
    let more = format!(
        "[[doors.provider]]\nname = \"college\"\nissuer = \"http://127.0.0.1:{port}\"\naudience = \"loda\"\n\
         analysts = {{ groups = \"loda-analysts\" }}\nauditors = {{ groups = \"loda-auditors\" }}\n"
    );
    let doors = Doors::start(1, &more);
    let (certificate, key) = doors.certificate(Role::Analyst("college-laptop".to_owned()));
    let der = rustls_pem(&certificate);
    let thumbprint = URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, &der));
    let mut provider = Command::new("node");
    provider.arg("provider.mjs").arg(port.to_string()).arg(thumbprint).current_dir(folder);
    provider.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut provider = Running(provider.spawn().unwrap());
    let lines = BufReader::new(provider.0.stdout.take().unwrap()).lines();
    let line = lines.map(Result::unwrap).find(|line| line.starts_with('{')).expect("the provider says who it is");
    let told: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
    let good = |name: &str| told["good"][name].as_str().unwrap().to_owned();

    // A person gets the same name each time, and the name does not reveal who they are.
    let me = doors.with(&good("analyst"), &["/v1/me"]).json();
    let id = me["id"].as_str().unwrap_or_else(|| panic!("{me}")).to_owned();
    assert!(id.contains("/analyst/college.") && me["by"] == "provider" && !id.contains("analyst/analyst"), "{me}");
    assert_eq!(doors.with(&good("elliptic"), &["/v1/me"]).json()["id"], id.as_str());
    let auditor = doors.with(&good("auditor"), &["/v1/me"]).json();
    assert_eq!(auditor["scopes"], serde_json::json!(["read", "audit"]));
    assert_eq!(doors.with(&good("auditor"), &["/v1/log"]).status, 200);
    assert_eq!(doors.with(&good("analyst"), &["/v1/log"]).status, 403);
    // The boroughs refuse a person whom their agreements do not name. The agreements can use this name.
    let sql = r#"{"sql": "SELECT borough, COUNT(DISTINCT person_key) AS n FROM residents GROUP BY borough", "purpose": "demo"}"#;
    let place = doors.with(&good("analyst"), &["--json", sql, "/v1/questions"]).header("location").unwrap();
    doors.with(&good("analyst"), &[&format!("{place}?wait=30")]);
    let result = doors.with(&good("analyst"), &[&format!("{place}/result")]).text();
    assert!(result.contains("the agreement does not name this analyst"), "{result}");
    // A provider's token cannot make tokens.
    assert_eq!(doors.with(&good("analyst"), &["--json", r#"{"name": "x", "days": 1}"#, "/v1/tokens"]).status, 403);

    let bad = told["bad"].as_object().unwrap();
    assert!(bad.len() >= 24);
    for (what, token) in bad {
        let said = doors.with(token.as_str().unwrap(), &["/v1/me"]);
        let allowed: &[u16] = if what == "no group of ours" { &[403] } else { &[401] };
        assert!(allowed.contains(&said.status), "{what}: {} {}", said.status, said.text());
    }
    // Many bad tokens from an address do not keep good ones from there out. The operator's log gets only a few lines.
    let forged =
        bad.iter().find(|(what, _)| *what != "no group of ours").and_then(|(_, token)| token.as_str()).unwrap();
    std::thread::scope(|threads| {
        for _ in 0..40 {
            threads.spawn(|| assert_eq!(doors.with(forged, &["/v1/me"]).status, 401));
        }
        for _ in 0..10 {
            assert_eq!(doors.with(&good("analyst"), &["/v1/me"]).status, 200);
        }
    });
    // A token that is bound to a certificate is accepted with it, and refused when it is replayed without it.
    let bearer = format!("Authorization: Bearer {}", told["bound"].as_str().unwrap());
    let shown = ["--cert", certificate.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let with_it = doors.curl(&[&shown[..], &["-H", &bearer, "/v1/me"]].concat());
    assert_eq!((with_it.status, with_it.json()["id"].as_str()), (200, Some(id.as_str())), "{}", with_it.text());
    let other = doors.certificate(analyst());
    let shown = ["--cert", other.0.to_str().unwrap(), "--key", other.1.to_str().unwrap()];
    assert_eq!(doors.curl(&[&shown[..], &["-H", &bearer, "/v1/me"]].concat()).status, 401);
    let bearer = format!("Authorization: Bearer {}", good("analyst"));
    assert_eq!(doors.curl(&[&shown[..], &["-H", &bearer, "/v1/me"]].concat()).status, 401);

    // If a provider is down, its people get in only while its keys are known. After a restart, they are not known.
    drop(provider);
    let again = doors.with(&good("analyst"), &["/v1/me"]);
    assert_eq!(again.status, 200, "its keys are believed for a quarter of an hour");
    let down = Doors::start(1, &more);
    let said = down.with(&good("analyst"), &["/v1/me"]);
    assert_eq!((said.status, said.json()["code"].as_str()), (503, Some("provider_unreachable")));
    assert_eq!(down.with(&down.token(analyst(), &[]), &["/v1/me"]).status, 200, "others come in");
    works("oidc-provider 9.13", &["bearer tokens of a provider, RS256 and ES256, bound to certificates"]);
    // No log contains any part of a token.
    let log = std::fs::read_to_string(doors.layout.coordinator().join("state/log.jsonl")).unwrap();
    let said = std::fs::read_to_string(doors.layout.coordinator().join("process.log")).unwrap();
    let lines = said.matches("not let in").count();
    assert!((1..20).contains(&lines), "{lines} lines of more than sixty refusals");
    for token in [good("analyst"), good("auditor")] {
        let signature = token.rsplit('.').next().unwrap();
        assert!(!log.contains(signature) && !said.contains(signature));
    }
}

fn rustls_pem(path: &Path) -> Vec<u8> {
    use tokio_rustls::rustls::pki_types::CertificateDer;
    use tokio_rustls::rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_file(path).unwrap().to_vec()
}
