//! `GET /-/open-registry/resolve/<name>/<version>`: the address of a version's tarball, and who has it.

use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER};
use resolver::package::PackageName;
use serde_json::json;

use super::answer::{Answer, outcome};
use super::caller::Caller;
use super::service::Service;
use super::trustless::open_to_all;
use crate::catalogue::Missing;

/// Versions that are looked up in a second for one client, and for all: each may have to read a packument.
pub(super) const OF_ONE: u64 = 32;
/// See [`OF_ONE`].
pub(super) const OF_ALL: u64 = 256;
const TOO_MANY: &str = "too many versions were asked for in this second";

impl Service {
    /// JSON, whether it is there or not.
    pub(super) async fn resolved(&self, name: &PackageName, version: &str, caller: &Caller) -> Answer {
        if !caller.client.is_some_and(|client| self.guidance().resolved.take(client)) {
            let mut answer = Answer::error(StatusCode::TOO_MANY_REQUESTS, TOO_MANY);
            answer.response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return answer;
        }
        let mut answer = match self.catalogue().resolve(name, version).await {
            Ok(resolution) => Answer::json(&json!(resolution)),
            Err(unresolved) => {
                let status = match unresolved.missing {
                    Some(Missing::Blocked) => StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS,
                    Some(_) => StatusCode::NOT_FOUND,
                    None => StatusCode::SERVICE_UNAVAILABLE,
                };
                let mut answer = Answer::json(&json!(unresolved));
                *answer.response.status_mut() = status;
                Answer { outcome: outcome(status), ..answer }
            }
        };
        open_to_all(answer.response.headers_mut());
        answer
    }
}
