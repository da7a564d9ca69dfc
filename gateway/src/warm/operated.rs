//! Warm-ups that a running gateway does, at its operator's listener: `POST /warm` with an order, answered by lines of
//! JSON, the last of which is the report.
//!
//! The command that asks lives on the same machine. A page in a browser there could ask too, so a request needs a
//! literal address as its host (no name that somebody else's DNS could lead here), a media type that pages may not
//! send unasked, and no Origin. A warm-up ends with its connection: who interrupts the command means it, and a
//! second one goes on where the first one ended; nothing runs on that nobody sees.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{CONTENT_TYPE, HOST, HeaderValue, ORIGIN};
use http::request::Parts;
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::engine::WarmUp;
use super::order::{LONGEST, Order, Place};
use super::report::Event;
use super::sets::{self, Question};
use crate::fetch::Fetch;
use crate::http::{Body, Wire, full, streamed};

/// Warm-ups at once, of different sets; each keeps its order in memory and asks for 32 things at once.
const AT_ONCE: usize = 4;
/// How long an order may take to come: it comes from the same machine.
const ORDER_WAIT: Duration = Duration::from_secs(60);
/// Between two lines about how far it is.
const TOLD_EVERY: Duration = Duration::from_millis(500);
/// Where orders are taken.
pub(super) const ORDERS: &str = "/warm";
/// Where sets are listed and forgotten.
pub(super) const SETS: &str = "/warm/sets";
/// What orders and answers are.
pub(super) const JSON: &str = "application/json";

/// Does warm-ups for whoever operates this gateway. Cheap to clone.
#[derive(Clone)]
pub struct WarmUps {
    inner: Arc<Inner>,
}

struct Inner {
    fetch: Fetch,
    private_scopes: Vec<String>,
    place: Option<Place>,
    /// Names of the sets that are being warmed.
    running: Mutex<BTreeSet<String>>,
    stop: CancellationToken,
}

/// Why an order is not followed.
struct Refusal(StatusCode, String);

/// Takes a set's name off the list.
struct Listed {
    warm_ups: WarmUps,
    name: String,
}

/// A warm-up whose lines are being sent.
struct Running {
    warm_up: Arc<WarmUp>,
    run: BoxFuture<'static, ()>,
    ticks: Interval,
    stop: CancellationToken,
    _listed: Listed,
}

impl WarmUps {
    /// For the data directory at `place`, until `stop`.
    #[must_use]
    pub fn new(
        fetch: Fetch,
        private_scopes: Vec<String>,
        place: Option<Place>,
        stop: CancellationToken,
    ) -> Self {
        Self { inner: Arc::new(Inner { fetch, private_scopes, place, running: Mutex::default(), stop }) }
    }

    /// Whether it is for this to answer.
    #[must_use]
    pub fn is_for(method: &Method, path: &str) -> bool {
        method == Method::POST && [ORDERS, SETS].contains(&path)
    }

    /// Answers an order, or a question about sets.
    pub async fn answer(&self, request: Request<Incoming>, wire: Wire) -> Response<Body> {
        let (head, body) = request.into_parts();
        let lines = match (allowed(&head, &wire), head.uri.path()) {
            (Err(refusal), _) => Err(refusal),
            (Ok(()), SETS) => self.sets(body).await,
            (Ok(()), _) => self.begin(body).await.map(lines),
        };
        match lines {
            Ok(lines) => {
                let mut response = Response::new(lines);
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
                response
            }
            Err(Refusal(status, words)) => {
                let mut response = Response::new(full(format!("{words}\n")));
                *response.status_mut() = status;
                response
                    .headers_mut()
                    .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
                response
            }
        }
    }

    async fn begin(&self, body: Incoming) -> Result<Running, Refusal> {
        let order = received(body).await?;
        let order = Order::from_json(&order)
            .map_err(|words| Refusal(StatusCode::BAD_REQUEST, format!("this is no order: {words}")))?;
        self.check(order.place)?;
        let listed = self.list(&order.name)?;
        let warm_up = Arc::new(WarmUp::new(self.inner.fetch.clone(), order, &self.inner.private_scopes));
        let run = Arc::clone(&warm_up);
        let mut ticks = interval(TOLD_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stop = self.inner.stop.clone();
        Ok(Running { warm_up, run: async move { run.run().await }.boxed(), ticks, stop, _listed: listed })
    }

    async fn sets(&self, body: Incoming) -> Result<Body, Refusal> {
        let question: Question = serde_json::from_slice(&received(body).await?)
            .map_err(|error| Refusal(StatusCode::BAD_REQUEST, format!("this is no question: {error}")))?;
        self.check(question.place)?;
        let answer = sets::answer(self.inner.fetch.store(), question).await;
        let mut line = serde_json::to_vec(&answer).unwrap_or_default();
        line.push(b'\n');
        Ok(full(line))
    }

    fn check(&self, place: Option<Place>) -> Result<(), Refusal> {
        match place.is_none() || place == self.inner.place {
            true => Ok(()),
            false => Err(Refusal(
                StatusCode::MISDIRECTED_REQUEST,
                "this gateway has another data directory".into(),
            )),
        }
    }

    fn list(&self, name: &str) -> Result<Listed, Refusal> {
        let mut running = self.inner.running.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = |words: String| Err(Refusal(StatusCode::CONFLICT, words));
        if running.len() >= AT_ONCE && !running.contains(name) {
            return busy(format!("{AT_ONCE} other warm-ups are under way; try again later"));
        }
        match running.insert(name.to_owned()) {
            true => Ok(Listed { warm_ups: self.clone(), name: name.to_owned() }),
            false => busy(format!("{name} is being warmed already")),
        }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut running = self.warm_ups.inner.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.remove(&self.name);
    }
}

impl Running {
    /// The next line, and whether more follow.
    async fn next(&mut self) -> (Event, bool) {
        tokio::select! {
            () = &mut self.run => (Event::Report(self.warm_up.report(true)), false),
            () = self.stop.cancelled() => (Event::Report(self.warm_up.report(false)), false),
            _ = self.ticks.tick() => (Event::Progress(self.warm_up.snapshot()), true),
        }
    }
}

/// Who may ask at all: see the top of this file.
fn allowed(head: &Parts, wire: &Wire) -> Result<(), Refusal> {
    let forbidden = |words: &str| Err(Refusal(StatusCode::FORBIDDEN, words.to_owned()));
    let (peer, local) = (wire.peer.ip(), wire.local.ip());
    if !peer.is_loopback() && peer != local {
        return forbidden("only the machine that this gateway runs on may ask for this");
    }
    if head.headers.contains_key(ORIGIN) {
        return forbidden("no page may ask for this");
    }
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !is_address(host) {
        return forbidden("the Host header has to be an address, not a name");
    }
    let json = head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == JSON);
    let words = format!("an order is {JSON}");
    if json { Ok(()) } else { Err(Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, words)) }
}

fn is_address(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let host = authority.host();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.parse::<IpAddr>().is_ok()
}

async fn received(body: Incoming) -> Result<Bytes, Refusal> {
    let collected = tokio::time::timeout(ORDER_WAIT, Limited::new(body, LONGEST).collect()).await;
    match collected {
        Ok(Ok(order)) => Ok(order.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Refusal(StatusCode::BAD_REQUEST, "the order broke off".into())),
        Err(_) => Err(Refusal(StatusCode::REQUEST_TIMEOUT, "the order did not come".into())),
    }
}

fn too_large() -> Refusal {
    let words = format!("an order has {} MiB at most", LONGEST / (1024 * 1024));
    Refusal(StatusCode::PAYLOAD_TOO_LARGE, words)
}

/// The lines as they come to be; the warm-up goes on only while somebody takes them.
fn lines(running: Running) -> Body {
    let lines = futures_util::stream::unfold(Some(running), |running| async {
        let mut running = running?;
        let (event, more) = running.next().await;
        let mut line = serde_json::to_vec(&event).unwrap_or_default();
        line.push(b'\n');
        Some((Ok(Bytes::from(line)), more.then_some(running)))
    });
    streamed(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(headers: &[(&str, &str)], peer: &str) -> Option<StatusCode> {
        let mut request = Request::post("/warm");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let (peer, local) = (peer.parse().unwrap(), "192.0.2.1:6737".parse().unwrap());
        allowed(&head, &Wire { peer, local, tls: false, proved: None }).err().map(|Refusal(status, _)| status)
    }

    #[test]
    fn a_page_in_a_browser_cannot_ask_for_a_warm_up() {
        let host = ("host", "127.0.0.1:6737");
        let json = ("content-type", JSON);
        let loopback = "127.0.0.1:4000";
        assert_eq!(status(&[host, json], loopback), None);
        assert_eq!(status(&[("host", "[::1]:6737"), json], "[::1]:4000"), None);
        let form = ("content-type", "text/plain");
        assert_eq!(status(&[host, form], loopback), Some(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        assert_eq!(status(&[host], loopback), Some(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        let origin = ("origin", "https://evil.example");
        assert_eq!(status(&[host, json, origin], loopback), Some(StatusCode::FORBIDDEN));
        for rebound in ["evil.example", "localhost:6737", "127.0.0.1.evil.example", "127.0.0.1@evil", ""] {
            assert_eq!(
                status(&[("host", rebound), json], loopback),
                Some(StatusCode::FORBIDDEN),
                "{rebound}"
            );
        }
    }

    #[test]
    fn another_machine_cannot_ask_for_a_warm_up() {
        let headers = [("host", "192.0.2.1:6737"), ("content-type", JSON)];
        assert_eq!(status(&headers, "192.0.2.1:4000"), None);
        assert_eq!(status(&headers, "192.0.2.2:4000"), Some(StatusCode::FORBIDDEN));
    }
}
