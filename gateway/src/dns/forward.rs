//! Names that are not ours, asked of the resolvers that the administrator names.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Message, ResponseCode};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle, FirstAnswer};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig};
use tokio::time::timeout;

use super::NameServer;
use super::message::{Reply, Request};
use super::shares::Shares;

/// Questions that are being looked up at once. More are told so (SERVFAIL) and asked again by their clients.
const LOOK_UPS: usize = 1024;
/// How long looking up may take: a client asks again after five seconds (resolv.conf(5)), by then it should know.
const PATIENCE: Duration = Duration::from_secs(4);
/// One resolver's time before the next is asked; the last one has what is left.
const EACH: Duration = Duration::from_millis(1500);

type Pool = NameServerPool<TokioRuntimeProvider>;

/// Asks other resolvers, one after the other: the pool has one deadline for all of its servers, so each has a pool
/// of its own. What several clients ask at once a pool asks once.
pub(super) struct Forwarder {
    resolvers: Vec<Pool>,
    /// Who answered last, and is asked first.
    preferred: AtomicUsize,
    places: Shares,
    patience: Duration,
}

impl Forwarder {
    /// Asks these, the first one first. `None`: there is nobody to ask.
    pub(super) fn new(servers: &[NameServer]) -> anyhow::Result<Option<Self>> {
        let forwarder = Self::with_patience(servers, PATIENCE)?;
        Ok(Some(forwarder).filter(|forwarder| !forwarder.resolvers.is_empty()))
    }

    fn with_patience(servers: &[NameServer], patience: Duration) -> anyhow::Result<Self> {
        let resolvers = servers.iter().map(|server| pool(server, patience)).collect::<Result<_, _>>()?;
        Ok(Self { resolvers, preferred: AtomicUsize::new(0), places: Shares::of(LOOK_UPS), patience })
    }

    /// What the resolvers say; SERVFAIL when none of them says anything, or this client asks too much.
    pub(super) async fn look_up(&self, request: &Request, client: IpAddr) -> Reply {
        let Some(_place) = self.places.enter(client) else {
            return failed();
        };
        timeout(self.patience, self.ask(request)).await.unwrap_or_else(|_| failed())
    }

    async fn ask(&self, request: &Request) -> Reply {
        let (first, count) = (self.preferred.load(Ordering::Relaxed), self.resolvers.len());
        let mut last = failed();
        for step in 0..count {
            let place = (first + step) % count;
            // Whoever is asked last may take as long as there is.
            let time = if step + 1 < count { EACH.min(self.patience / 2) } else { self.patience };
            match timeout(time, ask_one(&self.resolvers[place], request)).await {
                Ok(Some(reply)) if is_final(reply.code) => {
                    self.preferred.store(place, Ordering::Relaxed);
                    return reply;
                }
                Ok(Some(reply)) => last = reply,
                Ok(None) | Err(_) => {}
            }
        }
        last
    }
}

/// What another resolver would not say otherwise; anything else is one resolver's own trouble (SERVFAIL, REFUSED).
fn is_final(code: ResponseCode) -> bool {
    matches!(code, ResponseCode::NoError | ResponseCode::NXDomain)
}

/// `None`: it does not answer. Old servers take EDNS for an error (RFC 6891, section 7), and are asked without it.
async fn ask_one(resolver: &Pool, request: &Request) -> Option<Reply> {
    let mut reply = send(resolver, request.onward()).await?;
    if matches!(reply.code, ResponseCode::FormErr | ResponseCode::NotImp) {
        let mut plain = request.onward();
        plain.edns = None;
        reply = send(resolver, plain).await?;
    }
    Some(reply)
}

async fn send(resolver: &Pool, question: Message) -> Option<Reply> {
    let question = DnsRequest::new(question, DnsRequestOptions::default());
    match resolver.send(question).first_answer().await {
        Ok(response) => Some(reply(response)),
        Err(NetError::Dns(error)) => Some(negative(error)),
        Err(error) => {
            tracing::debug!(%error, "a resolver does not answer (dns.forward)");
            None
        }
    }
}

fn pool(server: &NameServer, patience: Duration) -> anyhow::Result<Pool> {
    let mut options = ResolverOpts::default();
    options.timeout = patience;
    options.num_concurrent_reqs = 1;
    options.max_active_requests = LOOK_UPS;
    let context = Arc::new(PoolContext::new(options, TlsConfig::new()?));
    Ok(Pool::from_config([connections(server)], context, TokioRuntimeProvider::default()))
}

fn connections(server: &NameServer) -> NameServerConfig {
    let at_port = |mut connection: ConnectionConfig| {
        connection.port = server.0.port();
        connection
    };
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(at_port);
    NameServerConfig::new(server.0.ip(), true, connections.into())
}

fn reply(response: DnsResponse) -> Reply {
    let message = response.into_message();
    Reply {
        code: message.metadata.response_code,
        recursion_available: true,
        answers: message.answers,
        authorities: message.authorities,
        additionals: message.additionals,
        ..Reply::default()
    }
}

/// "There is none" is an answer too, and stays the same one.
fn negative(error: DnsError) -> Reply {
    let found = Reply { recursion_available: true, ..Reply::default() };
    match error {
        DnsError::ResponseCode(code) => Reply { code, ..found },
        DnsError::NoRecordsFound(none) => {
            let authorities = none.authorities.map(|records| records.to_vec()).unwrap_or_default();
            Reply { code: none.response_code, authorities, ..found }
        }
        _ => failed(),
    }
}

fn failed() -> Reply {
    Reply { code: ResponseCode::ServFail, recursion_available: true, ..Reply::default() }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hickory_proto::op::Query;
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{Name, RData, Record, RecordType};
    use tokio::net::UdpSocket;

    use super::super::message::{Packet, Transport};
    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 168, 7, 20));

    const NO_ERROR: ResponseCode = ResponseCode::NoError;

    /// A resolver that says this to everything; a format error only to EDNS.
    async fn resolver(code: ResponseCode, address: Option<Ipv4Addr>) -> NameServer {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let place = NameServer(socket.local_addr().unwrap());
        tokio::spawn(async move {
            let mut buffer = vec![0; 1500];
            while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
                let question = Message::from_vec(&buffer[..length]).unwrap();
                let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
                let plain = question.edns.is_none();
                answer.metadata.response_code =
                    if plain && code == ResponseCode::FormErr { NO_ERROR } else { code };
                let name = question.queries[0].name().clone();
                answer.add_queries(question.queries);
                answer.add_answers(address.map(|ip| Record::from_rdata(name, 60, RData::A(A(ip)))));
                socket.send_to(&answer.to_vec().unwrap(), client).await.unwrap();
            }
        });
        place
    }

    /// One that never answers.
    async fn mute() -> (NameServer, UdpSocket) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        (NameServer(socket.local_addr().unwrap()), socket)
    }

    fn request() -> Box<Request> {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_ascii("example.net.").unwrap(), RecordType::A));
        match Packet::read(&message.to_vec().unwrap(), Transport::Udp) {
            Packet::Request(request) => request,
            other => panic!("{other:?}"),
        }
    }

    async fn look_up(servers: &[NameServer]) -> Reply {
        let forwarder = Forwarder::with_patience(servers, Duration::from_secs(1)).unwrap();
        forwarder.look_up(&request(), CLIENT).await
    }

    #[tokio::test]
    async fn what_a_resolver_says_is_passed_on() {
        let found =
            look_up(&[resolver(ResponseCode::NoError, Some(Ipv4Addr::new(198, 51, 100, 7))).await]).await;
        assert_eq!((found.code, found.answers.len()), (ResponseCode::NoError, 1));
        for code in [ResponseCode::NXDomain, ResponseCode::Refused, ResponseCode::NoError] {
            let none = look_up(&[resolver(code, None).await]).await;
            assert_eq!((none.code, none.answers.len(), none.recursion_available), (code, 0, true));
        }
    }

    #[tokio::test]
    async fn the_next_resolver_is_asked_when_one_is_silent_or_at_a_loss() {
        let good = resolver(ResponseCode::NoError, Some(Ipv4Addr::new(198, 51, 100, 7))).await;
        let (silent, _socket) = mute().await;
        let lost = resolver(ResponseCode::ServFail, None).await;
        let refusing = resolver(ResponseCode::Refused, None).await;
        for servers in [[silent, good], [lost, good], [refusing, good]] {
            let forwarder = Forwarder::with_patience(&servers, Duration::from_secs(2)).unwrap();
            assert_eq!(forwarder.look_up(&request(), CLIENT).await.answers.len(), 1);
            assert_eq!(forwarder.preferred.load(Ordering::Relaxed), 1, "who answered is asked first");
        }
    }

    #[tokio::test]
    async fn a_resolver_that_knows_no_edns_is_asked_without_it() {
        let old = resolver(ResponseCode::FormErr, Some(Ipv4Addr::new(198, 51, 100, 7))).await;
        assert_eq!(look_up(&[old]).await.answers.len(), 1);
    }

    #[tokio::test]
    async fn when_nobody_answers_the_client_is_told_so() {
        let (silent, _socket) = mute().await;
        let nobody = NameServer("127.0.0.1:1".parse().unwrap());
        for servers in [vec![silent], vec![nobody], vec![nobody, silent]] {
            assert_eq!(look_up(&servers).await.code, ResponseCode::ServFail);
        }
    }
}
