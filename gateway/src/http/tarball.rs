//! Tarballs, by name and by digest.

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderValue, IF_RANGE,
    RANGE,
};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use resolver::integrity::Integrity;
use resolver::range::{self, Wanted};

use super::answer::{Answer, CACHE_STATUS, cache_status};
use super::body::{self, Body};
use super::headers::{names_tag, text, value};
use super::service::Service;
use crate::fetch::{Arriving, Failure, Provenance, Tarball, TarballRequest};
use crate::store::Blob;

/// The bytes of a name never change.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Nobody but the client has said yet that the name stands for these bytes: not for caches that others share.
const FOR_THIS_CLIENT: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");

impl Service {
    /// `GET /<name>/-/<file>.tgz` and `GET /-/tarballs/sha512/<digest>`.
    pub(super) async fn tarball(&self, request: TarballRequest, head: &Parts) -> Result<Answer, Failure> {
        Ok(Self::sent_tarball(self.fetch().tarball(&request, needs_whole(head)).await?, head))
    }

    pub(super) fn sent_tarball(tarball: Tarball, head: &Parts) -> Answer {
        match tarball {
            Tarball::Held { blob, source, confirmed } => held(&blob, source, confirmed, head),
            Tarball::Arriving(arriving) => streamed(arriving),
        }
    }

    /// The same out of the store, and from nowhere else: a peer asks what is held here.
    pub(super) async fn held_tarball(&self, integrity: &Integrity, head: &Parts) -> Result<Answer, Failure> {
        if let Some(notice) = self.fetch().takedowns().of_digest(integrity) {
            return Err(Failure::Blocked(notice));
        }
        let blob = self.fetch().store().blob(integrity).await;
        let blob = blob.ok_or_else(|| Failure::NotFound(integrity.to_string()))?;
        Ok(held(&blob, Provenance::Store, true, head))
    }
}

/// What depends on the whole body waits for it: its length for a HEAD, its digest for a range.
pub(super) fn needs_whole(head: &Parts) -> bool {
    head.method == Method::HEAD || head.headers.contains_key(RANGE)
}

fn held(blob: &Blob, source: Provenance, confirmed: bool, head: &Parts) -> Answer {
    let etag = etag(blob.integrity());
    let mut response = Response::new(body::empty());
    let headers = response.headers_mut();
    headers.insert(ETAG, value(&etag));
    headers.insert(CACHE_CONTROL, if confirmed { FOR_EVER } else { FOR_THIS_CLIENT });
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CACHE_STATUS, cache_status(source == Provenance::Store, None));
    let label = source.label();
    if names_tag(&head.headers, &etag) == Some(true) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Answer::new(response, "not_modified", label);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    let part = match wanted(head, &etag, blob.length()) {
        Wanted::Whole => 0..blob.length(),
        Wanted::Part(part) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let range = format!("bytes {}-{}/{}", part.start, part.end - 1, blob.length());
            response.headers_mut().insert(CONTENT_RANGE, value(&range));
            part
        }
        Wanted::Unsatisfiable => {
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            response.headers_mut().insert(CONTENT_RANGE, value(&format!("bytes */{}", blob.length())));
            return Answer::new(response, "refused", label);
        }
    };
    response.headers_mut().insert(CONTENT_LENGTH, (part.end - part.start).into());
    if head.method != Method::HEAD {
        *response.body_mut() = blob_body(blob, part);
    }
    Answer::new(response, "ok", label)
}

fn streamed(arriving: Arriving) -> Answer {
    let mut response = Response::new(body::empty());
    let headers = response.headers_mut();
    if let Some(integrity) = arriving.integrity() {
        headers.insert(ETAG, value(&etag(integrity)));
    }
    if let Some(length) = arriving.length() {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    // Not for caches until the digest has been seen to match: whoever gets the whole has the right bytes.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CACHE_STATUS, cache_status(false, None));
    *response.body_mut() = body::arriving(arriving);
    Answer::new(response, "ok", "upstream")
}

fn blob_body(blob: &Blob, part: std::ops::Range<u64>) -> Body {
    match blob.at_once(&part) {
        Some(bytes) => body::full(bytes),
        None => body::blob(blob.reader(part)),
    }
}

/// A range counts only for a GET (RFC 9110, section 14.2) and for the very bytes that its sender has the
/// beginning of.
fn wanted(head: &Parts, etag: &str, length: u64) -> Wanted {
    match text(&head.headers, IF_RANGE) {
        Some(if_range) if if_range != etag => Wanted::Whole,
        _ if head.method == Method::HEAD => Wanted::Whole,
        _ => range::wanted(text(&head.headers, RANGE), length),
    }
}

/// A tarball's entity tag is its digest.
fn etag(integrity: &Integrity) -> String {
    format!("\"{integrity}\"")
}
