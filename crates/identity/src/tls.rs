//! TLS configurations: version 1.3 alone, certificates on both sides, nothing resumed.
//!
//! A resumed session would carry the client's certificate over from an earlier handshake, past a
//! manifest that no longer trusts it; so neither side keeps sessions, and every connection proves both
//! identities anew. The feature for TLS 1.2 is not compiled in.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, ServerConfig, SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::error::{IdentityError, Refusal};
use crate::manifest::Manifest;
use crate::peer::{Peer, PeerId};
use crate::private::read;
use crate::trust::{Anchor, Leaf, anchor_for, anchors, peer_of, provider};

/// The DNS name in every certificate of the federation. TLS libraries insist on a server name, and
/// it is the same for all, so that it cannot be taken for an identity: what is checked is the SPIFFE URI.
/// Addresses in the manifest may therefore change without new certificates.
pub const SERVER_NAME: &str = "loda.internal";

/// The protocol that both sides must agree on.
pub(crate) const ALPN: &[u8] = b"h2";

/// Our own certificate and its private key. No `Debug`, so that the key cannot be printed by accident.
pub struct Credentials {
    leaf: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Clone for Credentials {
    fn clone(&self) -> Self {
        Self { leaf: self.leaf.clone(), key: self.key.clone_key() }
    }
}

impl Credentials {
    /// Reads a PEM file with exactly one certificate, and one with its private key.
    ///
    /// # Errors
    /// [`IdentityError::File`] or [`IdentityError::Unusable`], with the file's name. That key and
    /// certificate match is found by [`server_config`] and [`client_config`].
    pub fn load(cert: &Path, key: &Path) -> Result<Self, IdentityError> {
        let at = |what: &str, path: &Path| format!("{what} {}", path.display());
        Self::from_bytes(&read(cert)?, &read(key)?, &at("certificate", cert), &at("key", key))
    }

    /// The same from PEM text.
    ///
    /// # Errors
    /// [`IdentityError::Unusable`].
    pub fn from_pem(cert: &str, key: &str) -> Result<Self, IdentityError> {
        Self::from_bytes(cert.as_bytes(), key.as_bytes(), "certificate", "key")
    }

    /// Who we are under `manifest`: for a program to find at its start, and not in others' logs, that
    /// its certificate is not good.
    ///
    /// # Errors
    /// As [`peer_of`].
    pub fn peer(&self, manifest: &Manifest) -> Result<Peer, IdentityError> {
        peer_of(std::slice::from_ref(&self.leaf), manifest)
    }

    fn from_bytes(cert: &[u8], key: &[u8], cert_at: &str, key_at: &str) -> Result<Self, IdentityError> {
        let certificates = CertificateDer::pem_slice_iter(cert)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| IdentityError::unusable(cert_at, "is not PEM"))?;
        let [leaf] = certificates.as_slice() else {
            let reason = format!(
                "holds {} certificates; keep the program's own alone, without its authority's",
                certificates.len()
            );
            return Err(IdentityError::unusable(cert_at, reason));
        };
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| IdentityError::unusable(key_at, "holds no PEM private key"))?;
        Ok(Self { leaf: leaf.clone(), key })
    }
}

/// The configuration of a server that admits the manifest's authorities' certificates and no others.
///
/// The handshake lets in whatever any of the authorities signed; which identity it is, and whether
/// that authority may issue it, [`peer_of`] decides right after it. [`crate::incoming`] does both.
///
/// # Errors
/// [`IdentityError::Manifest`], or [`IdentityError::Tls`] where key and certificate do not match.
pub fn server_config(creds: &Credentials, manifest: &Manifest) -> Result<Arc<ServerConfig>, IdentityError> {
    manifest.check()?;
    let mut roots = RootCertStore::empty();
    for anchor in anchors(manifest)? {
        roots.add(anchor.der)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| IdentityError::unusable("client verifier", error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![creds.leaf.clone()], creds.key.clone_key())?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// The configuration of a client that talks to `expected` and nobody else.
///
/// It trusts only the authority that the manifest gives to `expected`, and of that authority's
/// certificates only those whose one URI is `expected`.
///
/// # Errors
/// [`IdentityError::Unusable`] if `expected` is no server of the manifest; otherwise as [`server_config`].
pub fn client_config(
    creds: &Credentials,
    manifest: &Manifest,
    expected: &PeerId,
) -> Result<Arc<ClientConfig>, IdentityError> {
    manifest.check()?;
    let anchor = anchor_for(expected, manifest)?;
    let chain = WebPkiServerVerifier::builder_with_provider(anchor.store()?, provider())
        .build()
        .map_err(|error| IdentityError::unusable("server verifier", error.to_string()))?;
    let verifier = ExpectedServer { chain, anchor, expected: expected.clone(), name: server_name()? };
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(vec![creds.leaf.clone()], creds.key.clone_key())?;
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

pub(crate) fn server_name() -> Result<ServerName<'static>, IdentityError> {
    ServerName::try_from(SERVER_NAME).map_err(|_| IdentityError::unusable("server name", "is not a DNS name"))
}

/// webpki's check of the chain, and ours of the identity. Custom only in that it asks for more.
#[derive(Debug)]
struct ExpectedServer {
    chain: Arc<WebPkiServerVerifier>,
    anchor: Anchor,
    expected: PeerId,
    name: ServerName<'static>,
}

impl ExpectedServer {
    fn check_identity(&self, leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), Refusal> {
        self.anchor.current(now)?;
        let leaf = Leaf::parse(leaf)?;
        if leaf.id == self.expected { Ok(()) } else { Err(Refusal::WrongPeer) }
    }
}

impl ServerCertVerifier for ExpectedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if !intermediates.is_empty() {
            return Err(refused(Refusal::ChainLength));
        }
        let verified = self.chain.verify_server_cert(end_entity, &[], &self.name, ocsp_response, now)?;
        self.check_identity(end_entity, now).map_err(refused)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

fn refused(refusal: Refusal) -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal))))
}
