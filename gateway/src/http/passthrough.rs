//! What is passed to upstream as it is: npm's API beyond packages, and every request with credentials or
//! about a private scope. Nothing of it is kept or logged.

use std::time::Duration;

use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HOST, HeaderMap,
    HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::Limited;
use hyper::body::Incoming;
use resolver::connectivity::Link;
use resolver::package::PackageName;
use resolver::packument::{self, Outline};
use resolver::variant::Form;
use resolver::ways::Errand;

use super::answer::{Answer, outcome};
use super::body;
use super::caller::Caller;
use super::headers::{text, value};
use super::route::Route;
use super::service::Service;
use crate::upstream::{self, Patience, UpstreamError};

/// The largest request body: a published tarball in base64, four thirds of the largest that exists.
const LARGEST_REQUEST: u64 = 1024 * 1024 * 1024;
/// The wait for the headers of something that is read: yarn 1 gives up at 30 s.
const READ_WAIT: Duration = Duration::from_secs(25);
/// The same for something that is written, besides the time that its body takes.
const WRITE_WAIT: Duration = Duration::from_secs(120);
/// The slowest line that publishing is possible on, in bytes a second.
const SLOWEST: u64 = 8 * 1024;
/// Questions for known weaknesses, which are asked by POST.
const AUDITS: &str = "/-/npm/v1/security/";
/// What belongs to one connection and not to the message (RFC 9110, section 7.6.1), and what we say ourselves.
const NOT_PASSED_ON: [&str; 17] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "open-registry-peer",
    "open-registry-wish",
    "open-registry-homes",
    "open-registry-upstream",
];

impl Service {
    /// Passes a request on.
    pub(super) async fn pass_through(
        &self,
        route: &Route,
        head: Parts,
        body: Incoming,
        caller: &Caller,
    ) -> Answer {
        // With credentials, too: only reading, for whoever publishes here does that at the registry itself.
        let reads = head.method == Method::GET || head.method == Method::HEAD;
        if let Some(notice) = self.blocked(route).filter(|_| reads) {
            return notice.into();
        }
        let errand = self.errand(route, &head, caller);
        if let Some(refused) = self.cannot_pass(&head, errand) {
            return refused;
        }
        let rewritten =
            head.method == Method::GET && matches!(route, Route::Packument(_) | Route::Manifest(..));
        let urls = rewritten.then(|| self.tarball_urls(&head, caller));
        let patience = patience(&head);
        let request = match self.onward(head, rewritten) {
            Ok(head) => Request::from_parts(
                head,
                Limited::new(body, usize::try_from(LARGEST_REQUEST).unwrap_or(usize::MAX)),
            ),
            Err(answer) => return *answer,
        };
        let answer = match self.fetch().upstream().pass(request, patience, errand).await {
            Ok(answer) => answer,
            Err(error) => return failed(&error),
        };
        if let (false, true, Some(name)) = (reads, answer.head.status.is_success(), route.package()) {
            // What was published through here is seen through here. A state that cannot be committed says so itself.
            let _ = self.fetch().changed(std::slice::from_ref(name)).await;
        }
        match (route, urls) {
            (Route::Packument(name), Some(urls)) if answer.head.status == StatusCode::OK => {
                let name = name.clone();
                self.rewritten(answer, move |text| {
                    let outline = Outline::read(&name, text).ok()?;
                    packument::render_text(text, &outline, &Form::Full, &urls)
                })
                .await
            }
            (Route::Manifest(name, _), Some(urls)) if answer.head.status == StatusCode::OK => {
                let name = name.clone();
                self.rewritten(answer, move |text| manifest(&name, text, &urls)).await
            }
            _ => passed(answer),
        }
    }

    /// What is nobody's secret may go through home: what is read, and audits. Whoever writes means upstream itself.
    fn errand(&self, route: &Route, head: &Parts, caller: &Caller) -> Errand {
        let reads = head.method == Method::GET || head.method == Method::HEAD;
        let audits = is_audit(head);
        let private = route.package().is_some_and(|name| self.is_private(name));
        match caller.credentials || private || !(reads || audits) {
            true => Errand::Private,
            false => Errand::Public,
        }
    }

    fn cannot_pass(&self, head: &Parts, errand: Errand) -> Option<Answer> {
        if announced(head).is_some_and(|length| length > LARGEST_REQUEST) {
            return Some(Answer::error(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the request is larger than any may be",
            ));
        }
        match self.fetch().upstream().latch().link_for(errand) {
            Link::Up | Link::Doubtful => None,
            Link::Offline => Some(failed(&UpstreamError::Offline)),
            Link::Down(cause) => Some(unavailable(&format!("upstream cannot be reached: {cause}"))),
        }
    }

    /// The head of the request to upstream: the same path and query, our own host, no connection headers.
    fn onward(&self, mut head: Parts, rewritten: bool) -> Result<Parts, Box<Answer>> {
        let path = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let uri = format!("{}{path}", self.fetch().upstream().base()).parse::<Uri>();
        head.uri =
            uri.map_err(|_| Box::new(Answer::error(StatusCode::BAD_REQUEST, "the address is not one")))?;
        head.version = http::Version::HTTP_11;
        head.extensions.clear();
        strip(&mut head.headers);
        head.headers.remove(HOST);
        if rewritten {
            for name in [IF_NONE_MATCH, IF_MODIFIED_SINCE, ACCEPT_ENCODING] {
                head.headers.remove(name);
            }
            head.headers.insert(ACCEPT_ENCODING, value("gzip"));
        }
        Ok(head)
    }

    /// A private document: its tarballs must come through here too, where the client's token goes.
    async fn rewritten(
        &self,
        answer: upstream::Answer,
        rewrite: impl FnOnce(&str) -> Option<String> + Send + 'static,
    ) -> Answer {
        let mut head = answer.head.clone();
        let rendered = match self.fetch().rewrite(answer, rewrite).await {
            Ok(Some(rendered)) => rendered,
            Ok(None) => return unavailable("upstream sent something that is not this package's metadata"),
            Err(error) => return failed(&error),
        };
        strip(&mut head.headers);
        for name in [CONTENT_ENCODING, CONTENT_LENGTH, ETAG, LAST_MODIFIED] {
            head.headers.remove(name);
        }
        head.headers.entry(CONTENT_TYPE).or_insert(value("application/json"));
        Answer::new(Response::from_parts(head, body::full(rendered)), "ok", "upstream")
    }
}

/// A request's length, if it is said in advance.
fn announced(head: &Parts) -> Option<u64> {
    text(&head.headers, CONTENT_LENGTH)?.parse().ok()
}

/// Whether it asks for known weaknesses, which changes nothing anywhere.
pub(super) fn is_audit(head: &Parts) -> bool {
    head.method == Method::POST && head.uri.path().starts_with(AUDITS)
}

/// The wait for the headers of the answer, besides the time that the body takes. An install waits for its audit.
fn patience(head: &Parts) -> Patience {
    let reads = head.method == Method::GET || head.method == Method::HEAD || is_audit(head);
    let wait = if reads { READ_WAIT } else { WRITE_WAIT };
    Patience { wait: wait + upload_time(head), reads }
}

/// How long a request's body may take; npm always announces its length.
fn upload_time(head: &Parts) -> Duration {
    Duration::from_secs(announced(head).unwrap_or(0) / SLOWEST)
}

/// One manifest, read as a packument that has no other.
fn manifest(name: &PackageName, text: &str, urls: &resolver::client::TarballUrls) -> Option<String> {
    let document =
        format!("{{\"name\":{},\"versions\":{{\"-\":{text}}}}}", serde_json::to_string(name.as_str()).ok()?);
    let outline = Outline::read(name, &document).ok()?;
    packument::render_text(&document, &outline, &Form::Manifest("-".to_owned()), urls)
}

/// Upstream's answer as it is, at the client's pace.
fn passed(mut answer: upstream::Answer) -> Answer {
    answer.give_up_place();
    let mut head = answer.head.clone();
    strip(&mut head.headers);
    let (outcome, source) = (outcome(head.status), if answer.is_of_home() { "home" } else { "upstream" });
    Answer::new(Response::from_parts(head, body::passed(answer)), outcome, source)
}

fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in NOT_PASSED_ON {
        headers.remove(name);
    }
}

fn failed(error: &UpstreamError) -> Answer {
    match error {
        UpstreamError::Offline => unavailable(&error.to_string()),
        UpstreamError::Client => Answer::error(StatusCode::BAD_REQUEST, &error.to_string()),
        other => unavailable(&format!("upstream fails: {other}")),
    }
}

/// Never an empty success: an audit that could not be made must not look like one that found nothing.
fn unavailable(cause: &str) -> Answer {
    Answer::error(StatusCode::SERVICE_UNAVAILABLE, &format!("only upstream can answer this, and {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audit_is_waited_for_as_long_as_what_is_read_and_a_publication_longer() {
        let wait = |method: &str, path: &str, length: u64| {
            let request = http::Request::builder().method(method).uri(path).header(CONTENT_LENGTH, length);
            patience(&request.body(()).unwrap().into_parts().0).wait.as_secs()
        };
        assert_eq!(wait("GET", "/-/v1/search?text=left", 0), 25);
        assert_eq!(wait("POST", "/-/npm/v1/security/advisories/bulk", 4096), 25);
        assert_eq!(wait("POST", "/-/npm/v1/security/audits/quick", 81_920), 35);
        assert_eq!(wait("PUT", "/left", 8_192_000), 120 + 1000);
    }
}
