//! Names that are not ours, asked of the resolvers that the administrator names.

use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, ResponseCode};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverOpts, ServerOrderingStrategy};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle, FirstAnswer};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::NameServer;
use super::message::{Reply, Request};

/// Questions that are being looked up at once. More are told so (SERVFAIL) and asked again by their clients.
const LOOK_UPS: usize = 512;
/// A client asks again after five seconds (resolv.conf(5)); by then it should know.
const PATIENCE: Duration = Duration::from_secs(4);
/// One resolver's time before the next is asked.
const EACH: Duration = Duration::from_millis(1500);

/// Asks other resolvers. Cheap to clone.
#[derive(Clone)]
pub(super) struct Forwarder {
    pool: NameServerPool<TokioRuntimeProvider>,
    places: Arc<Semaphore>,
}

impl Forwarder {
    /// Asks these, the first one first. `None`: there is nobody to ask.
    pub(super) fn new(servers: &[NameServer]) -> anyhow::Result<Option<Self>> {
        if servers.is_empty() {
            return Ok(None);
        }
        let mut options = ResolverOpts::default();
        options.timeout = EACH;
        options.num_concurrent_reqs = 1;
        options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
        options.max_active_requests = LOOK_UPS;
        let context = Arc::new(PoolContext::new(options, TlsConfig::new()?));
        let pool =
            NameServerPool::from_config(servers.iter().map(server), context, TokioRuntimeProvider::default());
        Ok(Some(Self { pool, places: Arc::new(Semaphore::new(LOOK_UPS)) }))
    }

    /// What the resolvers say; SERVFAIL when none of them says anything.
    pub(super) async fn look_up(&self, request: &Request) -> Reply {
        let Ok(_place) = self.places.try_acquire() else {
            return failed();
        };
        let onward = DnsRequest::new(request.onward(), DnsRequestOptions::default());
        match timeout(PATIENCE, self.pool.send(onward).first_answer()).await {
            Ok(Ok(response)) => reply(response),
            Ok(Err(NetError::Dns(error))) => negative(error),
            Ok(Err(error)) => {
                tracing::debug!(%error, "no resolver answers");
                failed()
            }
            Err(_) => failed(),
        }
    }
}

fn server(server: &NameServer) -> NameServerConfig {
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
