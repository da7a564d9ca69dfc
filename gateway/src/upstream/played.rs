//! A home that a test plays: it answers the streams that are opened to it, and remembers what it was asked.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use resolver::peer::PeerId;
use tokio::io::duplex;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Following, HOMES, Upstream};
use crate::metrics::Metrics;
use crate::swarm::{Command, Ends, Neighbour, NoStream, Protocol, Swarm};

/// What it was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What it answers: an empty body and nothing said is an answer that never comes.
pub(crate) type Said = Option<Response<Bytes>>;
type Answers = Arc<dyn Fn(&Asked) -> Said + Send + Sync>;

/// The other end of a swarm.
pub(crate) struct Played {
    neighbours: tokio::sync::watch::Sender<Arc<crate::swarm::Neighbours>>,
    /// Its side of the handle ends when this does.
    pub(crate) asked: Arc<Mutex<Vec<Asked>>>,
    pub(crate) opened: Arc<Mutex<u32>>,
    answers: Arc<Mutex<Option<Answers>>>,
}

/// Who is followed.
pub(crate) fn home() -> PeerId {
    PeerId::of_key([7; 32])
}

/// Who follows.
pub(crate) fn own() -> PeerId {
    PeerId::of_key([1; 32])
}

/// An answer of a home's that follows nobody.
pub(crate) fn said(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Said {
    let mut response = Response::builder().status(status).header(HOMES, "");
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    Some(response.body(body.into()).unwrap())
}

impl Played {
    /// An upstream at `url` that is followed through a home that a test plays. It is not connected yet.
    pub(crate) fn new(url: &str) -> (Self, Upstream) {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let (swarm, ends, _) = Swarm::channels();
        let contact = format!("/ip4/192.0.2.7/tcp/6738/p2p/{}", home()).parse().unwrap();
        let following = Following { contact, own: own(), swarm };
        let config = toml(url);
        let upstream = Upstream::new(&config, false, Arc::new(Metrics::new())).unwrap();
        upstream.follow(following);
        let Ends { neighbours, commands, .. } = ends;
        let played =
            Self { neighbours, asked: Arc::default(), opened: Arc::default(), answers: Arc::default() };
        tokio::spawn(play(
            commands,
            Arc::clone(&played.answers),
            (Arc::clone(&played.asked), Arc::clone(&played.opened)),
        ));
        (played, upstream)
    }

    /// It is connected from now on.
    pub(crate) fn connect(&self) {
        let neighbour = Neighbour { addresses: Vec::new(), near: true, card: None, since: Instant::now() };
        self.neighbours.send_replace(Arc::new(BTreeMap::from([(home(), neighbour)])));
    }

    /// It is not any more.
    pub(crate) fn disconnect(&self) {
        self.neighbours.send_replace(Arc::default());
    }

    /// What it answers from now on; `None`: it takes no stream.
    pub(crate) fn answers(&self, answers: Option<fn(&Asked) -> Said>) {
        *self.answers.lock().unwrap() = answers.map(|answers| Arc::new(answers) as Answers);
    }

    /// As [`Self::answers`], for what depends on the test.
    pub(crate) fn answers_with(&self, answers: impl Fn(&Asked) -> Said + Send + Sync + 'static) {
        *self.answers.lock().unwrap() = Some(Arc::new(answers));
    }

    /// The paths that were asked for, and nothing of probes.
    pub(crate) fn paths(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked.iter().map(|asked| asked.path.clone()).filter(|path| path != "/-/ping").collect()
    }
}

fn toml(url: &str) -> super::Config {
    use crate::units::Period;
    let period = |seconds| Period(std::time::Duration::from_secs(seconds));
    super::Config {
        url: url.parse().unwrap(),
        fresh: period(300),
        stale: period(3600),
        changes: None,
        tarball_hosts: Vec::new(),
    }
}

type Seen = (Arc<Mutex<Vec<Asked>>>, Arc<Mutex<u32>>);

async fn play(mut commands: mpsc::Receiver<Command>, answers: Arc<Mutex<Option<Answers>>>, seen: Seen) {
    while let Some(command) = commands.recv().await {
        let Command::Open { to, protocol, done } = command else { continue };
        assert_eq!((to, protocol), (home(), Protocol::Http));
        let answers = answers.lock().unwrap().clone();
        let Some(answers) = answers else {
            let _ = done.send(Err(NoStream::Refused("as planned".into())));
            continue;
        };
        let (ours, theirs) = duplex(64 * 1024);
        *seen.1.lock().unwrap() += 1;
        let asked = Arc::clone(&seen.0);
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let (asked, answers) = (Arc::clone(&asked), Arc::clone(&answers));
                async move {
                    let (head, body) = request.into_parts();
                    let this = Asked {
                        method: head.method.to_string(),
                        path: head.uri.to_string(),
                        headers: head.headers,
                        body: body.collect().await.unwrap().to_bytes(),
                    };
                    asked.lock().unwrap().push(this.clone());
                    match answers(&this) {
                        Some(answer) => Ok::<_, Infallible>(answer.map(Full::new)),
                        None => std::future::pending().await,
                    }
                }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(ours), service)
                .await;
        });
        let _ = done.send(Ok(Box::new(theirs)));
    }
}
