//! The pair that is served now, and what takes its place.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use humantime::format_rfc3339_seconds;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::time::MissedTickBehavior;

use super::Config;
use super::pair::Pair;
use super::problem::{CREDENTIAL_STORE, Cause, TlsError};
use super::source::{DEFAULT_CERT, Source};
use crate::metrics::Metrics;

/// How often the files are looked at: whoever renews a certificate need not tell.
const LOOK: Duration = Duration::from_secs(60);
/// How often is said that the certificate expires.
const REMIND: Duration = Duration::from_secs(24 * 60 * 60);

/// The digest of no files at all.
const NOTHING: [u8; 32] = [0; 32];

/// The gateway's certificate. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    inner: Arc<Inner>,
}

struct Inner {
    source: Source,
    current: Arc<Current>,
    /// The digest of the files that were last read, good or not; they are read again when they have another.
    seen: Mutex<[u8; 32]>,
    metrics: Arc<Metrics>,
}

impl Inner {
    fn set_seen(&self, digest: [u8; 32]) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = digest;
    }
}

/// What every handshake is given.
#[derive(Debug)]
struct Current(ArcSwap<Pair>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.load().certified))
    }
}

impl Tls {
    /// Reads and checks the certificate; `None` when there is none to be read, or nobody has configured it and it
    /// cannot be served. One that is out of date is served all the same. Both with a complaint: clients over plain
    /// http and DNS must not go without for it, and a small box may begin with a wrong clock.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what is wrong with it, when it is configured.
    pub fn load(config: &Config, metrics: Arc<Metrics>) -> Result<Option<Self>, TlsError> {
        Self::load_from(Source::find(config, credentials().as_deref())?, metrics)
    }

    pub(super) fn load_from(source: Option<Source>, metrics: Arc<Metrics>) -> Result<Option<Self>, TlsError> {
        let Some(source) = source else {
            return Ok(None);
        };
        let configured = source.configured;
        match Self::read(source, metrics) {
            Err(error) if !configured => {
                tracing::error!(%error, "the credentials cannot be used; going on without a certificate");
                Ok(None)
            }
            read => read.map(Some),
        }
    }

    fn read(source: Source, metrics: Arc<Metrics>) -> Result<Self, TlsError> {
        let texts = source.read()?;
        let pair = Pair::parse(&texts, &source)?;
        if let Err(error) = pair.validity.check(SystemTime::now()) {
            tracing::error!(error = %error.of(&source.cert), "no client will take the certificate that is served");
        }
        let seen = Mutex::new(texts.digest());
        tracing::info!("{}", pair.describe());
        metrics.certificate_expires(pair.validity.until);
        let current = Arc::new(Current(ArcSwap::from_pointee(pair)));
        Ok(Self { inner: Arc::new(Inner { source, current, seen, metrics }) })
    }

    /// TLS 1.2 and 1.3 with whatever certificate is current at each handshake, for clients that speak one of
    /// `protocols` (ALPN, RFC 7301) or do not say.
    ///
    /// # Errors
    /// When the system has no randomness to make the keys of session tickets from.
    pub fn server(&self, protocols: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
        let mut server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.inner.current) as Arc<dyn ResolvesServerCert>);
        server.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        server.ticketer = Ticketer::new()?;
        Ok(Arc::new(server))
    }

    /// Reads and checks the certificate, and describes it; `listeners` are those that need one.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what is wrong with it, or a listener that goes without.
    pub fn check(config: &Config, listeners: &[&'static str]) -> Result<Option<String>, TlsError> {
        let Some(source) = Source::find(config, credentials().as_deref())? else {
            return match listeners.first() {
                None => Ok(None),
                Some(_) if is_in_store() => Ok(Some("the service's credentials were not looked at".into())),
                Some(listener) => Err(TlsError::Missing { listener }),
            };
        };
        let pair = Pair::parse(&source.read()?, &source)?;
        pair.validity.check(SystemTime::now()).map_err(|cause| cause.of(&source.cert))?;
        Ok(Some(pair.describe()))
    }

    /// The certificate, for listeners that cannot be without.
    ///
    /// # Errors
    /// When there is none.
    pub fn required<'a>(tls: Option<&'a Self>, listener: &'static str) -> Result<&'a Self, TlsError> {
        tls.ok_or(TlsError::Missing { listener })
    }

    /// Which certificate is served: `certificate for registry.example until 2027-01-01T00:00:00Z`.
    #[must_use]
    pub fn describe(&self) -> String {
        self.inner.current.0.load().describe()
    }

    /// Takes what the files hold now, if it is good; else the pair before stays.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what is wrong with it.
    pub fn reload(&self) -> Result<(), TlsError> {
        let inner = &self.inner;
        let texts = inner.source.read()?;
        inner.set_seen(texts.digest());
        let pair = Pair::parse(&texts, &inner.source)?;
        if let Err(cause) = pair.validity.check(SystemTime::now()) {
            if matches!(cause, Cause::NotYetValid(_)) {
                // Its time will come, or the clock be set: the same files are worth another look.
                inner.set_seen(NOTHING);
            }
            return Err(cause.of(&inner.source.cert));
        }
        inner.metrics.certificate_expires(pair.validity.until);
        inner.current.0.store(Arc::new(pair));
        tracing::info!("{}", self.describe());
        Ok(())
    }

    /// Looks at the files every minute, takes what is new and good, and says when the certificate expires.
    pub async fn watch(self) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut unreadable = false;
        let mut reminded = None;
        loop {
            looks.tick().await;
            let tls = self.clone();
            let looked = tokio::task::spawn_blocking(move || tls.look(unreadable)).await;
            // After a panic, which has been logged, the next look begins anew.
            unreadable = looked.unwrap_or_default();
            self.remind(&mut reminded);
        }
    }

    /// Whether the files are unreadable; what stays so is said once.
    fn look(&self, unreadable: bool) -> bool {
        let read = self.inner.source.read();
        let news = match &read {
            Ok(texts) => texts.digest() != *self.inner.seen.lock().unwrap_or_else(PoisonError::into_inner),
            Err(_) => !unreadable,
        };
        if news && let Err(error) = self.reload() {
            tracing::warn!(%error, "a new certificate is not taken; the one before stays");
        }
        read.is_err()
    }

    fn remind(&self, reminded: &mut Option<tokio::time::Instant>) {
        let validity = self.inner.current.0.load().validity;
        let due = reminded.is_none_or(|at| at.elapsed() >= REMIND);
        if due && validity.is_short(SystemTime::now()) {
            *reminded = Some(tokio::time::Instant::now());
            let expires = format_rfc3339_seconds(validity.until).to_string();
            tracing::warn!(expires, "the certificate has not been renewed and is about to expire, or has");
        }
    }
}

/// Where systemd puts what `LoadCredential=` names.
fn credentials() -> Option<PathBuf> {
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY")?;
    Some(Path::new(&folder).to_owned())
}

/// Whether the service will probably be handed its credentials, which only it sees. What may not be looked at may be.
fn is_in_store() -> bool {
    Path::new(&format!("{CREDENTIAL_STORE}{DEFAULT_CERT}")).try_exists().unwrap_or(true)
}
