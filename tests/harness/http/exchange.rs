//! One connection, one request, one answer.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::{Request as Outgoing, Response, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{Failure, Reply, Request};
use crate::ca;

pub(super) async fn send(request: &Request) -> Result<Reply, Failure> {
    let start = Instant::now();
    let response = timeout(request.within, answered(request)).await.map_err(|_| Failure::TimedOut)??;
    let first_byte = start.elapsed();
    let (head, body) = response.into_parts();
    let (body, cut) = collect(body, request).await;
    Ok(Reply {
        status: head.status.as_u16(),
        version: head.version,
        headers: head.headers,
        body,
        cut,
        first_byte,
    })
}

async fn answered(request: &Request) -> Result<Response<Incoming>, Failure> {
    let stream = connect(request).await.map_err(|error| Failure::Connect(error.to_string()))?;
    let answered =
        if request.http2 { over_http2(request, stream).await } else { over_http1(request, stream).await };
    answered.map_err(|error| Failure::Closed(error.to_string()))
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn connect(request: &Request) -> std::io::Result<Box<dyn Stream>> {
    let host = request.uri.host().expect("a URL with a host");
    let host = host.trim_matches(['[', ']']).to_owned();
    let tls = request.uri.scheme_str() == Some("https");
    let port = request.uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
    // Looked up by this very thread, for a thread of the runtime may be in another place, with other name servers.
    let addresses: Vec<SocketAddr> = (host.as_str(), port).to_socket_addrs()?.collect();
    let tcp = TcpStream::connect(addresses.as_slice()).await?;
    tcp.set_nodelay(true)?;
    if !tls {
        return Ok(Box::new(tcp));
    }
    let mut config = ca::trusting(&request.roots);
    config.alpn_protocols = vec![if request.http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    let name = ServerName::try_from(host).expect("a host that a certificate can name");
    Ok(Box::new(TlsConnector::from(Arc::new(config)).connect(name, tcp).await?))
}

async fn over_http1(request: &Request, stream: Box<dyn Stream>) -> hyper::Result<Response<Incoming>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let target = request.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut outgoing = outgoing(request, target);
    if !outgoing.headers().contains_key(header::HOST) {
        let authority = request.uri.authority().expect("a URL with a host").as_str();
        outgoing.headers_mut().insert(header::HOST, authority.parse().expect("visible ASCII"));
    }
    sender.send_request(outgoing).await
}

async fn over_http2(request: &Request, stream: Box<dyn Stream>) -> hyper::Result<Response<Incoming>> {
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    sender.send_request(outgoing(request, &request.uri.to_string())).await
}

fn outgoing(request: &Request, target: &str) -> Outgoing<Full<Bytes>> {
    let mut outgoing = Outgoing::new(Full::new(request.body.clone()));
    *outgoing.method_mut() = request.method.clone();
    *outgoing.uri_mut() = target.parse().expect("a part of a URL");
    *outgoing.headers_mut() = request.headers.clone();
    outgoing
}

async fn collect(mut body: Incoming, request: &Request) -> (Bytes, Option<String>) {
    let mut collected = BytesMut::new();
    let reading = async {
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => collected.extend_from_slice(frame.data_ref().map_or(&[][..], AsRef::as_ref)),
                Err(error) => return Some(error.to_string()),
            }
        }
        None
    };
    let cut = timeout(request.within, reading).await.unwrap_or_else(|_| Some("no end in time".to_owned()));
    (collected.freeze(), cut)
}
