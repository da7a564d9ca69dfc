//! A certificate authority of the tests' own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// A private CA: nobody trusts it who was not told to.
pub struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A server's certificate and its key, as their files hold them.
pub struct Leaf {
    /// PEM.
    pub cert: String,
    /// PEM, PKCS #8.
    pub key: String,
    /// The certificate as a handshake shows it.
    pub der: CertificateDer<'static>,
}

impl std::fmt::Debug for Ca {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Ca")
    }
}

impl Ca {
    /// A new authority with a new key.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names, no bad names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "A CA of the tests");
        let key = KeyPair::generate().expect("a P-256 key");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("a certificate of its own") }
    }

    /// A server's TLS configuration for these names or addresses; offers HTTP/2 and HTTP/1.1.
    pub fn issue(&self, names: &[&str]) -> ServerConfig {
        let (certificate, key) = self.sign(&params(names));
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions that the provider has")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a key that fits its certificate");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }

    /// A server's certificate for these names or addresses, and its key.
    pub fn leaf(&self, names: &[&str]) -> Leaf {
        self.sign(&params(names)).into()
    }

    /// One whose time is over.
    pub fn expired_leaf(&self, names: &[&str]) -> Leaf {
        let mut params = params(names);
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        self.sign(&params).into()
    }

    /// A client that trusts this authority, and nobody else.
    pub fn client(&self) -> ClientConfig {
        trusting(&[self.der()])
    }

    fn sign(&self, params: &CertificateParams) -> (Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a P-256 key");
        (params.signed_by(&key, &self.issuer).expect("a certificate"), key)
    }

    /// The authority's certificate.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Writes the authority's certificate, for `SSL_CERT_FILE` and the like.
    pub fn write_pem(&self, path: &Path) {
        std::fs::write(path, self.pem())
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }
}

impl Leaf {
    /// Writes `cert.pem` and `key.pem` into a folder, over those that are there, and says where they are.
    pub fn write(&self, folder: &Path) -> (PathBuf, PathBuf) {
        let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        for (path, text) in [(&cert, &self.cert), (&key, &self.key)] {
            std::fs::write(path, text)
                .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        }
        (cert, key)
    }
}

impl From<(Certificate, KeyPair)> for Leaf {
    fn from((certificate, key): (Certificate, KeyPair)) -> Self {
        Self { cert: certificate.pem(), key: key.serialize_pem(), der: certificate.der().clone() }
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).expect("names that fit a certificate");
    params.distinguished_name = DistinguishedName::new();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params
}

impl Default for Ca {
    fn default() -> Self {
        Self::new()
    }
}

/// A client that trusts these roots and nobody else.
pub(crate) fn trusting(roots: &[CertificateDer<'static>]) -> ClientConfig {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).expect("a CA certificate");
    }
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions that the provider has")
        .with_root_certificates(store)
        .with_no_client_auth()
}
