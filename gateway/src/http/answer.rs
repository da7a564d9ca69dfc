//! What all answers have in common: npm's way of saying errors, and how a failure becomes a status.

use std::sync::Arc;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use serde_json::json;

use super::body::{self, Body};
use super::headers::value;
use super::route::Refusal;
use crate::fetch::Failure;
use crate::takedown::Notice;

/// How a cache handled a request (RFC 9211).
pub(super) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// After how many seconds a client may hope for more.
const COME_AGAIN: &str = "10";

/// An answer, and what the metrics say of it.
pub(super) struct Answer {
    pub(super) response: Response<Body>,
    pub(super) outcome: &'static str,
    pub(super) source: &'static str,
}

impl Answer {
    pub(super) fn new(response: Response<Body>, outcome: &'static str, source: &'static str) -> Self {
        Self { response, outcome, source }
    }

    /// An error as npm's own registry words it: `{"error": "…"}`.
    pub(super) fn error(status: StatusCode, words: &str) -> Self {
        let mut response = Response::new(body::full(json!({ "error": words }).to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(COME_AGAIN));
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        Self::new(response, outcome(status), "none")
    }

    pub(super) fn json(value: &serde_json::Value) -> Self {
        let mut response = Response::new(body::full(value.to_string()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Self::new(response, "ok", "none")
    }
}

impl From<Failure> for Answer {
    fn from(failure: Failure) -> Self {
        let status = match &failure {
            Failure::NotFound(_) => StatusCode::NOT_FOUND,
            Failure::Refused { status, .. } => {
                StatusCode::from_u16(*status).unwrap_or(StatusCode::BAD_GATEWAY)
            }
            Failure::Blocked(_) => StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS,
            Failure::Unavailable { .. } | Failure::Disk => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::error(status, &failure.to_string())
    }
}

impl From<Arc<Notice>> for Answer {
    fn from(notice: Arc<Notice>) -> Self {
        Failure::Blocked(notice).into()
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::TooLong => Self::error(StatusCode::URI_TOO_LONG, "the address is too long"),
            Refusal::Invalid(words) => Self::error(StatusCode::BAD_REQUEST, &words),
            Refusal::Unknown => Self::error(StatusCode::NOT_FOUND, "npm's registry API has no such address"),
            Refusal::Method => Self::error(StatusCode::METHOD_NOT_ALLOWED, "this address can only be read"),
        }
    }
}

/// The metrics' word for a status.
pub(super) fn outcome(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200..=299 => "ok",
        304 => "not_modified",
        300..=399 => "redirect",
        404 | 410 => "not_found",
        400..=499 => "refused",
        503 => "unavailable",
        _ => "error",
    }
}

/// `Cache-Status`, with a reason in words when there is one.
pub(super) fn cache_status(hit: bool, detail: Option<&str>) -> HeaderValue {
    let handled = if hit { "open-registry; hit" } else { "open-registry; fwd=miss" };
    match detail {
        Some(detail) => {
            let plain: String =
                detail.chars().filter(|c| (' '..='~').contains(c) && !"\"\\".contains(*c)).collect();
            value(&format!("{handled}; detail=\"{plain}\""))
        }
        None => HeaderValue::from_static(handled),
    }
}
