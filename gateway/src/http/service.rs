//! The way of one request: who asks, for what, how it may be treated, and the answer, counted.

use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING, VIA};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use ipnet::IpNet;
use resolver::credentials::{Exposure, Treatment};
use resolver::integrity::Integrity;
use resolver::package::PackageName;
use serde_json::json;

use super::allowance::Allowance;
use super::answer::Answer;
use super::body::Body;
use super::caller::Caller;
use super::connection::{Handle, Wire};
use super::headers::{PACOTE_INTEGRITY, text};
use super::peer::Prover;
use super::rooms::Rooms;
use super::route::Route;
use super::{resolved, trustless, why};
use crate::catalogue::Catalogue;
use crate::fetch::{Failure, Fetch, TarballRequest};
use crate::metrics::Metrics;
use crate::share::Sharing;
use crate::steer::{Guide, Holders};
use crate::takedown::Notice;

/// What the configuration says of clients.
#[derive(Debug, Clone)]
pub struct Policy {
    /// What the tarball addresses of npm and deno begin with.
    pub canonical_tarballs: String,
    /// Whose `X-Forwarded-*` headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// What is never kept.
    pub private_scopes: Vec<String>,
}

/// Answers clients. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

struct Inner {
    fetch: Fetch,
    policy: Policy,
    prover: Prover,
    guidance: Guidance,
    sharing: Sharing,
    catalogue: Catalogue,
    rooms: Rooms,
    metrics: Arc<Metrics>,
}

/// How clients are led on.
pub struct Guidance {
    pub(super) guide: Guide,
    pub(super) holders: Holders,
    pub(super) redirects: bool,
    pub(super) explained: Allowance,
    pub(super) resolved: Allowance,
}

impl Guidance {
    /// `redirects`: whether tarballs may be fetched elsewhere.
    #[must_use]
    pub fn new(guide: Guide, holders: Holders, redirects: bool) -> Self {
        let explained = Allowance::of(why::OF_ONE, why::OF_ALL);
        let resolved = Allowance::of(resolved::OF_ONE, resolved::OF_ALL);
        Self { guide, holders, redirects, explained, resolved }
    }
}

impl Service {
    /// Wires the parts.
    #[must_use]
    pub fn new(
        fetch: Fetch,
        policy: Policy,
        prover: Prover,
        guidance: Guidance,
        (sharing, catalogue): (Sharing, Catalogue),
        metrics: Arc<Metrics>,
    ) -> Self {
        let rooms = Rooms::new();
        Self {
            inner: Arc::new(Inner { fetch, policy, prover, guidance, sharing, catalogue, rooms, metrics }),
        }
    }

    pub(super) fn fetch(&self) -> &Fetch {
        &self.inner.fetch
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.inner.policy
    }

    pub(super) fn prover(&self) -> &Prover {
        &self.inner.prover
    }

    pub(super) fn guidance(&self) -> &Guidance {
        &self.inner.guidance
    }

    pub(super) fn sharing(&self) -> &Sharing {
        &self.inner.sharing
    }

    pub(super) fn rooms(&self) -> &Rooms {
        &self.inner.rooms
    }

    pub(super) fn catalogue(&self) -> &Catalogue {
        &self.inner.catalogue
    }

    /// Whether a package is of a private scope.
    pub(super) fn is_private(&self, name: &PackageName) -> bool {
        let private = &self.policy().private_scopes;
        name.scope().is_some_and(|scope| private.iter().any(|private| private == scope))
    }

    async fn answer(&self, request: Request<Incoming>, wire: Wire) -> (&'static str, Answer) {
        let (head, body) = request.into_parts();
        if let Some(refused) = self.refused(&head) {
            return ("invalid", refused);
        }
        let Some(caller) = Caller::of(&head, wire, &self.policy().trusted_proxies) else {
            return ("invalid", Answer::error(StatusCode::BAD_REQUEST, "the Host header is not a host"));
        };
        let route = match Route::of(&head.method, head.uri.path(), head.uri.query()) {
            Ok(route) => route,
            Err(refusal) => return ("invalid", refusal.into()),
        };
        if caller.peering.as_ref().is_some_and(|peering| peering.is_followers() || !is_for_everybody(&route))
        {
            return Box::pin(self.for_peer(&route, head, body, &caller)).await;
        }
        let answer = match self.treatment(&route, &caller) {
            Treatment::Public => self.public(&route, head, body, &caller).await,
            Treatment::PassThrough => private(Box::pin(self.pass_through(&route, head, body, &caller)).await),
            Treatment::RefuseExposed => Answer::error(StatusCode::FORBIDDEN, &exposed(&caller)),
            Treatment::RefuseUpstream => Answer::error(StatusCode::FORBIDDEN, UPSTREAM_EXPOSED),
        };
        (route.label(), answer)
    }

    /// Codings of the connection that would be lost on the way, and requests of our own that came back.
    fn refused(&self, head: &Parts) -> Option<Answer> {
        let headers = &head.headers;
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
        let chunked = codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
        if !chunked || codings.next().is_some() {
            let words = "the only transfer coding that is understood here is chunked, once";
            let mut refused = Answer::error(StatusCode::NOT_IMPLEMENTED, words);
            // Where this request ends is in doubt, so nothing behind it is read.
            refused.response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            return Some(refused);
        }
        let instance = self.fetch().upstream().instance();
        let ours = |via: &str| via.split(',').any(|hop| hop.trim().ends_with(instance));
        if headers.get_all(VIA).iter().any(|via| via.to_str().is_ok_and(ours)) {
            let words = "this request went through this gateway before: upstream.url leads back to it";
            return Some(Answer::error(StatusCode::LOOP_DETECTED, words));
        }
        None
    }

    fn treatment(&self, route: &Route, caller: &Caller) -> Treatment {
        if route.is_ours() {
            // Ours alone: whatever the request carries, it goes no further.
            return Treatment::Public;
        }
        let exposure = Exposure {
            credentials: caller.credentials,
            private: route.package().is_some_and(|name| self.is_private(name)),
            safe_from_client: caller.safe,
            safe_to_upstream: self.fetch().upstream().is_safe(),
        };
        exposure.treatment()
    }

    /// Why what a request is about is not served, as far as its path tells.
    pub(super) fn blocked(&self, route: &Route) -> Option<Arc<Notice>> {
        let takedowns = self.fetch().takedowns();
        match route {
            Route::Manifest(name, version) => takedowns.of_version(name, version),
            Route::Tarball(name, file) => takedowns.of_file(name, file),
            Route::Digest(integrity) => takedowns.of_digest(integrity),
            route => takedowns.of_package(route.package()?),
        }
    }

    pub(super) async fn public(&self, route: &Route, head: Parts, body: Incoming, caller: &Caller) -> Answer {
        // In boxes: hyper moves the future of a request several times, and the longest way makes it as large as it is.
        let answered: Result<Answer, Failure> = match route {
            Route::Index => Ok(self.index(&head, caller)),
            Route::Ping => Ok(Answer::json(&json!({}))),
            Route::Peer => Ok(self.prover().answer(head.uri.query(), caller)),
            Route::Why => Ok(self.why(&head, caller)),
            Route::Resolve(name, version) => Ok(Box::pin(self.resolved(name, version, caller)).await),
            Route::Trustless => Ok(Box::pin(self.trustless(&head, caller)).await),
            Route::Providers(cid) => Ok(self.providers(cid, &head, caller)),
            Route::Preflight => Ok(trustless::preflight()),
            Route::Packument(name) => Box::pin(self.packument(name, &head, caller)).await,
            Route::Manifest(name, version) => Box::pin(self.manifest(name, version, &head, caller)).await,
            Route::Tarball(name, file) => {
                let hint = text(&head.headers, PACOTE_INTEGRITY).and_then(Integrity::from_sri);
                let request = || TarballRequest::Named(name.clone(), file.clone(), hint);
                if let Some(notice) = self.fetch().blocked(&request()) {
                    return notice.into();
                }
                if let Some(redirect) = Box::pin(self.redirect((name, file, hint), &head, caller)).await {
                    return redirect;
                }
                Box::pin(self.tarball(request(), &head)).await
            }
            Route::Digest(integrity) if caller.relayed_by_peer => {
                Box::pin(self.held_tarball(integrity, &head)).await
            }
            Route::Digest(integrity) => {
                Box::pin(self.tarball(TarballRequest::Digest(*integrity), &head)).await
            }
            Route::Evidence(evidence) => Box::pin(self.evidence(evidence, &head)).await,
            Route::PassThrough(_) => return Box::pin(self.pass_through(route, head, body, caller)).await,
        };
        answered.unwrap_or_else(Answer::from)
    }
}

/// Who this gateway is, and whom it leads where: that is said to peers and clients alike.
fn is_for_everybody(route: &Route) -> bool {
    matches!(route, Route::Peer | Route::Ping | Route::Why)
}

/// What one client may see is not for caches that others share.
fn private(mut answer: Answer) -> Answer {
    answer.response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    answer
}

const UPSTREAM_EXPOSED: &str = "this gateway reaches upstream over plain http, where anybody could read your \
    credentials; they were not passed on: the gateway's upstream.url must begin with https";

fn exposed(caller: &Caller) -> String {
    format!(
        "your request to {} carries credentials over plain http, where anybody could read them; they were not \
         passed on. Log in to and publish at the registry itself (for npm: --registry with its https address), \
         use this gateway over https, or run one on your own machine; revoke the token if you did not expect this",
        caller.base
    )
}

/// A body whose size is known says so, also when it is counted on its way. Where a HEAD's answer has no body,
/// nobody has made one, and its size would be that of none.
fn tell_length(response: &mut Response<Body>, is_head: bool) {
    let has_body =
        response.status() != StatusCode::NOT_MODIFIED && response.status() != StatusCode::NO_CONTENT;
    let length = response.body().size_hint().exact().filter(|length| !is_head || *length > 0);
    if let Some(length) = length.filter(|_| has_body) {
        response.headers_mut().entry(CONTENT_LENGTH).or_insert(length.into());
    }
}

impl Handle for Service {
    async fn handle(&self, request: Request<Incoming>, wire: Wire) -> Response<Body> {
        let started = std::time::Instant::now();
        let is_head = request.method() == Method::HEAD;
        let (route, answer) = self.answer(request, wire).await;
        let Answer { mut response, outcome, source } = answer;
        tell_length(&mut response, is_head);
        self.inner.metrics.answered(route, outcome, source);
        tracing::debug!(
            route,
            status = response.status().as_u16(),
            source,
            ms = started.elapsed().as_millis(),
            "answered"
        );
        let sent = self.inner.metrics.sending(source);
        response.map(|body| body.counted(sent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<'a, F: Future + 'a>(_: impl Fn(&'a Service, Request<Incoming>, Wire) -> F) -> usize {
        size_of::<F>()
    }

    /// hyper moves the future of each request several times.
    #[test]
    fn what_a_request_carries_is_small() {
        let size = size(Service::handle);
        assert!(size <= 2048, "{size} bytes");
    }
}
