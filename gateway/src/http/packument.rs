//! Packuments and single manifests.

use std::time::{Duration, UNIX_EPOCH};

use http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderValue, IF_MODIFIED_SINCE, LAST_MODIFIED, USER_AGENT, VARY,
};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use resolver::client::{TarballPolicy, TarballUrls};
use resolver::package::PackageName;
use resolver::variant::{Encoding, Form, Variant};

use super::answer::{Answer, CACHE_STATUS, cache_status};
use super::body;
use super::caller::Caller;
use super::headers::{names_tag, text, value, wish};
use super::service::Service;
use crate::fetch::{Document, Failure, Provenance, Ready};

/// What the body depends on besides the address.
const VARIES: HeaderValue = HeaderValue::from_static("Accept, Accept-Encoding, User-Agent");

impl Service {
    /// `GET /<name>`.
    pub(super) async fn packument(
        &self,
        name: &PackageName,
        head: &Parts,
        caller: &Caller,
    ) -> Result<Answer, Failure> {
        let document = self.fetch().packument(name, wish(&head.headers)).await?;
        let form = Form::accepted(text(&head.headers, ACCEPT));
        self.document(document, form, head, caller).await
    }

    /// `GET /<name>/<version or tag>`.
    pub(super) async fn manifest(
        &self,
        name: &PackageName,
        wanted: &str,
        head: &Parts,
        caller: &Caller,
    ) -> Result<Answer, Failure> {
        let (document, version) = self.fetch().manifest(name, wanted, wish(&head.headers)).await?;
        self.document(document, Form::Manifest(version), head, caller).await
    }

    async fn document(
        &self,
        document: Document,
        form: Form,
        head: &Parts,
        caller: &Caller,
    ) -> Result<Answer, Failure> {
        let encoding = Encoding::accepted(text(&head.headers, ACCEPT_ENCODING));
        let hidden = self.fetch().takedowns().hidden(&document.name);
        let variant = Variant { form, encoding, urls: self.tarball_urls(head, caller), hidden };
        let etag = variant.etag(&document.record.revision);
        if is_unchanged(&head.headers, &etag, document.record.modified_s) {
            let mut response = Response::new(body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            describe(response.headers_mut(), &document, &etag);
            return Ok(Answer::new(response, "not_modified", document.source.label()));
        }
        let is_head = head.method == Method::HEAD;
        let (document, etag, ready) = match self.fetch().rendered(&etag) {
            // Nothing of a HEAD's answer needs the body to be made.
            None if !is_head => {
                let rendering = self.fetch().render(document, &variant).await?;
                let etag = variant.etag(&rendering.document.record.revision);
                (rendering.document, etag, Some(rendering.ready))
            }
            ready => (document, etag, ready),
        };
        let length = ready.as_ref().map(Ready::length);
        let sent = ready.filter(|_| !is_head).map(|ready| body::variant(self.fetch().send(ready, &etag)));
        let mut response = Response::new(sent.unwrap_or_else(body::empty));
        describe(response.headers_mut(), &document, &etag);
        response.headers_mut().insert(CONTENT_TYPE, value(variant.form.media_type()));
        if variant.encoding != Encoding::Identity {
            response.headers_mut().insert(CONTENT_ENCODING, value(variant.encoding.token()));
        }
        if let Some(length) = length {
            response.headers_mut().insert(CONTENT_LENGTH, length.into());
        }
        Ok(Answer::new(response, "ok", document.source.label()))
    }

    /// Where this client's tarball addresses must point.
    pub(super) fn tarball_urls(&self, head: &Parts, caller: &Caller) -> TarballUrls {
        let policy = TarballPolicy::for_user_agent(text(&head.headers, USER_AGENT));
        policy.urls(&self.policy().canonical_tarballs, &caller.base)
    }
}

fn describe(headers: &mut HeaderMap, document: &Document, etag: &str) {
    let modified = UNIX_EPOCH + Duration::from_secs(document.record.modified_s);
    headers.insert(ETAG, value(etag));
    headers.insert(LAST_MODIFIED, value(&httpdate::fmt_http_date(modified)));
    headers.insert(VARY, VARIES);
    headers.insert(CACHE_CONTROL, value(&cache_control(document)));
    let detail = match &document.stale {
        Some(cause) => Some(format!("stale: {cause}")),
        None => document.is_confirmed_behind().then(|| "stale-while-revalidate".to_owned()),
    };
    headers.insert(CACHE_STATUS, cache_status(document.source == Provenance::Store, detail.as_deref()));
}

/// Caches between here and the client may do as we do (RFC 5861), and no longer than we would.
fn cache_control(document: &Document) -> String {
    let fresh = format!("public, max-age={}", document.fresh_for.as_secs());
    match document.usable_for.as_secs() {
        0 => fresh,
        usable => format!("{fresh}, stale-while-revalidate={usable}"),
    }
}

/// RFC 9110, section 13.2.2: the date counts only where there is no entity tag.
fn is_unchanged(headers: &HeaderMap, etag: &str, modified_s: u64) -> bool {
    match names_tag(headers, etag) {
        Some(named) => named,
        None => text(headers, IF_MODIFIED_SINCE)
            .and_then(|date| httpdate::parse_http_date(date).ok())
            .and_then(|date| date.duration_since(UNIX_EPOCH).ok())
            .is_some_and(|since| modified_s <= since.as_secs()),
    }
}
