//! How home's head is asked for: by HTTP, in DNS, and of any peer. What comes is offered, and only then it shows what it is worth.

use std::time::Duration;

use bytes::Bytes;
use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::RData;
use http::header::{ACCEPT, HOST};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use resolver::head::followed::Outcome;
use resolver::head::polls::{Asked, Way};
use resolver::head::{LONGEST, dns, name};
use resolver::peer::PeerId;
use resolver::trustless::RECORD_TYPE;
use tokio::time::timeout;
use url::Url;

use super::Following;
use crate::line::{self, Line};
use crate::steer::{PEER, connector};
use crate::swarm::{Neighbours, Swarm};

/// A connection to an address of home's.
const DIAL: Duration = Duration::from_secs(5);
/// An answer of a few hundred bytes, with its connection, its TLS and a slow line.
const PATIENCE: Duration = Duration::from_secs(10);
/// A peer that is there at all is connected to by then.
const SOON: Duration = Duration::from_secs(2);
/// Addresses of home's that are tried in one question, and peers that are asked.
const MOST_URLS: usize = 8;
const MOST_PEERS: usize = 3;

/// Who is asked, and how.
pub struct Asker {
    following: Following,
    own: PeerId,
    swarm: Swarm,
    /// Where home serves clients, as far as the configuration says.
    urls: Vec<Url>,
    /// Where home's DNS tells its head.
    zone: String,
    line: Line<Empty<Bytes>>,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
}

/// Why there was no record.
#[derive(Debug, thiserror::Error)]
enum NoRecord {
    #[error("there was no answer within 10 s")]
    Silent,
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("{0}")]
    Broken(String),
}

impl Asker {
    /// Asks nobody yet.
    ///
    /// # Errors
    /// When the system's trust store cannot be read.
    pub fn new(
        following: &Following,
        own: PeerId,
        swarm: Swarm,
        urls: Vec<Url>,
        zone: String,
    ) -> anyhow::Result<Self> {
        let client = Client::builder(TokioExecutor::new()).build(connector(DIAL)?);
        let (line, following) = (line::over(swarm.clone()), following.clone());
        Ok(Self { following, own, swarm, urls, zone, line, client })
    }

    pub(super) fn swarm(&self) -> &Swarm {
        &self.swarm
    }

    /// Asks by one way, and offers what comes.
    pub(super) async fn ask(&self, way: Way) -> Asked {
        match way {
            Way::Http => self.home().await,
            Way::Dns => timeout(PATIENCE, self.dns()).await.unwrap_or(Asked::Failed),
            Way::Ipns => self.peers().await,
            // Gossip speaks by itself.
            Way::Pubsub => Asked::Failed,
        }
    }

    /// Home itself where it is connected, for nobody else can answer there; otherwise its addresses, one after the other.
    async fn home(&self) -> Asked {
        let home = self.following.home();
        // Who can be asked elsewhere is not waited for.
        let patience = if self.urls.is_empty() { SOON } else { Duration::ZERO };
        let is_there = self.is_connected(patience, |peers| peers.contains_key(&home)).await;
        if is_there && self.told_by(home, Way::Http).await {
            return Asked::Answered;
        }
        for url in self.urls().into_iter().take(MOST_URLS) {
            let address = format!("{}/ipns/{}", url.as_str().trim_end_matches('/'), name(home));
            let request = Request::get(&address).header(ACCEPT, RECORD_TYPE).body(Empty::new());
            let Ok(request) = request else { continue };
            let answer =
                read(async { self.client.request(request).await.map_err(|error| broken(&error)) }).await;
            let answer =
                answer.inspect_err(|error| tracing::debug!(%url, %error, "home's head was not told"));
            if answer.is_ok_and(|record| self.counts(&record, Way::Http)) {
                return Asked::Answered;
            }
        }
        Asked::Failed
    }

    /// Whether those are there who are needed, or come soon: at a start they do.
    async fn is_connected(&self, patience: Duration, enough: impl Fn(&Neighbours) -> bool) -> bool {
        let mut peers = self.swarm.follow();
        timeout(patience, peers.wait_for(|peers| enough(peers))).await.is_ok_and(|there| there.is_ok())
    }

    /// Those of the configuration, and those that home says itself.
    fn urls(&self) -> Vec<Url> {
        let neighbours = self.swarm.neighbours();
        let card = neighbours.get(&self.following.home()).and_then(|home| home.card.as_ref());
        let of_card = card.into_iter().flat_map(|card| &card.urls).filter_map(|url| url.parse().ok());
        self.urls.iter().cloned().chain(of_card).collect()
    }

    /// A few of those who are connected, others each time.
    async fn peers(&self) -> Asked {
        self.is_connected(SOON, |peers| !peers.is_empty()).await;
        let mut peers: Vec<_> = self.swarm.neighbours().keys().copied().collect();
        peers.sort_by_cached_key(|_| dice().to_bits());
        peers.truncate(MOST_PEERS);
        let asked = peers.into_iter().map(|peer| self.told_by(peer, Way::Ipns));
        match futures_util::future::join_all(asked).await.contains(&true) {
            true => Asked::Answered,
            false => Asked::Failed,
        }
    }

    /// Whether a peer has said something that counts.
    async fn told_by(&self, peer: PeerId, way: Way) -> bool {
        let address = format!("http://{peer}/ipns/{}", name(self.following.home()));
        let request = Request::get(address)
            .header(HOST, "open-registry")
            .header(ACCEPT, RECORD_TYPE)
            .header(PEER, self.own.to_string())
            .body(Empty::new());
        let Ok(request) = request else { return false };
        let answer = read(async { self.line.request(request).await.map_err(|error| broken(&error)) }).await;
        let answer =
            answer.inspect_err(|error| tracing::debug!(%peer, %error, "a peer did not tell home's head"));
        answer.is_ok_and(|record| self.counts(&record, way))
    }

    /// The texts of home's zone, by this machine's own resolver. It is read anew each time: a laptop has another one in the next
    /// room, and nothing is kept longer than DNS itself keeps it.
    async fn dns(&self) -> Asked {
        let resolver = TokioResolver::builder_tokio().and_then(hickory_resolver::ResolverBuilder::build);
        let Ok(resolver) = resolver else { return Asked::Failed };
        let answer = match resolver.txt_lookup(format!("{}.", self.zone)).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(zone = %self.zone, %error, "DNS does not tell home's head");
                return Asked::Failed;
            }
        };
        let texts = answer.answers().iter().filter_map(|record| match &record.data {
            RData::TXT(text) => Some(text.txt_data.iter().map(AsRef::as_ref)),
            _ => None,
        });
        match dns::read(texts) {
            Ok(told) => {
                // All of them are looked at: one that is not home's must not hide one that is.
                let counts = told.records.iter().filter(|record| self.counts(record, Way::Dns)).count();
                if counts > 0 { Asked::Answered } else { Asked::Failed }
            }
            Err(error) => {
                tracing::debug!(zone = %self.zone, %error, "DNS does not tell home's head");
                Asked::Failed
            }
        }
    }

    fn counts(&self, record: &[u8], way: Way) -> bool {
        matches!(self.following.offer(record, way), Outcome::New | Outcome::Known)
    }
}

/// The body of an answer, if it can be a record.
async fn read(
    asked: impl Future<Output = Result<http::Response<Incoming>, NoRecord>>,
) -> Result<Bytes, NoRecord> {
    let reading = async {
        let answer = asked.await?;
        if answer.status() != StatusCode::OK {
            return Err(NoRecord::Status(answer.status()));
        }
        let body = Limited::new(answer.into_body(), LONGEST).collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|error| NoRecord::Broken(error.to_string()))
    };
    timeout(PATIENCE, reading).await.unwrap_or(Err(NoRecord::Silent))
}

fn broken(error: &hyper_util::client::legacy::Error) -> NoRecord {
    NoRecord::Broken(std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string))
}

/// A random number from 0 to 1, good enough to spread questions.
pub(super) fn dice() -> f64 {
    use std::hash::{BuildHasher as _, RandomState};
    f64::from((RandomState::new().hash_one(0u8) >> 32) as u32) / f64::from(u32::MAX)
}
