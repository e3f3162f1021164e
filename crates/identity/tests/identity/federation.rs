//! A small federation: Camden, Hackney, a coordinator and one authority for people.

use std::sync::Arc;

use loda_federation::manifest::{self, CoordinatorEntry, DatasetEntry, Member};
use loda_federation::{Gss, Manifest, PeerId, Role, SigningKey};
use loda_identity::{Authority, Credentials, DenyList, RevocationList, Trust};
use rcgen::{CertificateParams, DnType, Issuer, KeyPair};

pub const DOMAIN: &str = "london.example";
pub const CAMDEN: &str = "spiffe://london.example/borough/E09000007/node";
pub const HACKNEY: &str = "spiffe://london.example/borough/E09000012/node";
pub const COORDINATOR: &str = "spiffe://london.example/coordinator";
pub const ALICE: &str = "spiffe://london.example/analyst/alice";
pub const WATCHER: &str = "spiffe://london.example/auditor/watcher";

pub struct Federation {
    pub camden: Authority,
    pub hackney: Authority,
    pub coordinator: Authority,
    pub people: Authority,
    pub manifest: Manifest,
}

impl Federation {
    pub fn new() -> Self {
        let [camden, hackney, coordinator, people] =
            ["Camden", "Hackney", "Coordinator", "People"].map(|name| Authority::create(name, 30).unwrap());
        let log_key = || SigningKey::generate().unwrap().0.public_hex();
        let member = |gss: &str, name: &str, address: &str, authority: &Authority| Member {
            gss: gss.parse().unwrap(),
            name: name.into(),
            address: address.into(),
            ca: authority.ca_pem().into(),
            log_key: log_key(),
        };
        let manifest = Manifest {
            federation: "London".into(),
            domain: DOMAIN.into(),
            version: 1,
            previous: None,
            approvals: None,
            witnesses: None,
            witness_minutes: None,
            coordinator: CoordinatorEntry {
                address: "127.0.0.1:7400".into(),
                ca: coordinator.ca_pem().into(),
                log_key: log_key(),
            },
            members: vec![
                member("E09000007", "Camden", "127.0.0.1:7407", &camden),
                member("E09000012", "Hackney", "127.0.0.1:7412", &hackney),
            ],
            analysts: vec![manifest::Authority { ca: people.ca_pem().into() }],
            datasets: vec![DatasetEntry {
                name: "council_tax".into(),
                contract_sha256: "ab".repeat(32),
                protection: "cell-key".into(),
            }],
        };
        manifest.check().unwrap();
        Self { camden, hackney, coordinator, people, manifest }
    }

    /// A current list of each authority that takes nothing back.
    pub fn lists(&self) -> Vec<RevocationList> {
        let of = |authority: &Authority| list(authority, &[], 30);
        [&self.camden, &self.hackney, &self.coordinator, &self.people].into_iter().map(of).collect()
    }

    /// What members believe.
    pub fn trust(&self) -> Arc<Trust> {
        self.trust_with(self.lists())
    }

    pub fn trust_with(&self, lists: Vec<RevocationList>) -> Arc<Trust> {
        let manifest = Arc::new(self.manifest.clone());
        Arc::new(Trust::new(manifest, lists, DenyList::default(), None).unwrap().0)
    }

    /// The credentials that belong to an identity.
    pub fn credentials(&self, id: &str) -> Credentials {
        let authority = match id.parse::<PeerId>().unwrap().role {
            Role::Node(gss) if gss == "E09000007".parse::<Gss>().unwrap() => &self.camden,
            Role::Node(_) => &self.hackney,
            Role::Coordinator => &self.coordinator,
            Role::Analyst(_) | Role::Auditor(_) => &self.people,
        };
        issued(authority, id, 1)
    }
}

/// An authority's list.
pub fn list(authority: &Authority, serials: &[Vec<u8>], days: i64) -> RevocationList {
    let pem = authority.revocation_list(serials, days).unwrap();
    RevocationList::parse(pem.as_bytes(), "list").unwrap().remove(0)
}

pub fn issued(authority: &Authority, id: &str, days: i64) -> Credentials {
    let issued = authority.issue(&id.parse().unwrap(), days).unwrap();
    Credentials::from_pem(&issued.cert_pem, &issued.key_pem).unwrap()
}

/// A certificate that `Authority::issue` would not make, signed by the authority's real key, and its own key.
pub fn forge(
    authority: &Authority,
    name: &str,
    change: impl FnOnce(&mut CertificateParams),
) -> (rcgen::Certificate, KeyPair) {
    let directory = tempfile::tempdir().unwrap();
    authority.save(directory.path()).unwrap();
    let ca_key = std::fs::read_to_string(directory.path().join("ca.key")).unwrap();
    let mut ca = CertificateParams::default();
    ca.distinguished_name = rcgen::DistinguishedName::new();
    ca.distinguished_name.push(DnType::CommonName, name);
    let issuer = Issuer::new(ca, KeyPair::from_pem(&ca_key).unwrap());

    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = rcgen::IsCa::ExplicitNoCa;
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.extended_key_usages =
        vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth, rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    change(&mut params);
    (params.signed_by(&key, &issuer).unwrap(), key)
}

/// The names of a certificate: URIs, and the DNS name that all have.
pub fn names(uris: &[&str]) -> Vec<rcgen::SanType> {
    let uris = uris.iter().map(|uri| rcgen::SanType::URI((*uri).try_into().unwrap()));
    uris.chain([rcgen::SanType::DnsName("loda.internal".try_into().unwrap())]).collect()
}
