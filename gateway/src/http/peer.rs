//! `GET /-/open-registry/peer`: who this gateway is, and its proof that an address is its own.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use resolver::links::Links;
use resolver::peer::{PeerId, Scheme};
use resolver::proof::{Asked, Authority, Claims, Nonce, Own};
use resolver::zone::Zone;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use url::{Host, Url, form_urlencoded};

use super::allowance::Allowance;
use super::answer::Answer;
use super::body;
use super::caller::Caller;
use super::load::Load;
use crate::identity::Identity;

/// The media type of a JWS in its compact form (RFC 7515, section 9.2.1).
const JWS: HeaderValue = HeaderValue::from_static("application/jose");
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What is asked for when it is not right.
const QUESTION: &str = "a proof is asked for with ?nonce=<16 to 64 characters of base64url>&scheme=<http or https>&\
    authority=<the host, and the port unless the scheme means it>, each once";
const UNKNOWN_ASKER: &str = "the proxy in front of this gateway does not say who asks";
const ON_A_STREAM: &str = "an address is proved where it is, and not over a stream";
const TOO_MANY: &str = "too many proofs were asked for in this second";

/// Proves what this gateway says of itself.
pub struct Prover {
    ground: Ground,
    /// The names in its URLs.
    names: Vec<String>,
    load: Arc<Load>,
    allowance: Allowance,
}

/// What is this gateway's, and who it is.
pub struct Ground {
    /// Its key.
    pub identity: Arc<Identity>,
    /// The name that clients know it by.
    pub zone: Zone,
    /// Its addresses, wherever they are: `[zone] addresses`.
    pub addresses: Vec<IpAddr>,
    /// The URLs that its own `[[peer]]` entry names.
    pub urls: Vec<Url>,
    /// The ports that clients come in by.
    pub ports: Vec<u16>,
    /// The machine's interfaces, as they are at any time.
    pub links: watch::Receiver<Arc<Links>>,
    /// When it takes no new clients any more.
    pub stop: CancellationToken,
}

/// What a proof is asked for.
struct Question {
    nonce: Nonce,
    authority: Authority,
}

impl Prover {
    /// `load` says how busy this gateway is.
    #[must_use]
    pub fn new(mut ground: Ground, load: Arc<Load>) -> Self {
        let mut names = Vec::new();
        for url in std::mem::take(&mut ground.urls) {
            match url.host() {
                Some(Host::Domain(name)) => names.push(name.to_ascii_lowercase()),
                Some(Host::Ipv4(address)) => ground.addresses.push(address.into()),
                Some(Host::Ipv6(address)) => ground.addresses.push(address.into()),
                None => {}
            }
            ground.ports.extend(url.port());
        }
        Self { ground, names, load, allowance: Allowance::new() }
    }

    /// Who this gateway is.
    pub(super) fn id(&self) -> PeerId {
        self.ground.identity.id()
    }

    /// Answers `?nonce=<n>&scheme=<s>&authority=<a>` with a proof, and no query with who this is.
    pub(super) fn answer(&self, query: Option<&str>, caller: &Caller) -> Answer {
        let Some(query) = query.filter(|query| !query.is_empty()) else {
            let zone = self.ground.zone.as_str();
            return Answer::json(&json!({ "id": self.id(), "version": VERSION, "zone": zone }));
        };
        if caller.peering.as_ref().is_some_and(|peering| peering.proved.is_some()) {
            return Answer::error(StatusCode::FORBIDDEN, ON_A_STREAM);
        }
        let question = match Question::of(query) {
            Ok(question) => question,
            Err(words) => return Answer::error(StatusCode::BAD_REQUEST, &words),
        };
        let asked = Asked { at: caller.asked_at, scheme: caller.scheme };
        if let Err(foreign) = self.own(&self.ground.links.borrow()).check(&question.authority, asked) {
            return Answer::error(StatusCode::FORBIDDEN, &foreign.to_string());
        }
        let Some(client) = caller.client else {
            return Answer::error(StatusCode::FORBIDDEN, UNKNOWN_ASKER);
        };
        if !self.allowance.take(client) {
            return too_many();
        }
        self.prove(question, client)
    }

    fn own<'a>(&'a self, links: &'a Links) -> Own<'a> {
        let Ground { addresses, ports, .. } = &self.ground;
        Own { links, addresses, names: &self.names, ports }
    }

    fn prove(&self, Question { nonce, authority }: Question, client: IpAddr) -> Answer {
        let claims = Claims {
            id: self.id(),
            nonce,
            authority,
            client: client.to_canonical(),
            accepting: !self.ground.stop.is_cancelled(),
            load: self.load.now(),
            version: VERSION.to_owned(),
        };
        let message = claims.message();
        let signature = self.ground.identity.sign(message.as_bytes());
        let mut response = Response::new(body::full(Claims::signed(&message, signature)));
        response.headers_mut().insert(CONTENT_TYPE, JWS);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Answer::new(response, "ok", "none")
    }
}

impl Question {
    /// Reads a query, by the letter.
    fn of(query: &str) -> Result<Self, Cow<'static, str>> {
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
        let once = |name: &str| {
            let mut values = pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_ref());
            values.next().filter(|_| values.next().is_none())
        };
        let (Some(nonce), Some(scheme), Some(authority)) = (once("nonce"), once("scheme"), once("authority"))
        else {
            return Err(QUESTION.into());
        };
        let scheme = Scheme::parse(scheme).ok_or(QUESTION)?;
        let nonce = Nonce::try_from(nonce.to_owned()).map_err(|error| error.to_string())?;
        let authority = Authority::parse(scheme, authority).map_err(|error| error.to_string())?;
        Ok(Self { nonce, authority })
    }
}

fn too_many() -> Answer {
    let mut answer = Answer::error(StatusCode::TOO_MANY_REQUESTS, TOO_MANY);
    answer.response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_whole_or_refused_with_words() {
        let good = "nonce=AAAAAAAAAAAAAAAA&scheme=http&authority=192.0.2.7";
        assert!(Question::of(good).is_ok());
        assert!(Question::of(&format!("{good}&later=1")).is_ok(), "what is not known is left alone");
        assert!(
            Question::of("authority=%5B2001%3Adb8%3A%3A7%5D&scheme=https&nonce=AAAAAAAAAAAAAAAA").is_ok()
        );
        for bad in [
            "nonce=AAAAAAAAAAAAAAAA",
            "nonce=AAAAAAAAAAAAAAAA&scheme=http",
            "nonce=AAAAAAAAAAAAAAAA&scheme=gopher&authority=192.0.2.7",
            "nonce=AAAAAAAAAAAAAAAA&scheme=HTTP&authority=192.0.2.7",
            "nonce=short&scheme=http&authority=192.0.2.7",
            "nonce=AAAAAAAA%20AAAAAAAA&scheme=http&authority=192.0.2.7",
            &format!("nonce={}&scheme=http&authority=192.0.2.7", "A".repeat(65)),
            &format!("{good}&nonce=BBBBBBBBBBBBBBBB"),
            &format!("{good}&authority=192.0.2.8"),
            "nonce=AAAAAAAAAAAAAAAA&scheme=http&authority=192.0.2.7:80",
            "nonce=AAAAAAAAAAAAAAAA&scheme=http&authority=",
        ] {
            let refused = Question::of(bad).err();
            assert!(refused.is_some_and(|words| words.len() > 20), "{bad}");
        }
    }
}
