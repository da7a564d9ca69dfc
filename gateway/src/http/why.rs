//! `GET /-/open-registry/why`: why this client is led where it is.

use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, VARY};
use http::request::Parts;
use http::{Response, StatusCode};

use super::answer::Answer;
use super::body;
use super::caller::Caller;
use super::headers::text;
use super::service::Service;
use crate::steer::Explanation;

/// Candidates that a client is shown: whoever comes after them is of no use to it.
const MOST: usize = 50;
/// Explanations for one client, and for all, in a second: with 10,000 peers one takes some milliseconds.
pub(super) const OF_ONE: u64 = 4;
/// See [`OF_ONE`].
pub(super) const OF_ALL: u64 = 32;

impl Service {
    /// A client is told of itself only.
    pub(super) fn why(&self, head: &Parts, caller: &Caller) -> Answer {
        let Some(client) = caller.client else {
            let words = "the proxy in front of this gateway does not say who asks";
            return Answer::error(StatusCode::FORBIDDEN, words);
        };
        let guidance = self.guidance();
        if !guidance.explained.take(client) {
            let words = "too many explanations were asked for in this second";
            let mut answer = Answer::error(StatusCode::TOO_MANY_REQUESTS, words);
            answer.response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return answer;
        }
        let known_by =
            if caller.asked_at.is_some() { "by its connection" } else { "by the word of a trusted proxy" };
        let facts = guidance.guide.facts();
        let asker = guidance.guide.asker(&facts, client, caller.asked_at);
        written(&Explanation::of(&facts, &asker, known_by, MOST), head)
    }
}

/// JSON, unless text is asked for.
fn written(explanation: &Explanation, head: &Parts) -> Answer {
    let as_text = text(&head.headers, ACCEPT).is_some_and(|accept| accept.contains("text/"));
    let (kind, text) = if as_text {
        ("text/plain; charset=utf-8", explanation.to_string())
    } else {
        ("application/json", serde_json::json!(explanation).to_string())
    };
    let mut response = Response::new(body::full(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    Answer::new(response, "ok", "none")
}
