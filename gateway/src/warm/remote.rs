//! Hands an order to the gateway that has the data directory, and reads what it says.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HOST};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::operated::JSON;

/// How long a gateway on this machine may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);
/// The longest silence: twice a second it says how far it is, unless the machine is stuck.
const SILENCE: Duration = Duration::from_secs(60);
/// The longest line: a report in which everything is missing has some 300 bytes for each entry.
const LINE: usize = 256 * 1024 * 1024;
/// What the right gateway refuses an order with.
const REFUSALS: [StatusCode; 6] = [
    StatusCode::BAD_REQUEST,
    StatusCode::FORBIDDEN,
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::CONFLICT,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
];
/// The longest refusal that is shown.
const WORDS: usize = 64 * 1024;

/// A gateway that follows an order.
pub(super) struct Remote {
    body: Incoming,
    buffer: BytesMut,
    /// How much of the buffer has no line break.
    searched: usize,
}

impl Remote {
    /// Hands the order over. `None` when nobody is there, or only a gateway with another data directory.
    ///
    /// # Errors
    /// When the gateway is the right one but does not follow the order.
    pub(super) async fn ask(
        operator: SocketAddr,
        path: &str,
        order: Vec<u8>,
    ) -> anyhow::Result<Option<Self>> {
        let address = reachable(operator);
        let Ok(Ok(stream)) = timeout(CONNECT, TcpStream::connect(address)).await else {
            return Ok(None);
        };
        let answer = timeout(SILENCE, send(stream, address, path, order)).await;
        let answer = answer.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)));
        // Something else listens there, or it has just ended: the data directory will tell.
        let Ok(answer) = answer else {
            return Ok(None);
        };
        match answer.status() {
            StatusCode::OK => {
                Ok(Some(Self { body: answer.into_body(), buffer: BytesMut::new(), searched: 0 }))
            }
            // Another gateway's, or no gateway at all.
            status if !REFUSALS.contains(&status) => Ok(None),
            status => {
                let words = words_of(answer).await;
                bail!("the gateway at {address} does not do it ({}): {words}", status.as_u16())
            }
        }
    }

    /// What it says next.
    ///
    /// # Errors
    /// When it ends before its report.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        loop {
            let found = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
            if let Some(end) = found {
                let line = self.buffer.split_to(self.searched + end + 1);
                self.searched = 0;
                return serde_json::from_slice(&line).context("the gateway says what is not understood here");
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > LINE {
                bail!("the gateway says too much at once");
            }
            let frame = timeout(SILENCE, self.body.frame()).await;
            let frame = frame.ok().flatten().and_then(Result::ok);
            let Some(frame) = frame else {
                bail!(
                    "the gateway has ended, or says nothing any more; run this again, it goes on from here"
                );
            };
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }
}

async fn send(
    stream: TcpStream,
    address: SocketAddr,
    path: &str,
    order: Vec<u8>,
) -> io::Result<Response<Incoming>> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    let request = Request::post(path)
        .header(HOST, address.to_string())
        .header(CONTENT_TYPE, JSON)
        .body(Full::new(Bytes::from(order)))
        .map_err(io::Error::other)?;
    sender.send_request(request).await.map_err(io::Error::other)
}

async fn words_of(answer: Response<Incoming>) -> String {
    let body = timeout(SILENCE, Limited::new(answer.into_body(), WORDS).collect()).await;
    let bytes = body.ok().and_then(Result::ok).map(Collected::to_bytes).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

/// Who listens on all addresses listens on loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}
