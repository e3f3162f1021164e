//! TLS configurations: version 1.3 alone, certificates on both sides, nothing resumed.
//!
//! A resumed session would carry the client's certificate over from an earlier handshake, past a
//! manifest that no longer trusts it; so neither side keeps sessions, and every connection proves both
//! identities anew. The feature for TLS 1.2 is not compiled in.

use std::path::Path;
use std::sync::Arc;

use loda_federation::private::read;
use loda_federation::{PeerId, SignedQuestion};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::verify_tls13_signature;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::version::TLS13;
use rustls::{ClientConfig, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::error::{IdentityError, Refusal};
use crate::peer::Peer;
use crate::provider::provider;
use crate::signing::schemes;
use crate::trust::Trust;

/// The protocol that both sides must agree on: HTTP/2.
pub const ALPN: &[u8] = b"h2";

/// The protocol of a node that dials out: the same HTTP/2, with the TLS client as its server.
pub const DIAL: &[u8] = b"loda-dial/1";

/// Gives the trust of the moment.
pub(crate) type TrustNow = Box<dyn Fn() -> Arc<Trust> + Send + Sync>;

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
    /// [`loda_federation::FederationError::File`] or [`loda_federation::FederationError::Unusable`], with the file's name. That key and
    /// certificate match is found by [`server_config`] and [`client_config`].
    pub fn load(cert: &Path, key: &Path) -> Result<Self, IdentityError> {
        let at = |what: &str, path: &Path| format!("{what} {}", path.display());
        Self::from_bytes(&read(cert)?, &read(key)?, &at("certificate", cert), &at("key", key))
    }

    /// The same from PEM text.
    ///
    /// # Errors
    /// [`loda_federation::FederationError::Unusable`].
    pub fn from_pem(cert: &str, key: &str) -> Result<Self, IdentityError> {
        Self::from_bytes(cert.as_bytes(), key.as_bytes(), "certificate", "key")
    }

    /// Signs a text with the certificate's key, for others to check later.
    ///
    /// # Errors
    /// [`IdentityError::Tls`] where the key cannot sign.
    pub(crate) fn sign(&self, text: String) -> Result<SignedQuestion, IdentityError> {
        let key = provider().key_provider.load_private_key(self.key.clone_key())?;
        let signer =
            key.choose_scheme(&schemes()).ok_or_else(|| rustls::Error::General("the key signs no text".to_owned()))?;
        let (scheme, signature) = (signer.scheme().into(), signer.sign(text.as_bytes())?);
        Ok(SignedQuestion { text, scheme, signature, certificate: self.leaf.to_vec() })
    }

    /// Our own identity under `trust`: for a program to find at its start, and not in others' logs, that
    /// its certificate is not good.
    ///
    /// # Errors
    /// As [`Trust::peer_of`].
    pub fn peer(&self, trust: &Trust) -> Result<Peer, Refusal> {
        trust.peer_of(std::slice::from_ref(&self.leaf))
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

/// The configuration of a server that admits members of the federation and nobody else.
///
/// The handshake itself decides who the caller is ([`Trust::peer_of`]). A caller that is nobody gets no connection.
///
/// # Errors
/// [`IdentityError::Tls`] where key and certificate do not match.
pub fn server_config(creds: &Credentials, trust: &Arc<Trust>) -> Result<Arc<ServerConfig>, IdentityError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(Callers::Members(Arc::clone(trust))))
        .with_single_cert(vec![creds.leaf.clone()], creds.key.clone_key())?;
    // A resumed session would copy the stored certificate of the caller, past a revocation.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = vec![ALPN.to_vec(), DIAL.to_vec()];
    Ok(Arc::new(config))
}

/// The configuration of a server that asks for no certificate of the federation. `web` is its own certificate. A
/// certificate that a caller shows must be a member's, under the trust of that moment.
///
/// # Errors
/// [`IdentityError::Tls`] where TLS cannot be set up.
pub(crate) fn public_server_config(
    web: Arc<dyn ResolvesServerCert>,
    trust: TrustNow,
) -> Result<Arc<ServerConfig>, IdentityError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(Callers::Anybody(trust)))
        .with_cert_resolver(web);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = vec![ALPN.to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The configuration of a client that talks to `expected` and nobody else.
///
/// It trusts only the authority that the manifest gives to `expected`, and of that authority's
/// certificates only those whose one URI is `expected`.
///
/// # Errors
/// [`loda_federation::FederationError::Unusable`] if `expected` is no server of the manifest; otherwise as [`server_config`].
pub fn client_config(
    creds: &Credentials,
    trust: &Arc<Trust>,
    expected: &PeerId,
) -> Result<Arc<ClientConfig>, IdentityError> {
    trust.knows_server(expected)?;
    let verifier = ExpectedServer { trust: Arc::clone(trust), expected: expected.clone() };
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

/// The callers that a server lets through the handshake. It makes webpki's checks of a certificate that is shown, and
/// ours of the identity.
enum Callers {
    /// Members of the federation, and nobody else.
    Members(Arc<Trust>),
    /// Anybody. A certificate that is shown must be a member's, under the trust of the moment.
    Anybody(TrustNow),
}

impl std::fmt::Debug for Callers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.client_auth_mandatory() { "Members" } else { "Anybody" })
    }
}

/// Signatures in handshakes, for both verifiers: of TLS 1.3 alone, by the library's own check.
macro_rules! tls13_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _cert: &CertificateDer<'_>,
            _dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Err(only_tls13())
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            provider().signature_verification_algorithms.supported_schemes()
        }
    };
}

impl ClientCertVerifier for Callers {
    fn client_auth_mandatory(&self) -> bool {
        matches!(self, Self::Members(_))
    }

    /// No hints: who belongs to the federation is not for strangers, and our clients have one certificate.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if !intermediates.is_empty() {
            return Err(Refusal::ChainLength.into_tls());
        }
        let trust = match self {
            Self::Members(trust) => Arc::clone(trust),
            Self::Anybody(trust_now) => trust_now(),
        };
        trust.client(end_entity, now).map_err(Refusal::into_tls)?;
        Ok(ClientCertVerified::assertion())
    }

    tls13_signatures!();
}

/// The same for the server that a client expects. Custom only in that it asks for more.
#[derive(Debug)]
struct ExpectedServer {
    trust: Arc<Trust>,
    expected: PeerId,
}

impl ServerCertVerifier for ExpectedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if !intermediates.is_empty() {
            return Err(Refusal::ChainLength.into_tls());
        }
        self.trust.server(&self.expected, end_entity, now)?;
        Ok(ServerCertVerified::assertion())
    }

    tls13_signatures!();
}

fn only_tls13() -> rustls::Error {
    rustls::Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOffered)
}
