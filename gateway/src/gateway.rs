//! Wires the parts of one gateway together, and runs them.

mod federation;
mod follow;
mod home;
mod index;
mod listening;
mod peers;
mod publishing;
mod rooted;
mod sharing;
mod sources;

use std::sync::Arc;

use anyhow::Context;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use resolver::connectivity::Link;
use resolver::links::Links;
use resolver::peer::PeerId;
use resolver::plan::Windows;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use url::Url;

use self::federation::Federation;
use self::follow::Heads;
use self::listening::{Around, Listening};
use self::sharing::Shared;
use crate::changes::Feed;
use crate::config::{self, Config};
use crate::dns::Locate;
use crate::fetch::{Fetch, Peers, Settings};
use crate::http::{Ground, Guidance, Load, Policy, Prover, Server, Service};
use crate::identity::Identity;
use crate::index::Index;
use crate::interfaces;
use crate::metrics::Metrics;
use crate::open_files;
use crate::operator::Operator;
use crate::pulse::Pulses;
use crate::service::{self, Handed, Reloads};
use crate::steer::{Basis, Geo, Guide, Owner, Prober, Steering};
use crate::store::Store;
use crate::swarm::Contact;
use crate::terminal::{self, Transfer, say};
use crate::tls::Tls;
use crate::upstream::Upstream;
use crate::warm::{Place, WarmUps};

/// Runs one gateway until it is told to stop. Sockets that were handed over are served in place of the configured
/// addresses of the same role.
///
/// # Errors
/// When a part cannot start: the data directory, an address to listen on, the trust store, the certificate.
pub async fn run(config: Config, handed: Handed) -> anyhow::Result<()> {
    open_files::raise();
    let stop = stop_on_signals()?;
    let reloads = Reloads::listen()?;
    let metrics = Arc::new(Metrics::new());
    let store = open_store(&config).await?;
    let upstream = Upstream::new(&config.upstream, config.offline, Arc::clone(&metrics))?;
    let identity = Arc::new(open_identity(&config).await?);
    let links = interfaces::watch().context("cannot see this machine's network interfaces")?;
    let geo = Geo::load(&config.steer.geoip);
    let tls = Tls::load(&config.tls, Arc::clone(&metrics))?;
    let pulses = Pulses::new();

    let load = Arc::new(Load::new(metrics.connections()));
    let this = peers::This { upstream: upstream.clone(), load: Arc::clone(&load) };
    let owner = peers::owner(&config, identity.id(), &geo, links.clone(), this)?;
    let steering = owner.steering();
    let (tell_names, head) = watch::channel(None);
    let around = Around {
        id: identity.id(),
        links: links.clone(),
        peers: steering.follow(),
        head: head.clone(),
        locate: locate(&geo),
        metrics: Arc::clone(&metrics),
        pulses: pulses.clone(),
    };
    let listening = Listening::open(&config, handed, tls.as_ref(), &around)?;
    let mut heads = Heads::of(&config, identity.id(), &metrics)?;
    let mut federation = Federation::start(&config, &identity, &listening, &upstream, &heads, &metrics)?;
    let shared = Shared::new(&config, &mut federation, links.clone(), &metrics);
    home::follow(&config, identity.id(), federation.swarm.clone(), &upstream)?;
    let peers = sources::peers(&config, identity.id(), &steering, &shared, &metrics)?;
    let rooted =
        rooted::open(&config, identity.id(), heads.following.as_ref(), (&store, &shared, &peers), &metrics)?;
    let fetch = fetch(&config, &store, &upstream, peers, &metrics)?;
    let announced = federation.announced();
    rooted::run(&config, rooted.as_ref().zip(heads.following.as_ref()), (&fetch, announced), stop.clone());
    let index = index::index(&config, &store, &fetch, (&identity, federation.listed.take()))?;
    let feed = feed(&config, &fetch, &index, &metrics);
    let warm_ups = warm_ups(&config, &fetch, &stop)?;
    listening.announce();
    let guide = guide(&config, &listening, &links, &steering, &geo);
    let catalogue = publishing::catalogue(
        &config,
        identity.id(),
        &index,
        (&fetch, &shared),
        (heads.following.clone(), rooted),
        &metrics,
    );
    heads.run(&config, identity.id(), shared.swarm.clone(), stop.clone())?;
    let told = (shared.peers(), catalogue.clone(), Arc::clone(&metrics));
    let operator = Operator::new(identity.id(), fetch.clone(), warm_ups, feed.clone(), guide.clone(), told);
    let guidance = guidance(&config, identity.id(), guide, &steering)?;
    let prover = Prover::new(ground(&config, &identity, &listening, links, &stop), load);
    let service = Service::new(
        fetch.clone(),
        policy(&config),
        prover,
        guidance,
        (shared.sharing.clone(), catalogue),
        Arc::clone(&metrics),
    );
    let shared = shared.serve(service.clone(), &store, &stop);
    let server = Server::new(service, metrics.connections(), metrics.handshake_failures());
    let server = server.excepting(config.http.trusted_proxies.clone());
    let served = tokio::spawn(server.serve(listening.clients, stop.clone()));
    let closing = CancellationToken::new();
    let named = tokio::spawn(listening.dns.serve(closing.clone()));
    let indexed = index::keep(&index, &closing);
    publishing::tell(&index, identity.id(), (tell_names, heads.own), &metrics);
    let members = federation::members(&config, identity.id(), &geo);
    let connected =
        federation.run(members, steering.clone(), pulses.clone(), (stop.clone(), closing.clone()));
    let server = Server::new(operator.clone(), Gauge::default(), Counter::default());
    let operated = tokio::spawn(server.serve(listening.operators, closing.clone()));
    tokio::spawn(listening.closed.send_away(pulses.clone(), stop.clone()));
    tokio::spawn(service::feed_watchdog(pulses.clone()));
    keep_up(&upstream, fetch, feed, tls.as_ref(), &geo);
    tokio::spawn(peers::locate_forever(config.peer.clone(), identity.id(), geo, steering));
    let contact = first_contact(config.federation.home.clone(), upstream, operator.clone(), owner);
    tokio::spawn(begin(contact, pulses, (reloads, tls), (stop.clone(), closing.clone())));
    tell_transfer(metrics);

    stop.cancelled().await;
    say("Stopping: answers that are under way come to their end");
    service::stopping("Stopping: answers that are under way come to their end");
    operator.set_stopping();
    served.await?;
    shared.await?;
    // Names are answered, and the operator and peers too, until the last client has what it asked for.
    closing.cancel();
    for task in [named, operated, indexed].into_iter().chain(connected) {
        task.await?;
    }
    store.close().await;
    say("Stopped");
    Ok(())
}

/// What the live line tells.
fn transfer(metrics: &Metrics) -> Transfer {
    let (sent, received) = metrics.transferred();
    let [near, far, home, _] = metrics.received_by_source().map(|(_, bytes)| bytes);
    Transfer { sent, received, from_peers: [near, far, home] }
}

/// Starts what looks after things by itself, as long as the gateway runs.
fn keep_up(upstream: &Upstream, fetch: Fetch, feed: Option<Feed>, tls: Option<&Tls>, geo: &Geo) {
    tokio::spawn(upstream.clone().probe_forever());
    tokio::spawn(fetch.clone().learn_blocked_forever());
    tokio::spawn(fetch.repair_forever());
    if let Some(feed) = feed {
        tokio::spawn(feed.follow_forever());
    }
    if let Some(tls) = tls {
        tokio::spawn(tls.clone().watch());
    }
    tokio::spawn(geo.clone().watch());
}

/// Whatever gets content.
fn fetch(
    config: &Config,
    store: &Store,
    upstream: &Upstream,
    peers: Peers,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Fetch> {
    let with = (Some(peers), sources::takedowns(config)?);
    let fetch =
        Fetch::with_peers(store.clone(), upstream.clone(), with, settings(config), Arc::clone(metrics));
    // Before the first request.
    fetch.learn_blocked_of_store();
    Ok(fetch)
}

/// Upstream's change feed, if one is followed.
fn feed(config: &Config, fetch: &Fetch, index: &Index, metrics: &Arc<Metrics>) -> Option<Feed> {
    let Some(address) = config.upstream.changes.as_ref().filter(|_| !config.offline) else {
        // Offline, what was said before is still so.
        index.say_state(config.upstream.changes.as_ref().and_then(|_| fetch.store().feed_state()));
        return None;
    };
    let fresh = config.upstream.fresh.duration();
    Some(Feed::new(address, fetch.clone(), index.clone(), fresh, Arc::clone(metrics)))
}

fn warm_ups(config: &Config, fetch: &Fetch, stop: &CancellationToken) -> anyhow::Result<WarmUps> {
    let place = Place::of(&config::data_dir(config)?);
    Ok(WarmUps::new(fetch.clone(), config.private.scopes.clone(), place, stop.clone()))
}

/// The same facts as names are answered from.
fn guide(
    config: &Config,
    listening: &Listening,
    links: &watch::Receiver<Arc<Links>>,
    steering: &Steering,
    geo: &Geo,
) -> Guide {
    Guide::new(Basis {
        configured: config.zone.addresses.clone(),
        served: listening.served.clone(),
        trusted_forwarders: config.dns.trusted_forwarders.clone(),
        links: links.clone(),
        peers: steering.follow(),
        steering: Some(steering.clone()),
        geo: geo.clone(),
    })
}

/// Whom clients are led to, and who of them has what they ask for.
fn guidance(config: &Config, own: PeerId, guide: Guide, steering: &Steering) -> anyhow::Result<Guidance> {
    let redirects = config.steer.redirect && !config.offline;
    Ok(Guidance::new(guide, peers::holders(config, own, steering)?, redirects))
}

/// What this gateway may prove to be its own.
fn ground(
    config: &Config,
    identity: &Arc<Identity>,
    listening: &Listening,
    links: watch::Receiver<Arc<Links>>,
    stop: &CancellationToken,
) -> Ground {
    Ground {
        identity: Arc::clone(identity),
        zone: config.zone.name.clone(),
        addresses: config.zone.addresses.clone(),
        urls: own_urls(config, identity.id()),
        ports: listening.ports(),
        links,
        stop: stop.clone(),
    }
}

fn settings(config: &Config) -> Settings {
    Settings {
        windows: Windows { fresh: config.upstream.fresh.duration(), stale: config.upstream.stale.duration() },
        verify_first_max: config.http.verify_first_max.bytes(),
    }
}

async fn open_store(config: &Config) -> anyhow::Result<Store> {
    let dir = config::data_dir(config)?;
    tracing::info!(dir = %dir.display(), "opening the data directory");
    let store = config.store.clone();
    Ok(tokio::task::spawn_blocking(move || Store::open(&dir, &store)).await??)
}

/// After the store, which sees that nobody else has the directory.
async fn open_identity(config: &Config) -> anyhow::Result<Identity> {
    let dir = config::data_dir(config)?;
    let identity = tokio::task::spawn_blocking(move || Identity::open(&dir)).await??;
    tracing::info!(peer = %identity.id(), "this gateway's id");
    Ok(identity)
}

/// What this gateway's own `[[peer]]` says of where it is.
fn own_urls(config: &Config, id: PeerId) -> Vec<Url> {
    let own = config.peer.iter().filter(|entry| entry.id == id);
    own.flat_map(|entry| entry.urls.clone()).collect()
}

fn policy(config: &Config) -> Policy {
    Policy {
        canonical_tarballs: canonical_tarballs(config),
        trusted_proxies: config.http.trusted_proxies.clone(),
        private_scopes: config.private.scopes.clone(),
    }
}

fn canonical_tarballs(config: &Config) -> String {
    config.canonical_tarballs().as_str().trim_end_matches('/').to_owned()
}

/// Where a network is: where its first address is, which stands for all of it.
fn locate(geo: &Geo) -> Locate {
    let geo = geo.clone();
    Arc::new(move |network| geo.locate(network.addr()))
}

/// Asks upstream once and looks at every peer, so that readiness and the terminal can tell.
async fn first_contact(
    home: Option<Contact>,
    upstream: Upstream,
    operator: Operator,
    mut owner: Owner<Prober>,
) -> Owner<Prober> {
    if upstream.latch().link() != Link::Offline {
        say(&format!("Connecting to {}", home::first(home.as_ref(), &upstream)));
    }
    let (answered, ()) = tokio::join!(upstream.try_once(), owner.first_round());
    home::tell(home.as_ref(), &upstream, answered.map(drop));
    operator.set_ready();
    owner
}

/// Is ready once upstream and every peer were looked at, and goes on looking at peers.
async fn begin(
    contact: impl Future<Output = Owner<Prober>>,
    pulses: Pulses,
    (reloads, tls): (Reloads, Option<Tls>),
    (stop, end): (CancellationToken, CancellationToken),
) {
    let owner = contact.await;
    tokio::spawn(owner.run(pulses, stop, end));
    reloads.serve(tls).await;
}

fn tell_transfer(metrics: Arc<Metrics>) {
    tokio::spawn(terminal::run_transfer_line(move || transfer(&metrics)));
}

/// SIGTERM and Ctrl-C ask for an orderly end; the second one does not wait for it.
fn stop_on_signals() -> anyhow::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let stop = CancellationToken::new();
    let asked = stop.clone();
    tokio::spawn(async move {
        let mut times = 0;
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            asked.cancel();
            times += 1;
            if times > 1 {
                std::process::exit(1);
            }
        }
    });
    Ok(stop)
}
