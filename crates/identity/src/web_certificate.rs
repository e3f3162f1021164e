//! A certificate for the web, by an authority that people's own tools believe. It says nothing about the federation.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use loda_federation::private::read;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::IdentityError;
use crate::live::LOOK;
use crate::provider::provider;

/// A certificate for the web, with its chain, read again when its files change. No `Debug` of the key: rustls keeps it.
#[derive(Clone)]
pub struct WebCertificate(Arc<Files>);

struct Files {
    certificate: PathBuf,
    key: PathBuf,
    now: RwLock<(Stamp, Arc<CertifiedKey>)>,
}

type Stamp = [Option<(u64, SystemTime)>; 2];

impl WebCertificate {
    /// Reads a PEM file with the certificate and, where it has one, its chain; and one with the private key.
    ///
    /// # Errors
    /// [`loda_federation::FederationError::File`] or [`loda_federation::FederationError::Unusable`], with the file's name.
    pub fn load(certificate: PathBuf, key: PathBuf) -> Result<Self, IdentityError> {
        let stamp = stamp(&certificate, &key);
        let loaded = certified(&certificate, &key)?;
        Ok(Self(Arc::new(Files { certificate, key, now: RwLock::new((stamp, Arc::new(loaded))) })))
    }

    /// Looks at the files every [`LOOK`]; one that cannot be used is reported, and the last good one stays.
    pub async fn keep_current(self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let files = Arc::clone(&self.0);
            let _looked = tokio::task::spawn_blocking(move || files.look()).await;
        }
    }
}

impl Files {
    fn look(&self) {
        let stamp = stamp(&self.certificate, &self.key);
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        if now.0 == stamp {
            return;
        }
        now.0 = stamp;
        match certified(&self.certificate, &self.key) {
            Ok(loaded) => now.1 = Arc::new(loaded),
            Err(fault) => tracing::error!(code = "web_certificate", "{fault}; the last good one stays in use"),
        }
    }
}

fn stamp(certificate: &PathBuf, key: &PathBuf) -> Stamp {
    [certificate, key].map(|path| {
        let about = std::fs::metadata(path).ok()?;
        Some((about.len(), about.modified().ok()?))
    })
}

fn certified(certificate: &PathBuf, key: &PathBuf) -> Result<CertifiedKey, IdentityError> {
    let unusable = |path: &PathBuf, reason: &str| IdentityError::unusable(path.display().to_string(), reason);
    let chain = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| unusable(certificate, "is not PEM"))?;
    if chain.is_empty() {
        return Err(unusable(certificate, "holds no certificate"));
    }
    let secret = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| unusable(key, "holds no PEM private key"))?;
    CertifiedKey::from_der(chain, secret, &provider())
        .map_err(|_| unusable(key, "is not the key of the certificate, or of a kind that is not known"))
}

impl std::fmt::Debug for WebCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("WebCertificate").field(&self.0.certificate).finish()
    }
}

impl ResolvesServerCert for WebCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.now.read().unwrap_or_else(PoisonError::into_inner).1))
    }
}
