//! An HTTP client that hides nothing: no redirect followed, no body decoded, a cut body shown as cut.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ::http::{HeaderMap, Method, Uri, Version};
use bytes::Bytes;
use flate2::read::GzDecoder;
use rustls::pki_types::CertificateDer;
use serde_json::Value;

use crate::ca::Ca;
use crate::runtime;

mod exchange;
mod metrics;

pub use metrics::metric;

/// How long a request may take unless it says otherwise.
const PATIENCE: Duration = Duration::from_secs(30);

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    roots: Vec<CertificateDer<'static>>,
    http2: bool,
    within: Duration,
}

impl Request {
    /// Any method; the URL as it shall be sent, escapes included.
    pub fn new(method: &str, url: &str) -> Self {
        Self {
            method: method.parse().expect("a method"),
            uri: url.parse().unwrap_or_else(|error| panic!("{url} is no URL: {error}")),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            roots: Vec::new(),
            http2: false,
            within: PATIENCE,
        }
    }

    /// `GET`.
    pub fn get(url: &str) -> Self {
        Self::new("GET", url)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(name, value.parse().expect("a header's value"));
        self
    }

    /// Sends this body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Trusts this authority, and only those named so.
    #[must_use]
    pub fn trust(mut self, ca: &Ca) -> Self {
        self.roots.push(ca.der());
        self
    }

    /// Speaks HTTP/2: by ALPN over TLS, with prior knowledge without.
    #[must_use]
    pub fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// How long the headers may take, and then the body; 30 seconds unless set.
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }

    /// Sends it.
    pub fn try_send(&self) -> Result<Reply, Failure> {
        runtime::block_on(exchange::send(self))
    }

    /// Sends it; panics when there is no answer.
    pub fn send(&self) -> Reply {
        self.try_send().unwrap_or_else(|failure| panic!("{} {}: {failure:?}", self.method, self.uri))
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// No connection, or no TLS on it.
    Connect(String),
    /// The connection ended before the headers did.
    Closed(String),
    /// No headers in time.
    TimedOut,
}

/// One answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// `200`.
    pub status: u16,
    /// HTTP/1.1 or HTTP/2.
    pub version: Version,
    /// Every header.
    pub headers: HeaderMap,
    /// The body as it came, still encoded; what came of it when it was cut.
    pub body: Bytes,
    /// Why the body ended too early, if it did: `None` is a complete body.
    pub cut: Option<String>,
    /// From sending the request to the headers of the answer.
    pub first_byte: Duration,
}

impl Reply {
    /// A header, if it is there.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body without its coding, if it came with one.
    pub fn decoded(&self) -> Bytes {
        let (body, mut decoded) = (self.body.as_ref(), Vec::new());
        match self.header("content-encoding") {
            Some("gzip") => GzDecoder::new(body).read_to_end(&mut decoded).expect("a gzip body"),
            Some("zstd") => {
                let mut decoder = zstd::Decoder::new(body).expect("memory for zstd");
                decoder.read_to_end(&mut decoded).expect("a zstd body")
            }
            Some("br") => {
                brotli::Decompressor::new(body, 64 * 1024).read_to_end(&mut decoded).expect("a br body")
            }
            _ => return self.body.clone(),
        };
        decoded.into()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        let body = self.decoded();
        serde_json::from_slice(&body).unwrap_or_else(|error| panic!("no JSON: {error}: {}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.decoded()).into_owned()
    }
}

/// `GET`; panics when there is no answer.
pub fn get(url: &str) -> Reply {
    Request::get(url).send()
}

/// `HEAD`; panics when there is no answer.
pub fn head(url: &str) -> Reply {
    Request::new("HEAD", url).send()
}

/// `POST` of JSON; panics when there is no answer.
pub fn post(url: &str, body: &Value) -> Reply {
    Request::new("POST", url).header("content-type", "application/json").body(body.to_string()).send()
}

/// Sends these bytes and gives back what comes until the other side closes, or until time is up.
pub fn raw(address: SocketAddr, bytes: &[u8], within: Duration) -> Vec<u8> {
    let mut stream = TcpStream::connect_timeout(&address, within).expect("a connection");
    stream.set_write_timeout(Some(within)).expect("a time limit");
    // A server that has heard enough may close before it has heard everything.
    let _ = stream.write_all(bytes);
    read_until(&mut stream, Instant::now() + within)
}

fn read_until(stream: &mut TcpStream, end: Instant) -> Vec<u8> {
    let (mut heard, mut piece) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return heard;
        }
        match stream.read(&mut piece) {
            Ok(count) if count > 0 => heard.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            _ => return heard,
        }
    }
}
