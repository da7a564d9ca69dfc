//! What a gateway that follows this one is answered: upstream's own bytes, how long ago upstream has said so, and whether
//! it could be asked. The headers are drawn in `upstream/home.rs`.

use http::header::{
    ACCEPT_ENCODING, AGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderValue, LAST_MODIFIED, VARY,
};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use resolver::evidence::EvidenceName;
use resolver::integrity::Integrity;
use resolver::package::PackageName;
use resolver::variant::Encoding;

use super::answer::{Answer, CACHE_STATUS, cache_status};
use super::body;
use super::caller::Caller;
use super::headers::{PACOTE_INTEGRITY, names_tag, text, value, wish};
use super::passthrough::is_audit;
use super::route::Route;
use super::service::Service;
use super::tarball::needs_whole;
use crate::fetch::{Document, Failure, Provenance, TarballRequest};
use crate::upstream::{ASKED, DOWN, HOMES};

const WRITES: &str =
    "a gateway that is followed is only read; whatever changes something goes to the registry itself";

impl Service {
    /// The answer to a request of a gateway that follows this one. It carries no credentials, and is about nothing private.
    pub(super) async fn as_home(
        &self,
        route: &Route,
        head: Parts,
        body: Incoming,
        caller: &Caller,
    ) -> Answer {
        self.catalogue().index().is_asked_for();
        let reads = head.method == Method::GET || head.method == Method::HEAD;
        let audits = is_audit(&head);
        let answered = match route {
            _ if !(reads || audits) => Ok(Answer::error(StatusCode::FORBIDDEN, WRITES)),
            Route::Packument(name) => Box::pin(self.as_it_came(name, &head)).await,
            Route::Evidence(name) => Box::pin(self.aged_evidence(name, &head)).await,
            Route::Tarball(name, file) => {
                let hint = text(&head.headers, PACOTE_INTEGRITY).and_then(Integrity::from_sri);
                let request = TarballRequest::Named(name.clone(), file.clone(), hint);
                Box::pin(self.tarball_for_follower(request, &head)).await
            }
            Route::Digest(integrity) => {
                Box::pin(self.tarball_for_follower(TarballRequest::Digest(*integrity), &head)).await
            }
            _ => Ok(Box::pin(self.public(route, head, body, caller)).await),
        };
        self.homes_word(answered.unwrap_or_else(Answer::from))
    }

    /// Any answer, as a home gives it: 404 is upstream's word, and 503 says that upstream has none now.
    pub(super) fn homes_word(&self, mut answer: Answer) -> Answer {
        let headers = answer.response.headers_mut();
        headers.insert(HOMES, value(&self.fetch().upstream().homes().join(", ")));
        if answer.response.status() == StatusCode::SERVICE_UNAVAILABLE {
            answer.response.headers_mut().insert(ASKED, DOWN);
        }
        answer
    }

    /// Neither led on to anybody else, for what is followed is this gateway, nor asked of peers: the follower may be one of
    /// them, and would wait for itself.
    async fn tarball_for_follower(&self, request: TarballRequest, head: &Parts) -> Result<Answer, Failure> {
        let tarball = self.fetch().tarball_alone(&request, needs_whole(head)).await?;
        Ok(Self::sent_tarball(tarball, head))
    }

    async fn as_it_came(&self, name: &PackageName, head: &Parts) -> Result<Answer, Failure> {
        let document = self.fetch().packument(name, wish(&head.headers)).await?;
        if names_tag(&head.headers, &tag(&document)) == Some(true) {
            let mut response = Response::new(body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            self.describe_kept(response.headers_mut(), &document);
            return Ok(Answer::new(response, "not_modified", document.source.label()));
        }
        let packed = Encoding::accepted(text(&head.headers, ACCEPT_ENCODING)) == Encoding::Zstd;
        let (document, ready) = self.fetch().as_it_came(document, packed).await?;
        let length = ready.length();
        let is_head = head.method == Method::HEAD;
        let sent = (!is_head).then(|| body::variant(self.fetch().send(ready, &tag(&document))));
        let mut response = Response::new(sent.unwrap_or_else(body::empty));
        let headers = response.headers_mut();
        self.describe_kept(headers, &document);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, length.into());
        if packed {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("zstd"));
        }
        Ok(Answer::new(response, "ok", document.source.label()))
    }

    fn describe_kept(&self, headers: &mut HeaderMap, document: &Document) {
        headers.insert(ETAG, value(&tag(document)));
        if let Some(modified) = &document.record.last_modified {
            headers.insert(LAST_MODIFIED, value(modified));
        }
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(AGE, age(self.fetch().age(document)));
        let detail = document.stale.as_ref().map(|cause| format!("stale: {cause}"));
        headers.insert(CACHE_STATUS, cache_status(document.source == Provenance::Store, detail.as_deref()));
        if document.stale.is_some() {
            headers.insert(ASKED, DOWN);
        }
    }

    async fn aged_evidence(&self, name: &EvidenceName, head: &Parts) -> Result<Answer, Failure> {
        let mut answer = self.evidence(name, head).await?;
        if let Some(held) = self.fetch().store().evidence(&name.path()) {
            let since = crate::fetch::age(held.checked_ms);
            answer.response.headers_mut().insert(AGE, age(since));
        } else {
            // It was asked for just now, and is not kept.
            answer.response.headers_mut().insert(AGE, 0.into());
        }
        Ok(answer)
    }
}

/// The revision, in quotes: other bytes have another.
fn tag(document: &Document) -> String {
    format!("\"{}\"", document.record.revision.hex())
}

/// In whole seconds, never less than it is.
fn age(since: std::time::Duration) -> HeaderValue {
    let seconds = since.as_secs().saturating_add(u64::from(since.subsec_nanos() > 0));
    // What counts as confirmed long ago has no age that could be told.
    seconds.min(u64::from(u32::MAX)).into()
}
