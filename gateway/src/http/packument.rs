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
use super::headers::{names_tag, text, value};
use super::service::Service;
use crate::fetch::{Document, Failure, Provenance};

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
        let document = self.fetch().packument(name).await?;
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
        let document = self.fetch().packument(name).await?;
        let outline = self.fetch().outline(&document).await?;
        let Some(release) = outline.release(wanted) else {
            return Err(Failure::NotFound(format!("version {wanted} of {name}")));
        };
        self.document(document, Form::Manifest(release.version.clone()), head, caller).await
    }

    async fn document(
        &self,
        document: Document,
        form: Form,
        head: &Parts,
        caller: &Caller,
    ) -> Result<Answer, Failure> {
        let encoding = Encoding::accepted(text(&head.headers, ACCEPT_ENCODING));
        let variant = Variant { form, encoding, urls: self.tarball_urls(head, caller) };
        let etag = variant.etag(&document.record.revision);
        if is_unchanged(&head.headers, &etag, document.record.modified_s) {
            let mut response = Response::new(body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            describe(response.headers_mut(), &document, &variant);
            return Ok(Answer::new(response, "not_modified", document.source.label()));
        }
        let (document, bytes) =
            match (head.method == Method::HEAD, self.fetch().rendered(&document, &variant)) {
                (_, Some(bytes)) => (document, Some(bytes)),
                // Nothing of a HEAD's answer needs the body to be made.
                (true, None) => (document, None),
                (false, None) => {
                    let rendering = self.fetch().render(document, &variant).await?;
                    (rendering.document, Some(rendering.bytes))
                }
            };
        let length = bytes.as_ref().map(bytes::Bytes::len);
        let mut response =
            Response::new(bytes.filter(|_| head.method != Method::HEAD).map_or_else(body::empty, body::full));
        describe(response.headers_mut(), &document, &variant);
        response.headers_mut().insert(CONTENT_TYPE, value(variant.form.media_type()));
        if variant.encoding == Encoding::Gzip {
            response.headers_mut().insert(CONTENT_ENCODING, value("gzip"));
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

fn describe(headers: &mut HeaderMap, document: &Document, variant: &Variant) {
    let modified = UNIX_EPOCH + Duration::from_secs(document.record.modified_s);
    headers.insert(ETAG, value(&variant.etag(&document.record.revision)));
    headers.insert(LAST_MODIFIED, value(&httpdate::fmt_http_date(modified)));
    headers.insert(VARY, VARIES);
    headers.insert(CACHE_CONTROL, value(&format!("public, max-age={}", document.fresh_for.as_secs())));
    let stale = document.stale.as_ref().map(|cause| format!("stale: {cause}"));
    headers.insert(CACHE_STATUS, cache_status(document.source == Provenance::Store, stale.as_deref()));
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
