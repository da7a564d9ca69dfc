//! What was asked of the registry, and how far each answer got.

use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Version, request};

use super::route::{Route, decoded};

/// One request, as it arrived, and what became of it so far.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// `GET`.
    pub method: String,
    /// As the client sent it, with its escapes and its query.
    pub path: String,
    /// The client's end of the connection.
    pub from: Option<SocketAddr>,
    /// Every header of the request.
    pub headers: HeaderMap,
    /// The body of the request.
    pub body: Bytes,
    /// HTTP/1.1 or HTTP/2.
    pub version: Version,
    /// Status of the answer; 0 until there is one.
    pub status: u16,
    /// Bytes of the answer's body that were handed to the connection.
    pub sent: u64,
    /// When it arrived.
    pub at: Instant,
    pub(crate) route: Route,
    pub(crate) over: bool,
}

impl Recorded {
    /// Whether the answer's body has ended, or was given up: nothing more of it will be sent.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// A header of the request, if it was there.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether it asked for a tarball.
    pub fn is_tarball(&self) -> bool {
        matches!(self.route, Route::Tarball { .. })
    }

    /// Whether it asked for a packument.
    pub fn is_packument(&self) -> bool {
        matches!(self.route, Route::Packument(_))
    }

    /// Whether it asked for this path, however the scope's slash was written.
    pub fn is_for(&self, path: &str) -> bool {
        decoded(&self.path) == decoded(path)
    }
}

/// The requests since the start, or since the last reset.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pages: Mutex<Pages>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Pages {
    forgotten: usize,
    requests: Vec<Recorded>,
}

impl Log {
    /// Notes a request; the number is what `amend` wants.
    pub(crate) fn arrived(&self, head: &request::Parts, body: Bytes, route: Route) -> usize {
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let recorded = Recorded {
            method: head.method.to_string(),
            path,
            from: head.extensions.get::<Option<SocketAddr>>().copied().flatten(),
            headers: head.headers.clone(),
            body,
            version: head.version,
            status: 0,
            sent: 0,
            at: Instant::now(),
            route,
            over: false,
        };
        let mut pages = self.pages();
        pages.requests.push(recorded);
        self.changed.notify_all();
        pages.forgotten + pages.requests.len() - 1
    }

    /// Changes what is known about a request, unless it was forgotten meanwhile.
    pub(crate) fn amend(&self, number: usize, change: impl FnOnce(&mut Recorded)) {
        let mut pages = self.pages();
        let index = number.checked_sub(pages.forgotten);
        if let Some(recorded) = index.and_then(|index| pages.requests.get_mut(index)) {
            change(recorded);
            self.changed.notify_all();
        }
    }

    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.pages().requests.clone()
    }

    pub(crate) fn reset(&self) {
        let mut pages = self.pages();
        pages.forgotten += pages.requests.len();
        pages.requests.clear();
    }

    /// Waits until the log satisfies `enough`; false when it did not in time.
    pub(crate) fn wait_until(&self, enough: impl Fn(&[Recorded]) -> bool, within: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.pages(), within, |pages| !enough(&pages.requests));
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
