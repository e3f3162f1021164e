//! A development authority. In production, certificates come from a council's own authority, step-ca or
//! SPIRE; they need what [`Authority::issue`] gives and nothing more.

use std::fs;
use std::path::Path;
use std::time::Duration;

use loda_federation::FederationError;
use loda_federation::private::{read, write_private};
use loda_federation::{PeerId, SERVER_NAME};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData,
    RevocationReason, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::certificate::{Leaf, unix_now};
use crate::error::IdentityError;

const DAY: i64 = 24 * 60 * 60;
/// How far the clocks of two hosts may differ.
const CLOCK_SKEW: i64 = 5 * 60;

/// A certificate authority that signs leaves directly (path length 0), P-256.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    ca_pem: String,
}

/// A certificate and its private key, both PEM. No `Debug`, so that the key cannot be printed by accident.
pub struct Issued {
    /// The certificate alone, without the authority's.
    pub cert_pem: String,
    /// PKCS#8; secret: write it with [`write_private`].
    pub key_pem: String,
}

/// The contents of a certificate; who signed it is another question.
pub struct Described {
    /// Its one identity.
    pub id: PeerId,
    /// Its serial number, without leading zeros.
    pub serial: Vec<u8>,
    /// When it ends, in Unix seconds.
    pub not_after: i64,
}

/// Reads one certificate in PEM.
///
/// # Errors
/// [`FederationError::Unusable`] or [`IdentityError::Refused`].
pub fn describe(cert_pem: &str) -> Result<Described, IdentityError> {
    let der = CertificateDer::from_pem_slice(cert_pem.as_bytes())
        .map_err(|_| IdentityError::unusable("certificate", "is not PEM"))?;
    let leaf = Leaf::parse(&der)?;
    Ok(Described { id: leaf.id, serial: leaf.serial, not_after: leaf.not_after })
}

impl Authority {
    /// A new authority with a new key, valid from now for `days`. `name` is for people.
    ///
    /// # Errors
    /// [`IdentityError::Generate`], [`FederationError::Crypto`] or, for a number of days that no date
    /// has, [`FederationError::Unusable`].
    pub fn create(name: &str, days: i64) -> Result<Self, IdentityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = ca_params(name);
        set_validity(&mut params, days)?;
        params.serial_number = Some(random_serial()?);
        let ca_pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), ca_pem })
    }

    /// Reads what [`Authority::save`] wrote.
    ///
    /// # Errors
    /// [`FederationError::File`]; [`FederationError::Unusable`] if the files are not an authority of ours or do
    /// not belong together.
    pub fn load(dir: impl AsRef<Path>) -> Result<Self, IdentityError> {
        let dir = dir.as_ref();
        let unusable = |reason: &str| IdentityError::unusable(format!("authority in {}", dir.display()), reason);
        let text = |name: &str| String::from_utf8(read(&dir.join(name))?).map_err(|_| unusable("is not text"));
        let ca_pem = text("ca.pem")?;
        let key = KeyPair::from_pem(&text("ca.key")?).map_err(|_| unusable("has no readable private key in ca.key"))?;

        let der =
            CertificateDer::from_pem_slice(ca_pem.as_bytes()).map_err(|_| unusable("has no certificate in ca.pem"))?;
        let (_, certificate) = X509Certificate::from_der(&der).map_err(|_| unusable("has a damaged ca.pem"))?;
        let name = certificate
            .subject()
            .iter_common_name()
            .next()
            .and_then(|name| name.as_str().ok())
            .ok_or_else(|| unusable("has no common name in ca.pem"))?;
        let params = ca_params(name);

        // Leaves name their issuer byte for byte, so the name must be built again exactly as it was.
        let rebuilt = params.self_signed(&key)?;
        let (_, rebuilt) = X509Certificate::from_der(rebuilt.der()).map_err(|_| FederationError::Crypto)?;
        if rebuilt.subject().as_raw() != certificate.subject().as_raw() {
            return Err(unusable("was not made by this program; issue with the tool that made it"));
        }
        if key.subject_public_key_info() != certificate.public_key().raw {
            return Err(unusable("has a key in ca.key that is not the one of ca.pem"));
        }
        Ok(Self { issuer: Issuer::new(params, key), ca_pem })
    }

    /// Writes `ca.pem` and `ca.key` into `dir`, which is created; the key readable by the owner alone.
    ///
    /// # Errors
    /// [`FederationError::File`].
    pub fn save(&self, dir: impl AsRef<Path>) -> Result<(), IdentityError> {
        let dir = dir.as_ref();
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| FederationError::File { action: "write", path, source }
        };
        fs::create_dir_all(dir).map_err(at(dir))?;
        write_private(&dir.join("ca.key"), self.issuer.key().serialize_pem().as_bytes())?;
        let certificate = dir.join("ca.pem");
        Ok(fs::write(&certificate, &self.ca_pem).map_err(at(&certificate))?)
    }

    /// The authority's certificate, for the manifest.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// A certificate with a new key for `id`, valid from now for `days`; a negative number gives one that
    /// ended so many days ago, for tests. Whether the federation believes it is the manifest's business.
    ///
    /// It carries the identity as its only URI, the DNS name [`SERVER_NAME`], both of client and server
    /// authentication (nodes are either), and a random serial number.
    ///
    /// # Errors
    /// As [`Authority::create`]; [`IdentityError::Refused`] if `id` is not one that parses.
    pub fn issue(&self, id: &PeerId, days: i64) -> Result<Issued, IdentityError> {
        let id = PeerId::new(&id.domain, id.role.clone())?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(id.role.kind());
        params.subject_alt_names =
            vec![SanType::URI(id.to_string().try_into()?), SanType::DnsName(SERVER_NAME.try_into()?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(random_serial()?);
        set_validity(&mut params, days)?;
        let cert_pem = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Issued { cert_pem, key_pem: key.serialize_pem() })
    }
}

impl Authority {
    /// A certificate for the web with a new key, for a server of these names or addresses. It carries no identity of the
    /// federation: nobody there takes it for a member.
    ///
    /// # Errors
    /// As [`Authority::create`].
    pub fn issue_web(&self, names: &[String], days: i64) -> Result<Issued, IdentityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(names.to_vec())?;
        params.distinguished_name = common_name(names.first().map_or("web", String::as_str));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(random_serial()?);
        set_validity(&mut params, days)?;
        let cert_pem = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Issued { cert_pem, key_pem: key.serialize_pem() })
    }

    /// A revocation list in PEM: the certificates with these serial numbers are taken back. It begins now, and
    /// counts for `days`; a negative number gives one that ended so many days ago, for tests.
    ///
    /// # Errors
    /// As [`Authority::create`].
    pub fn revocation_list(&self, serials: &[Vec<u8>], days: i64) -> Result<String, IdentityError> {
        let (begin, end) = validity(days)?;
        let at = |seconds| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        let now = u64::try_from(unix_now()).unwrap_or(0);
        let revoked_certs = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: at(now),
            reason_code: Some(RevocationReason::Unspecified),
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            // Not put back by the skew: the newer of two lists counts.
            this_update: at(if days > 0 { now } else { begin }),
            next_update: at(end),
            crl_number: random_serial()?,
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.pem()?)
    }
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn set_validity(params: &mut CertificateParams, days: i64) -> Result<(), IdentityError> {
    let (begin, end) = validity(days)?;
    let at = |seconds| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    (params.not_before, params.not_after) = (at(begin), at(end));
    Ok(())
}

/// From when and until when, in Unix seconds.
fn validity(days: i64) -> Result<(u64, u64), IdentityError> {
    let now = unix_now();
    let end = days.checked_mul(DAY).and_then(|seconds| now.checked_add(seconds));
    let begin = match end {
        Some(end) if end <= now => end.checked_sub(DAY),
        _ => now.checked_sub(CLOCK_SKEW),
    };
    // To 9999, the last year that a certificate can name.
    let in_range = |time: Option<i64>| time.and_then(|t| u64::try_from(t).ok()).filter(|t| *t < 253_402_300_800);
    let (Some(begin), Some(end)) = (in_range(begin), in_range(end)) else {
        return Err(IdentityError::unusable(format!("{days} days"), "is out of range"));
    };
    Ok((begin, end))
}

/// 127 random bits, positive as DER's integers need.
fn random_serial() -> Result<SerialNumber, IdentityError> {
    let mut bytes = [0_u8; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| FederationError::Crypto)?;
    let [first, ..] = &mut bytes;
    // The first byte is never 0, so that the encoding has one length.
    *first = (*first & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}
