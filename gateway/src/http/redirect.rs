//! A tarball's request that is sent on to a nearer peer.

use http::header::{CACHE_CONTROL, HeaderValue, LOCATION, RANGE, USER_AGENT};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use resolver::integrity::Integrity;
use resolver::package::{FileName, PackageName};
use resolver::redirect::Asked;

use super::answer::Answer;
use super::body;
use super::caller::Caller;
use super::headers::{text, value};
use super::service::Service;
use crate::steer::HOP;

impl Service {
    /// Where a client is better served, when all that a redirect needs is so; `None`: it is served here.
    pub(super) async fn redirect(
        &self,
        (name, file, hint): (&PackageName, &FileName, Option<Integrity>),
        head: &Parts,
        caller: &Caller,
    ) -> Option<Answer> {
        let guidance = self.guidance();
        let asked = Asked {
            enabled: guidance.redirects && !guidance.guide.is_alone(),
            whole: head.method == Method::GET && !head.headers.contains_key(RANGE),
            secret: caller.credentials || self.is_private(name),
            relayed: caller.relayed_by_peer,
            scheme: caller.scheme,
            user_agent: text(&head.headers, USER_AGENT),
        };
        asked.check().ok()?;
        let address = caller.client?;
        let integrity = self.fetch().digest(name, file, hint).await?;
        if self.fetch().takedowns().of_digest(&integrity).is_some() {
            return None;
        }
        let facts = guidance.guide.facts();
        let asker = guidance.guide.asker(&facts, address, caller.asked_at);
        let holds = |target: &_| guidance.holders.holds(target, &integrity);
        let target = asked.target(&facts.peers, &facts.client(&asker), holds).ok()?;
        let location = format!("{}/{}?{HOP}=1", target.base, name.tarball_path(file));
        tracing::debug!(peer = %target.id, location, "sent to a nearer peer");
        Some(found(&location))
    }
}

/// One answer for one client: the next one may be served elsewhere.
fn found(location: &str) -> Answer {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::FOUND;
    response.headers_mut().insert(LOCATION, value(location));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Answer::new(response, "redirect", "none")
}
