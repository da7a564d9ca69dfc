//! An npm registry that behaves like the public one, until it is told to misbehave.
//!
//! ```text
//! let registry = Registry::builder().package(Package::new("left").version("1.0.0", |v| v)).start();
//! registry.fault(Matcher::Tarballs, 1, Fault::CutAfter(100));
//! ...
//! assert_eq!(registry.requests_to("/left"), 1);
//! ```
//!
//! A request goes `serve` -> `route` -> (`faults` change what is asked) -> `respond` from the `catalog` and its
//! `documents` -> `answer` (conditions, ranges, gzip) -> (`faults` spoil it) -> `delivery`, over a `wire` that
//! can be cut to the byte. The `log` sees all of it.

mod answer;
mod builder;
mod catalog;
mod changes;
mod delivery;
mod documents;
mod faults;
mod log;
mod respond;
mod route;
mod serve;
mod wire;

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio_rustls::TlsAcceptor;

pub use builder::Builder;
use documents::Form;
pub use faults::{Fault, Matcher, Times};
pub use log::Recorded;
use serve::{Running, State};

use crate::package::Package;
use crate::place::Place;

/// By then a port that was let go can be had again.
const FREED: Duration = Duration::from_secs(10);

/// The media type that asks for abbreviated packuments.
pub const ABBREVIATED: &str = documents::ABBREVIATED;

/// A registry in this process; it stops when it is dropped.
pub struct Registry {
    state: Arc<State>,
    url: String,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    place: Place,
    running: Mutex<Option<Running>>,
}

impl Registry {
    /// An empty registry to be described.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where it listens: `http://127.0.0.1:40123`, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its replication API, whose change feed knows every package but those of private scopes.
    pub fn replica_url(&self) -> String {
        format!("{}/-/replica", self.url)
    }

    /// The sequence that its change feed has come to.
    pub fn changes_end(&self) -> u64 {
        self.state.catalog().changes().end()
    }

    /// The change feed goes on by so many sequences, with nothing to tell of them.
    pub fn skip_changes(&self, count: u64) {
        self.state.catalog().changes().skip(count);
    }

    /// The change feed forgets everything and counts from here.
    pub fn restart_changes(&self, end: u64) {
        self.state.catalog().changes().restart(end);
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests since the start, or since the last reset, in the order of arrival.
    pub fn requests(&self) -> Vec<Recorded> {
        self.state.log.requests()
    }

    /// How many requests asked for this path, however the scope's slash was written, whatever the query.
    pub fn requests_to(&self, path: &str) -> usize {
        self.requests().iter().filter(|recorded| recorded.is_for(path)).count()
    }

    /// How many requests asked for a tarball.
    pub fn tarball_requests(&self) -> usize {
        self.requests().iter().filter(|recorded| recorded.is_tarball()).count()
    }

    /// How many requests asked for a packument.
    pub fn packument_requests(&self) -> usize {
        self.requests().iter().filter(|recorded| recorded.is_packument()).count()
    }

    /// Bytes of bodies sent.
    pub fn bytes_sent(&self) -> u64 {
        self.requests().iter().map(|recorded| recorded.sent).sum()
    }

    /// Waits until the log satisfies `enough`; false when it did not in time.
    pub fn wait_until(&self, enough: impl Fn(&[Recorded]) -> bool, within: Duration) -> bool {
        self.state.log.wait_until(enough, within)
    }

    /// Forgets the requests so far.
    pub fn reset_log(&self) {
        self.state.log.reset();
    }

    /// Lets a fault befall requests: `registry.fault(Matcher::Tarballs, 1, Fault::Reset)`.
    pub fn fault(&self, matcher: Matcher, times: impl Into<Times>, fault: Fault) {
        self.state.faults().add(matcher, times.into(), fault);
    }

    /// Behaves again.
    pub fn clear_faults(&self) {
        self.state.faults().clear();
    }

    /// Adds a package; of one that is there, adds or replaces the versions and tags given.
    pub fn publish(&self, package: Package) {
        self.state.catalog().publish(package);
    }

    /// Has these very bytes as the full and the abbreviated packument of a package, whatever they are.
    pub fn hold(&self, name: &str, full: impl Into<Bytes>, abbreviated: impl Into<Bytes>) {
        let documents = [(Form::Full, full.into()), (Form::Abbreviated, abbreviated.into())];
        self.state.catalog().hold(name, documents);
    }

    /// Renders every packument now: upstream is not to be slow because it has just been started.
    pub fn render(&self) {
        self.state.catalog().render(&self.state.character.base);
    }

    /// Removes a package.
    pub fn unpublish(&self, name: &str) {
        self.state.catalog().unpublish(name);
    }

    /// Removes one version of a package.
    pub fn remove_version(&self, name: &str, version: &str) {
        self.state.catalog().remove_version(name, version);
    }

    /// Stops listening and drops every connection: from now on connections are refused.
    pub fn switch_off(&self) {
        let running = self.running().take();
        if let Some(running) = running {
            running.stop();
        }
    }

    /// Listens again, on the same port of the place where it was started.
    pub fn switch_on(&self) {
        if self.running().is_none() {
            let address = self.address;
            let listener = self.place.run(|| bind_again(address));
            self.listen_on(listener.unwrap_or_else(|error| panic!("cannot bind {address} again: {error}")));
        }
    }

    /// Ends it.
    pub fn stop(self) {
        self.switch_off();
    }

    fn listen_on(&self, listener: TcpListener) {
        *self.running() = Some(Running::start(listener, self.tls.clone(), Arc::clone(&self.state)));
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every process that is just being started has the socket that was closed, until it has begun.
fn bind_again(address: SocketAddr) -> io::Result<TcpListener> {
    let started = Instant::now();
    loop {
        match TcpListener::bind(address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && started.elapsed() < FREED => {
                thread::sleep(Duration::from_millis(5));
            }
            bound => return bound,
        }
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Registry({})", self.url)
    }
}
