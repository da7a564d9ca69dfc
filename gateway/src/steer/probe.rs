//! Asks an address of a peer for its proof, as a client would come there: no proxy, no redirect, the same port, the same
//! certificate.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::rand;
use bytes::Bytes;
use http::header::HOST;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::ConfigBuilderExt as _;
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use resolver::peer::{PeerId, Scheme};
use resolver::peers::{Due, Target};
use resolver::proof::{self, Authority, Nonce, NotAProof, Outcome, Proof, Question, Way};
use resolver::zone::Zone;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use crate::identity::is_signed_by;

/// An answer's head: a gateway's has 300 bytes. The least that hyper takes.
const LONGEST_HEAD: usize = 8 * 1024;
const MOST_HEADERS: usize = 64;

/// Makes probes.
pub struct Prober {
    zone: Zone,
    tls: TlsConnector,
}

/// What a probe has shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Probed {
    /// How it ended; of two schemes the worse.
    pub outcome: Outcome,
    /// Which scheme that was.
    pub scheme: Scheme,
}

/// Where one probe goes, and what it says there.
struct Spot {
    authority: Authority,
    /// The host that clients name: the zone behind a certificate for it, else what stands in the URL.
    host: String,
    server_name: Option<ServerName<'static>>,
}

/// Trust in what the system trusts, as towards upstream.
///
/// # Errors
/// When the system's trust store cannot be read.
pub fn system_trust() -> anyhow::Result<ClientConfig> {
    Ok(ClientConfig::builder().try_with_platform_verifier()?.with_no_client_auth())
}

impl Prober {
    /// For a zone, whose name certificates have to be for; `trust` says who may have signed them.
    #[must_use]
    pub fn new(zone: Zone, mut trust: ClientConfig) -> Self {
        // A resumed session would not show its certificate.
        trust.resumption = Resumption::disabled();
        trust.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { zone, tls: TlsConnector::from(Arc::new(trust)) }
    }

    /// Asks. At an address with https both ports have to be the peer's, for DNS leads to both.
    pub async fn probe(&self, due: &Due) -> Probed {
        match &due.target {
            Target::Address(address) => {
                let plain = self.look(due, self.spot(*address, Scheme::Http));
                if !due.https {
                    return plain.await;
                }
                let over_tls = self.look(due, self.spot(*address, Scheme::Https));
                let (plain, over_tls) = tokio::join!(plain, over_tls);
                if over_tls.outcome.counts_before(&plain.outcome) { over_tls } else { plain }
            }
            Target::Url(url) => match Spot::of_url(url) {
                Some(spot) => self.look(due, spot).await,
                None => {
                    let outcome = Outcome::Refused("that is no address of an HTTP server".into());
                    Probed { outcome, scheme: Scheme::Http }
                }
            },
        }
    }

    fn spot(&self, address: IpAddr, scheme: Scheme) -> Spot {
        let authority = Authority::at(scheme, address, scheme.port());
        match scheme {
            Scheme::Http => Spot { host: authority.to_string(), authority, server_name: None },
            Scheme::Https => {
                let zone = self.zone.as_str().to_owned();
                Spot { server_name: ServerName::try_from(zone.clone()).ok(), host: zone, authority }
            }
        }
    }

    async fn look(&self, due: &Due, spot: Spot) -> Probed {
        let scheme = spot.authority.scheme();
        let asked = timeout(due.timeout, self.ask(due.id, spot)).await;
        let outcome = match asked {
            Ok(Ok(outcome) | Err(outcome)) => outcome,
            Err(_) => Outcome::TimedOut,
        };
        Probed { outcome, scheme }
    }

    async fn ask(&self, id: PeerId, spot: Spot) -> Result<Outcome, Outcome> {
        let question = Question { id, nonce: nonce()?, authority: spot.authority };
        let stream = open(&question.authority).await.map_err(|error| refused(&error))?;
        let ends = stream.local_addr().and_then(|from| Ok((from.ip(), stream.peer_addr()?.ip())));
        let (from, to) = ends.map_err(|error| refused(&error))?;
        let text = match question.authority.scheme() {
            Scheme::Http => get(&question, &spot.host, stream).await?,
            Scheme::Https => {
                let name = spot.server_name.ok_or(Outcome::Certificate("there is no such name"))?;
                let stream = self.tls.connect(name, stream).await.map_err(|error| distrusted(&error))?;
                get(&question, &spot.host, stream).await?
            }
        };
        let proof = Proof::parse(&text).map_err(Outcome::NoProof)?;
        let signed = is_signed_by(id, proof.message(), proof.signature());
        Ok(question.judge(&proof, Way { from, to }, signed).into())
    }
}

impl Spot {
    /// Scheme, host and perhaps a port.
    fn of_url(url: &str) -> Option<Self> {
        let (scheme, host) = url.split_once("://")?;
        let authority = Authority::parse(Scheme::parse(scheme)?, host).ok()?;
        let server_name = ServerName::try_from(authority.host()).ok();
        Some(Self { authority, host: host.to_owned(), server_name })
    }
}

/// 16 random bytes: nobody has been asked this before.
fn nonce() -> Result<Nonce, Outcome> {
    let mut random = [0; 16];
    rand::fill(&mut random).map_err(|_| Outcome::Refused("this system gives no random numbers".into()))?;
    Ok(Nonce::of_bytes(random))
}

async fn open(authority: &Authority) -> io::Result<TcpStream> {
    let stream = match authority.address() {
        Some(address) => TcpStream::connect((address, authority.port())).await?,
        None => TcpStream::connect((authority.host(), authority.port())).await?,
    };
    // The request goes out in one piece anyway.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

async fn get<S>(question: &Question, host: &str, stream: S) -> Result<String, Outcome>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let broken = |error: hyper::Error| Outcome::Refused(error.to_string());
    let mut client = hyper::client::conn::http1::Builder::new();
    client.max_buf_size(LONGEST_HEAD).max_headers(MOST_HEADERS);
    let (mut sender, connection) = client.handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // It ends with this probe, however that ends; what goes wrong in it shows in the answer.
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let request = Request::get(path(question)).header(HOST, host).body(Empty::<Bytes>::new());
    let request = request.map_err(|error| Outcome::Refused(error.to_string()))?;
    read(sender.send_request(request).await.map_err(broken)?).await
}

fn path(question: &Question) -> String {
    let authority = question.authority.to_string();
    format!(
        "/-/open-registry/peer?nonce={}&scheme={}&authority={}",
        question.nonce.as_str(),
        question.authority.scheme().name(),
        utf8_percent_encode(&authority, NON_ALPHANUMERIC)
    )
}

async fn read(answer: Response<Incoming>) -> Result<String, Outcome> {
    let (head, body) = answer.into_parts();
    if head.status != StatusCode::OK {
        return Err(Outcome::Status(head.status.as_u16()));
    }
    let body = Limited::new(body, proof::LONGEST).collect().await;
    let body = body.map_err(|error| match error.is::<LengthLimitError>() {
        true => Outcome::NoProof(NotAProof::TooLong),
        false => Outcome::Refused("the answer breaks off".into()),
    })?;
    String::from_utf8(body.to_bytes().into()).map_err(|_| Outcome::NoProof(NotAProof::Shape))
}

fn refused(error: &io::Error) -> Outcome {
    Outcome::Refused(match error.kind() {
        io::ErrorKind::ConnectionRefused => "nobody listens there".into(),
        _ => error.to_string(),
    })
}

/// In fixed words: what stands in a certificate was written by whoever is there.
fn distrusted(error: &io::Error) -> Outcome {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let why = match inner {
        Some(rustls::Error::InvalidCertificate(why)) => why,
        Some(_) => return Outcome::Refused("it does not speak TLS as clients do".into()),
        None => return refused(error),
    };
    Outcome::Certificate(match why {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "it is for another name"
        }
        // The latter by somebody who has the name of one who is trusted.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "who signed it is not trusted here"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "its time is over",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its time has not come yet"
        }
        _ => "it is not valid",
    })
}
