//! A certificate with its key, read from PEM and found to be usable.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use humantime::format_rfc3339_seconds;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

use super::problem::{Cause, TlsError};
use super::source::{Source, Texts};

/// Who renews does so with a third of the time left; less than a fifth means that it has failed.
const LATE: u32 = 5;
/// With certificates for years, two weeks are enough to renew one by hand.
const LATEST: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// A certificate with its key.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    pub(super) validity: Validity,
    /// The DNS names and addresses that it is for.
    pub(super) names: Vec<String>,
}

/// From when to when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: SystemTime,
    pub(super) until: SystemTime,
}

impl Pair {
    /// Reads PEM, and checks that the key is the certificate's.
    pub(super) fn parse(texts: &Texts, source: &Source) -> Result<Self, TlsError> {
        let chain = chain(&texts.cert).map_err(|cause| cause.of(&source.cert))?;
        let (validity, names) = facts(&chain[0]).map_err(|cause| cause.of(&source.cert))?;
        let key = key(&texts.key).map_err(|cause| cause.of(&source.key))?;
        let certified =
            CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| {
                let cause = match error {
                    rustls::Error::InconsistentKeys(_) => Cause::Mismatch(source.cert.clone()),
                    error => Cause::BadKey(error),
                };
                cause.of(&source.key)
            })?;
        Ok(Self { certified: Arc::new(certified), validity, names })
    }

    /// `certificate for registry.example, 192.168.7.9 until 2027-01-01T00:00:00Z`.
    pub(super) fn describe(&self) -> String {
        let until = format_rfc3339_seconds(self.validity.until);
        let names = if self.names.is_empty() { "no name".to_owned() } else { self.names.join(", ") };
        format!("certificate for {names} until {until}")
    }
}

impl Validity {
    /// Nothing, while clients take it.
    pub(super) fn check(self, now: SystemTime) -> Result<(), Cause> {
        match self {
            Self { until, .. } if now > until => Err(Cause::Expired(until)),
            Self { from, .. } if now < from => Err(Cause::NotYetValid(from)),
            Self { .. } => Ok(()),
        }
    }

    /// It should have been renewed by now.
    pub(super) fn is_short(&self, now: SystemTime) -> bool {
        let whole = self.until.duration_since(self.from).unwrap_or_default();
        let left = self.until.duration_since(now).unwrap_or_default();
        left < (whole / LATE).min(LATEST)
    }
}

/// Never empty.
fn chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Cause> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(Cause::NoCertificate),
        Ok(chain) => Ok(chain),
        Err(error) => Err(Cause::BadPem(error.to_string())),
    }
}

fn key(text: &[u8]) -> Result<PrivateKeyDer<'static>, Cause> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| match error {
        pem::Error::NoItemsFound if is_under_a_password(text) => Cause::EncryptedKey,
        pem::Error::NoItemsFound => Cause::NoKey,
        error => Cause::BadPem(error.to_string()),
    })
}

fn is_under_a_password(text: &[u8]) -> bool {
    String::from_utf8_lossy(text).contains("BEGIN ENCRYPTED PRIVATE KEY")
}

fn facts(certificate: &CertificateDer<'_>) -> Result<(Validity, Vec<String>), Cause> {
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|error| Cause::BadCertificate(error.to_string()))?;
    let validity = certificate.validity();
    let validity = Validity { from: time(validity.not_before), until: time(validity.not_after) };
    Ok((validity, names(&certificate)))
}

/// Those that clients look at (RFC 9525, section 6.3); the subject is not among them.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    names.iter().filter_map(name).collect()
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
            four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from))
                .ok()
                .map(|ip| ip.to_string())
        }
        _ => None,
    }
}

fn time(time: ASN1Time) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or_default())
}
