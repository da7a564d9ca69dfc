//! Home, the gateway that is followed: whether it is connected, how it is asked, and what its answers say of themselves.
//!
//! ```text
//! open-registry-peer: <own id>          a request to home
//! open-registry-wish: home
//!
//! open-registry-homes: <id>, <id>       every answer of a home: whom it follows, the nearest first; empty: nobody
//! open-registry-upstream: down          home could not ask upstream: what it sends is old, or all that it can say
//! age: <seconds>                        since upstream has confirmed what is sent
//! ```

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::header::{AGE, HeaderMap, HeaderName, HeaderValue};
use http::{Request, StatusCode, Uri};
use resolver::peer::PeerId;
use resolver::ways::Home as State;
use tokio::time::Instant;

use super::client::Body;
use super::failure::UpstreamError;
use crate::line::{self, Line};
use crate::share::WISH;
use crate::steer::PEER;
use crate::swarm::{Contact, Swarm};

/// Whom a home follows, in each of its answers: by that an answer is known to be one.
pub const HOMES: HeaderName = HeaderName::from_static("open-registry-homes");
/// `down`: whoever answers could not ask upstream.
pub const ASKED: HeaderName = HeaderName::from_static("open-registry-upstream");
/// The value of [`ASKED`].
pub const DOWN: HeaderValue = HeaderValue::from_static("down");

/// Gateways that follow one another, at most: each adds its delay, and nobody needs more.
const LONGEST_CHAIN: usize = 8;
const CIRCLE: &str = "it follows this gateway in its turn, so neither would ask upstream: federation.home of one of \
    them has to change";
const TOO_LONG: &str =
    "too many gateways follow one another behind it; follow one that is nearer to upstream";

/// Whom to follow.
pub struct Following {
    /// Where it is, and who.
    pub contact: Contact,
    /// This gateway.
    pub own: PeerId,
    /// How it is reached.
    pub swarm: Swarm,
}

pub(super) struct Home {
    contact: Contact,
    own: PeerId,
    swarm: Swarm,
    line: Line<Body>,
    /// Whom home follows, as it has said last.
    chain: Mutex<Vec<String>>,
}

impl Home {
    pub(super) fn new(following: Following) -> Self {
        let Following { contact, own, swarm } = following;
        let line = line::over(swarm.clone());
        Self { contact, own, swarm, line, chain: Mutex::default() }
    }

    pub(super) fn contact(&self) -> &Contact {
        &self.contact
    }

    pub(super) fn line(&self) -> &Line<Body> {
        &self.line
    }

    /// Whether it can be asked at all.
    pub(super) fn state(&self) -> State {
        match self.connected_since() {
            None => State::Absent,
            Some(_) => self.bar().map_or(State::Connected, State::Barred),
        }
    }

    /// Since when it is connected.
    pub(super) fn connected_since(&self) -> Option<Instant> {
        self.swarm.neighbours().get(&self.contact.id).map(|neighbour| neighbour.since)
    }

    /// Returns when it is connected, or the wait is over.
    pub(super) async fn wait(&self, most: Duration) {
        let mut neighbours = self.swarm.follow();
        let connected = neighbours.wait_for(|neighbours| neighbours.contains_key(&self.contact.id));
        // Over or not, the state tells.
        let _ = tokio::time::timeout(most, connected).await;
    }

    /// Returns when it is connected otherwise than `before`: newly, or no longer. Never, where there is no swarm any more.
    pub(super) async fn changed(&self, before: Option<Instant>) -> Option<Instant> {
        let mut neighbours = self.swarm.follow();
        let since =
            |id: &PeerId, all: &crate::swarm::Neighbours| all.get(id).map(|neighbour| neighbour.since);
        let is_other = neighbours.wait_for(|all| since(&self.contact.id, all) != before).await.is_ok();
        if !is_other {
            std::future::pending::<()>().await;
        }
        self.connected_since()
    }

    /// Whom this gateway follows, the nearest first.
    pub(super) fn followed(&self) -> Vec<String> {
        let chain = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::once(self.contact.id.to_string()).chain(chain.iter().cloned()).collect()
    }

    /// What was said over the connection before says nothing of whom it follows now.
    pub(super) fn forget(&self) {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// A request for `path` (with its query) of upstream's, as home takes it.
    pub(super) fn addressed(
        &self,
        mut request: Request<Body>,
        path: &str,
    ) -> Result<Request<Body>, UpstreamError> {
        let address = format!("http://{}{path}", self.contact.id);
        *request.uri_mut() =
            address.parse::<Uri>().map_err(|_| UpstreamError::Wrong("an odd address".into()))?;
        let headers = request.headers_mut();
        headers.insert(
            PEER,
            HeaderValue::try_from(self.own.to_string()).unwrap_or(HeaderValue::from_static("")),
        );
        headers.insert(WISH, HeaderValue::from_static("home"));
        Ok(request)
    }

    /// Whether this is what a home says; what is not, is no word on what was asked for.
    pub(super) fn check(&self, head: &http::response::Parts) -> Result<(), UpstreamError> {
        let Some(homes) = head.headers.get(HOMES).and_then(|homes| homes.to_str().ok()) else {
            return Err(match head.status {
                StatusCode::TOO_MANY_REQUESTS => {
                    UpstreamError::Busy(head.status, super::failure::pause(head))
                }
                status => UpstreamError::Unreachable(format!(
                    "home does not serve this gateway (it answered {})",
                    status.as_u16()
                )),
            });
        };
        self.learn(homes);
        match self.bar() {
            Some(why) => Err(UpstreamError::Unreachable(format!("home cannot be followed: {why}"))),
            None if head.status == StatusCode::SERVICE_UNAVAILABLE && is_cut_off(&head.headers) => {
                Err(UpstreamError::CutOff)
            }
            None => Ok(()),
        }
    }

    fn learn(&self, homes: &str) {
        // One more than are allowed shows that there are too many.
        let said: Vec<String> = homes
            .split(',')
            .map(|id| id.trim().to_owned())
            .filter(|id| !id.is_empty())
            .take(LONGEST_CHAIN)
            .collect();
        let was_barred = self.bar().is_some();
        *self.chain.lock().unwrap_or_else(PoisonError::into_inner) = said;
        if let Some(why) = self.bar().filter(|_| !was_barred) {
            tracing::error!(home = %self.contact, "home cannot be followed: {why}");
        }
    }

    fn bar(&self) -> Option<&'static str> {
        let chain = self.chain.lock().unwrap_or_else(PoisonError::into_inner);
        if chain.iter().any(|id| *id == self.own.to_string()) {
            return Some(CIRCLE);
        }
        (chain.len() >= LONGEST_CHAIN).then_some(TOO_LONG)
    }
}

/// Whether a home's answer says that it could not ask upstream.
pub(super) fn is_cut_off(headers: &HeaderMap) -> bool {
    headers.get(ASKED) == Some(&DOWN)
}

/// How long before an answer upstream has confirmed it. An age that is not to be read is as old as can be.
pub(super) fn age(headers: &HeaderMap) -> Duration {
    let age = headers.get(AGE).and_then(|age| age.to_str().ok()).and_then(|age| age.trim().parse().ok());
    Duration::from_secs(age.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> Home {
        let contact = format!("/ip4/192.0.2.7/tcp/6738/p2p/{}", PeerId::of_key([7; 32]));
        let (own, swarm) = (PeerId::of_key([1; 32]), Swarm::none());
        Home::new(Following { contact: contact.parse().unwrap(), own, swarm })
    }

    fn answer(status: u16, headers: &[(HeaderName, &str)]) -> http::response::Parts {
        let mut answer = http::Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(name, *value);
        }
        answer.body(()).unwrap().into_parts().0
    }

    #[tokio::test]
    async fn what_does_not_say_that_it_is_a_homes_word_is_none() {
        let home = home();
        for status in [200, 403, 404] {
            let refused = home.check(&answer(status, &[])).unwrap_err();
            assert!(matches!(refused, UpstreamError::Unreachable(_)), "{status}: {refused:?}");
            assert_eq!(home.check(&answer(status, &[(HOMES, "")])), Ok(()), "{status}");
        }
        assert!(matches!(home.check(&answer(429, &[])), Err(UpstreamError::Busy(..))));
        let cut_off = answer(503, &[(HOMES, ""), (ASKED, "down")]);
        assert_eq!(home.check(&cut_off), Err(UpstreamError::CutOff));
        assert_eq!(home.check(&answer(200, &[(HOMES, ""), (ASKED, "down")])), Ok(()));
    }

    #[tokio::test]
    async fn a_circle_of_homes_and_a_long_chain_end_in_an_error() {
        let home = home();
        let (own, other) = (PeerId::of_key([1; 32]).to_string(), PeerId::of_key([2; 32]).to_string());
        assert_eq!(home.check(&answer(200, &[(HOMES, &other)])), Ok(()));
        assert_eq!(home.followed(), [PeerId::of_key([7; 32]).to_string(), other.clone()]);
        let circle = answer(200, &[(HOMES, &format!("{other}, {own}"))]);
        let refused = home.check(&circle).unwrap_err().to_string();
        assert!(refused.contains("follows this gateway"), "{refused}");
        let long = vec![other.as_str(); 100].join(",");
        let refused = home.check(&answer(200, &[(HOMES, &long)])).unwrap_err().to_string();
        assert!(refused.contains("too many"), "{refused}");
        assert!(home.followed().len() <= LONGEST_CHAIN + 1);
        home.forget();
        assert_eq!(home.bar(), None);
    }

    #[test]
    fn an_age_that_is_not_told_is_no_confirmation() {
        assert_eq!(age(&answer(200, &[(AGE, "30")]).headers), Duration::from_secs(30));
        for odd in ["", "soon", "-1"] {
            assert_eq!(age(&answer(200, &[(AGE, odd)]).headers), Duration::from_secs(u64::MAX), "{odd}");
        }
        assert_eq!(age(&answer(200, &[]).headers), Duration::from_secs(u64::MAX));
    }
}
