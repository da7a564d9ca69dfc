//! An answer before it is sent, and what conditions, ranges and compression make of it.

use std::ops::Range;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde_json::Value;

use crate::package::gzip;

/// Status, headers and whole body.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }

    pub(crate) fn json(status: StatusCode, value: &Value) -> Self {
        let body = serde_json::to_vec(value).expect("JSON made of JSON");
        Self::of(status, "application/json", body.into())
    }

    pub(crate) fn of(status: StatusCode, content_type: &str, body: Bytes) -> Self {
        let mut answer = Self { body, ..Self::empty(status) };
        answer.set(header::CONTENT_TYPE, content_type);
        answer
    }

    pub(crate) fn set(&mut self, name: HeaderName, value: &str) {
        self.headers.insert(name, HeaderValue::from_str(value).expect("visible ASCII"));
    }

    /// `tag` comes without its quotes.
    pub(crate) fn validators(mut self, tag: &str, modified: SystemTime) -> Self {
        self.set(header::ETAG, &format!("\"{tag}\""));
        self.set(header::LAST_MODIFIED, &httpdate::fmt_http_date(modified));
        self
    }

    /// Compresses the body when the client takes gzip; the tag becomes weak, as behind a CDN.
    pub(crate) fn compressed(self, request: &HeaderMap) -> Self {
        let body = self.body.clone();
        self.compressed_as(request, || gzip(&body))
    }

    /// As [`Answer::compressed`], with a body that somebody else has compressed.
    pub(crate) fn compressed_as(mut self, request: &HeaderMap, gzipped: impl FnOnce() -> Bytes) -> Self {
        if !text(request, header::ACCEPT_ENCODING).contains("gzip") || self.body.is_empty() {
            return self;
        }
        self.body = gzipped();
        self.set(header::CONTENT_ENCODING, "gzip");
        if let Some(tag) = self.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()) {
            let weak = format!("W/{tag}");
            self.set(header::ETAG, &weak);
        }
        self
    }

    /// A 304 when the client has this already.
    pub(crate) fn conditional(self, request: &HeaderMap) -> Self {
        if !self.is_known_to(request) {
            return self;
        }
        let mut headers = self.headers;
        headers.remove(header::CONTENT_TYPE);
        headers.remove(header::CONTENT_ENCODING);
        Self { status: StatusCode::NOT_MODIFIED, headers, body: Bytes::new() }
    }

    fn is_known_to(&self, request: &HeaderMap) -> bool {
        if request.contains_key(header::IF_NONE_MATCH) {
            let held = strong(text(&self.headers, header::ETAG));
            let asked = text(request, header::IF_NONE_MATCH);
            return !held.is_empty() && asked.split(',').any(|tag| tag.trim() == "*" || strong(tag) == held);
        }
        let since = httpdate::parse_http_date(text(request, header::IF_MODIFIED_SINCE));
        let modified = httpdate::parse_http_date(text(&self.headers, header::LAST_MODIFIED));
        matches!((since, modified), (Ok(since), Ok(modified)) if modified <= since)
    }

    /// A 206 or a 416 when one range is asked of a body that has not changed since.
    pub(crate) fn ranged(mut self, method: &Method, request: &HeaderMap) -> Self {
        self.set(header::ACCEPT_RANGES, "bytes");
        if *method != Method::GET || self.status != StatusCode::OK || !self.may_continue(request) {
            return self;
        }
        match wanted(text(request, header::RANGE), self.body.len()) {
            Wanted::Everything => self,
            Wanted::Nothing => self.unsatisfiable(),
            Wanted::Part(part) => self.partial(part),
        }
    }

    fn may_continue(&self, request: &HeaderMap) -> bool {
        let condition = text(request, header::IF_RANGE);
        let tag = text(&self.headers, header::ETAG);
        condition.is_empty() || condition == tag || condition == text(&self.headers, header::LAST_MODIFIED)
    }

    fn partial(mut self, part: Range<usize>) -> Self {
        let length = self.body.len();
        self.set(header::CONTENT_RANGE, &format!("bytes {}-{}/{length}", part.start, part.end - 1));
        self.status = StatusCode::PARTIAL_CONTENT;
        self.body = self.body.slice(part);
        self
    }

    fn unsatisfiable(self) -> Self {
        let mut answer = Self::empty(StatusCode::RANGE_NOT_SATISFIABLE);
        answer.set(header::CONTENT_RANGE, &format!("bytes */{}", self.body.len()));
        answer
    }
}

enum Wanted {
    Everything,
    Nothing,
    Part(Range<usize>),
}

/// Several ranges, and what is not understood, mean everything.
fn wanted(header: &str, length: usize) -> Wanted {
    let Some((first, last)) = header.strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Wanted::Everything;
    };
    let part = match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) if first <= last => first..length.min(last + 1),
        (Ok(first), Err(_)) if last.is_empty() => first..length,
        (Err(_), Ok(suffix)) if first.is_empty() => length.saturating_sub(suffix)..length,
        _ => return Wanted::Everything,
    };
    if part.is_empty() { Wanted::Nothing } else { Wanted::Part(part) }
}

fn strong(tag: &str) -> &str {
    let tag = tag.trim();
    tag.strip_prefix("W/").unwrap_or(tag)
}

/// A header as text; empty when it is not there.
pub(crate) fn text(headers: &HeaderMap, name: HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
