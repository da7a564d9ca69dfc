//! One address, asked for `GET /`: is an open-registry gateway behind it, or the registry of record?

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use bytes::Bytes;
use http::header::{ACCEPT, DATE, HOST};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::ConfigBuilderExt;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Url;

use super::super::facts::{Behind, Distrust};

/// For the connection: on a LAN it stands in a millisecond, around the world in 300.
const CONNECT_WAIT: Duration = Duration::from_secs(2);
/// For everything after it, the handshake of TLS included.
const ANSWER_WAIT: Duration = Duration::from_secs(3);
/// A gateway's own index is 200 bytes.
const LARGEST_BODY: usize = 64 * 1024;
const LONGEST_WORD: usize = 40;
const DAY: i64 = 24 * 60 * 60;

/// Who visits: what it trusts.
pub(super) struct Visitor {
    tls: TlsConnector,
}

/// What was seen.
pub(super) struct Visit {
    pub(super) behind: Behind,
    /// How far the server's clock is ahead, in seconds.
    pub(super) ahead_s: Option<i64>,
    /// In how many days its certificate ends.
    pub(super) certificate_days: Option<i64>,
}

struct Answer {
    status: u16,
    date: Option<SystemTime>,
    body: Bytes,
}

impl Visitor {
    /// Trusts this certificate authority, or without one whom the system trusts.
    pub(super) fn new(ca: Option<&Path>) -> anyhow::Result<Self> {
        let builder = ClientConfig::builder();
        let config = match ca {
            Some(file) => builder.with_root_certificates(roots(file)?).with_no_client_auth(),
            None => builder.try_with_platform_verifier()?.with_no_client_auth(),
        };
        Ok(Self { tls: TlsConnector::from(Arc::new(config)) })
    }

    /// Asks `address` for the index of `url`, as a client would that was told this address.
    pub(super) async fn visit(&self, url: &Url, address: SocketAddr) -> Visit {
        let mut certificate_days = None;
        let connected = timeout(CONNECT_WAIT, TcpStream::connect(address)).await;
        let answer = match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                let talk = self.talk(url, stream, &mut certificate_days);
                timeout(ANSWER_WAIT, talk).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            }
            Err(error) => Err(error),
        };
        let ahead_s = answer.as_ref().ok().and_then(|answer| answer.date).map(ahead_of_now);
        Visit { behind: answer.as_ref().map_or_else(failed, seen), ahead_s, certificate_days }
    }

    async fn talk(&self, url: &Url, stream: TcpStream, days: &mut Option<i64>) -> io::Result<Answer> {
        if url.scheme() != "https" {
            return get(url, stream).await;
        }
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        let stream = self.tls.connect(name, stream).await?;
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        *days = certificates.first().and_then(|certificate| days_left(certificate));
        get(url, stream).await
    }
}

fn roots(file: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file);
    for certificate in certificates.with_context(|| format!("cannot read {}", file.display()))? {
        let certificate = certificate.with_context(|| format!("{} is not PEM", file.display()))?;
        roots
            .add(certificate)
            .with_context(|| format!("{} holds no certificate authority", file.display()))?;
    }
    anyhow::ensure!(!roots.is_empty(), "{} holds no certificate", file.display());
    Ok(roots)
}

async fn get<S>(url: &Url, stream: S) -> io::Result<Answer>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // It ends with the sender, which is dropped when the answer is here or late.
    tokio::spawn(connection);
    let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let request = http::Request::get("/").header(HOST, authority).header(ACCEPT, "application/json");
    let request = request.body(Empty::<Bytes>::new()).map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
    let status = response.status().as_u16();
    // A large page is somebody else's, and need not be read.
    let body = Limited::new(response.into_body(), LARGEST_BODY).collect().await;
    Ok(Answer { status, date, body: body.map(http_body_util::Collected::to_bytes).unwrap_or_default() })
}

fn seen(answer: &Answer) -> Behind {
    let index: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    // Whoever answers writes this; a version or a state is a word.
    let text = |key: &str| index[key].as_str().unwrap_or("unknown").chars().take(LONGEST_WORD).collect();
    if answer.status == 200 && index["name"] == "open-registry" {
        return Behind::Gateway { version: text("version"), upstream: text("upstream") };
    }
    Behind::Other(format!("an HTTP server that answers {}", answer.status))
}

fn failed(error: &io::Error) -> Behind {
    let inner = error.get_ref();
    if let Some(rustls::Error::InvalidCertificate(why)) = inner.and_then(|error| error.downcast_ref()) {
        return Behind::Untrusted(distrust(why));
    }
    match (error.kind(), inner) {
        (io::ErrorKind::TimedOut, _) => Behind::Nobody("no answer in time".into()),
        (io::ErrorKind::ConnectionRefused, _) => Behind::Nobody("nobody listens there".into()),
        (_, Some(inner)) if inner.is::<hyper::Error>() || inner.is::<rustls::Error>() => {
            Behind::Other(format!("something that is not what the URL says ({inner})"))
        }
        _ => Behind::Nobody(error.to_string()),
    }
}

fn distrust(why: &CertificateError) -> Distrust {
    match why {
        CertificateError::UnknownIssuer => Distrust::Issuer,
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => Distrust::Time,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Distrust::Name,
        other => Distrust::Other(other.to_string()),
    }
}

fn ahead_of_now(date: SystemTime) -> i64 {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match date.duration_since(SystemTime::now()) {
        Ok(ahead) => seconds(ahead),
        Err(behind) => -seconds(behind.duration()),
    }
}

fn days_left(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let now = i64::try_from(now.as_secs()).ok()?;
    Some((certificate.validity().not_after.timestamp() - now).div_euclid(DAY))
}
