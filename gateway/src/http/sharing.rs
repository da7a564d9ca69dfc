//! Peers' own requests: tarballs that are held, one that is to be fetched for both, and what a follower asks its home.

use http::header::{HeaderMap, RETRY_AFTER};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use resolver::budget::{Offence, Verdict};
use resolver::integrity::Integrity;
use resolver::package::{FileName, PackageName};
use resolver::peer::PeerId;
use resolver::peering::{Refusal, Treatment, Wish};

use super::answer::Answer;
use super::caller::Caller;
use super::headers::{PACOTE_INTEGRITY, text, value};
use super::route::Route;
use super::service::Service;
use super::tarball::needs_whole;
use crate::fetch::{Failure, Tarball, TarballRequest};
use crate::share::{Sender, WISH};
use crate::steer::PEER;

/// What a peer's request says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peering {
    /// Who has opened the stream that it came on; `None`: it came by a connection of its own.
    pub(super) proved: Option<PeerId>,
    /// Who it says it is; an error: that is nobody's id, or said twice.
    said: Option<Result<PeerId, Unreadable>>,
    /// An error: this version knows no such wish.
    wish: Result<Wish, Unreadable>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Unreadable;

const NOBODY: &str = "open-registry-peer is the id of a gateway, once";
const SOMEBODY_ELSE: &str = "open-registry-peer is not the id of the gateway that this connection leads to";
const NO_SUCH_WISH: &str = "this gateway knows no such open-registry-wish: fetch, or home";
const NO_DIGEST: &str = "what is to be fetched is named by its pacote-integrity: one sha512";
const CUT: &str = "too many requests, or too many for what does not exist: this gateway answers nobody from this \
    address who says to be a peer, for a while";

impl Peering {
    /// `None`: it is no peer's.
    pub(super) fn of(headers: &HeaderMap, proved: Option<PeerId>) -> Option<Self> {
        let said = once(headers, &PEER).map(|id| id?.parse().map_err(|_| Unreadable));
        if proved.is_none() && said.is_none() {
            return None;
        }
        let known = |wish: Result<&str, _>| Wish::parse(wish?).ok_or(Unreadable);
        Some(Self { proved, said, wish: once(headers, &WISH).map_or(Ok(Wish::Held), known) })
    }
}

/// The value of a header that stands there once; `None`: it is not there.
fn once<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<Result<&'a str, Unreadable>> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?.to_str().map_err(|_| Unreadable);
    Some(if lines.next().is_some() { Err(Unreadable) } else { first })
}

impl Service {
    /// Answers a peer; with one word for the metrics.
    pub(super) async fn for_peer(
        &self,
        route: &Route,
        head: Parts,
        body: Incoming,
        caller: &Caller,
    ) -> (&'static str, Answer) {
        let Some(peering) = caller.peering.as_deref() else {
            return ("invalid", not_held().into());
        };
        let (proved, address) = (peering.proved, caller.client);
        // Who says to be nobody is counted where he is.
        let id = proved.or(peering.said.and_then(Result::ok)).unwrap_or(PeerId::of_key([0; 32]));
        let sender = Sender { id, proved: proved.is_some(), address };
        match self.sharing().ask(sender.who()) {
            Verdict::Pass => {}
            Verdict::Slow(delay) => tokio::time::sleep(delay).await,
            Verdict::Cut(pause) | Verdict::Barred(pause) => return ("peer_cut", cut_off(pause.as_secs())),
        }
        if let Some(words) = peering.lie() {
            self.sharing().note(sender.who(), Offence::Garbage);
            return ("peer_garbage", Answer::error(StatusCode::FORBIDDEN, words));
        }
        let Ok(wish) = peering.wish else {
            return ("peer_garbage", Answer::error(StatusCode::BAD_REQUEST, NO_SUCH_WISH));
        };
        let is_head = head.method == Method::HEAD;
        let answer = self.granted(wish, &sender, route, head, body, caller).await;
        if answer.response.status() == StatusCode::NOT_FOUND && wish != Wish::Home {
            // Nobody says which packuments it holds: who asks for one claims nothing.
            let asks = is_head || *route == Route::Trustless;
            let offence = if asks { Offence::Question } else { Offence::Miss };
            self.sharing().note(sender.who(), offence);
        }
        (label(wish), self.sent_to(&sender, answer))
    }

    async fn granted(
        &self,
        wish: Wish,
        sender: &Sender,
        route: &Route,
        head: Parts,
        body: Incoming,
        caller: &Caller,
    ) -> Answer {
        let private = route.package().is_some_and(|name| self.is_private(name));
        let answered = match self.sharing().treatment(sender, wish, caller.credentials, private) {
            Treatment::Home => return Box::pin(self.as_home(route, head, body, caller)).await,
            Treatment::Refused(refusal) => {
                let refused = Answer::error(StatusCode::FORBIDDEN, &refusal.to_string());
                // Of one package; its sender is followed by this gateway in all else.
                return if refusal == Refusal::Private { self.homes_word(refused) } else { refused };
            }
            Treatment::Hidden => Err(not_held()),
            // Blocks prove themselves, and so does the head.
            Treatment::Held | Treatment::Fetch if *route == Route::Trustless => {
                return Box::pin(self.trustless(&head, caller)).await;
            }
            Treatment::Held => Box::pin(self.held_for_peer(route, &head)).await,
            Treatment::Fetch => Box::pin(self.fetched_for_peer(route, &head)).await,
        };
        answered.unwrap_or_else(Answer::from)
    }

    /// Of what is held a peer gets tarballs: its word on metadata counts for nothing, and so does ours for it.
    async fn held_for_peer(&self, route: &Route, head: &Parts) -> Result<Answer, Failure> {
        match route {
            Route::Digest(integrity) => self.held_tarball(integrity, head).await,
            Route::Tarball(name, file) => {
                let integrity = match hint(head) {
                    Some(hint) => Some(hint),
                    None => self.fetch().digest(name, file, None).await,
                };
                self.held_tarball(&integrity.ok_or_else(not_held)?, head).await
            }
            _ => Err(not_held()),
        }
    }

    async fn fetched_for_peer(&self, route: &Route, head: &Parts) -> Result<Answer, Failure> {
        let Route::Tarball(name, file) = route else {
            return self.held_for_peer(route, head).await;
        };
        let Some(integrity) = hint(head) else {
            return Ok(Answer::error(StatusCode::BAD_REQUEST, NO_DIGEST));
        };
        if self.fetch().store().holds_blob(&integrity) {
            return self.held_tarball(&integrity, head).await;
        }
        self.fetched(name, file, integrity, head).await
    }

    /// Whatever upstream has under this name: a peer gets these very bytes or none, for it would take others for a lie.
    async fn fetched(
        &self,
        name: &PackageName,
        file: &FileName,
        integrity: Integrity,
        head: &Parts,
    ) -> Result<Answer, Failure> {
        let request = TarballRequest::Named(name.clone(), file.clone(), Some(integrity));
        let tarball = self.fetch().tarball_alone(&request, needs_whole(head)).await?;
        let is = match &tarball {
            Tarball::Held { blob, .. } => Some(blob.integrity()),
            Tarball::Arriving(arriving) => arriving.integrity(),
        };
        if is == Some(&integrity) { Ok(Self::sent_tarball(tarball, head)) } else { Err(not_held()) }
    }

    /// What is sent to a peer is counted as that, and held back where too much is sent. Words are not.
    fn sent_to(&self, sender: &Sender, answer: Answer) -> Answer {
        let pace = answer.response.status().is_success().then(|| self.sharing().pace(sender)).flatten();
        let sent = self.sharing().sent(sender);
        Answer { response: answer.response.map(|body| body.counted(sent).paced(pace)), ..answer }
    }
}

impl Peering {
    /// Whether home is asked. By each of its answers a follower knows whether this is one.
    pub(super) fn is_followers(&self) -> bool {
        self.wish == Ok(Wish::Home)
    }

    /// What no gateway of any version says.
    fn lie(&self) -> Option<&'static str> {
        match (self.said, self.proved) {
            (Some(Err(Unreadable)), _) => Some(NOBODY),
            (Some(Ok(said)), Some(proved)) if said != proved => Some(SOMEBODY_ELSE),
            _ => None,
        }
    }
}

fn hint(head: &Parts) -> Option<Integrity> {
    text(&head.headers, PACOTE_INTEGRITY).and_then(Integrity::from_sri)
}

fn not_held() -> Failure {
    Failure::NotFound("this tarball".into())
}

fn label(wish: Wish) -> &'static str {
    match wish {
        Wish::Held => "peer_held",
        Wish::Fetch => "peer_fetch",
        Wish::Home => "peer_home",
    }
}

fn cut_off(seconds: u64) -> Answer {
    let mut answer = Answer::error(StatusCode::TOO_MANY_REQUESTS, CUT);
    let headers = Response::headers_mut(&mut answer.response);
    headers.insert(RETRY_AFTER, value(&seconds.max(1).to_string()));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn peering(lines: &[(&'static str, &str)], proved: Option<PeerId>) -> Option<Peering> {
        let mut headers = HeaderMap::new();
        for (name, line) in lines {
            headers.append(*name, HeaderValue::from_str(line).unwrap());
        }
        Peering::of(&headers, proved)
    }

    #[test]
    fn a_request_is_a_peers_when_it_says_so_or_comes_on_a_stream() {
        let (one, other) = (PeerId::of_key([1; 32]), PeerId::of_key([2; 32]));
        let said = one.to_string();
        assert_eq!(peering(&[("open-registry-wish", "home")], None), None, "a client may say what it wants");
        let plain = peering(&[("open-registry-peer", &said)], None).unwrap();
        assert_eq!((plain.proved, plain.wish, plain.lie()), (None, Ok(Wish::Held), None));
        let silent = peering(&[("open-registry-wish", "fetch")], Some(one)).unwrap();
        assert_eq!((silent.proved, silent.wish, silent.lie()), (Some(one), Ok(Wish::Fetch), None));
        let honest = peering(&[("open-registry-peer", &said)], Some(one)).unwrap();
        assert_eq!(honest.lie(), None);
        let liar = peering(&[("open-registry-peer", &said)], Some(other)).unwrap();
        assert_eq!(liar.lie(), Some(SOMEBODY_ELSE));
    }

    #[test]
    fn what_nobody_says_is_seen() {
        let said = PeerId::of_key([1; 32]).to_string();
        for lines in [
            vec![("open-registry-peer", "somebody")],
            vec![("open-registry-peer", "")],
            vec![("open-registry-peer", said.as_str()), ("open-registry-peer", said.as_str())],
        ] {
            assert_eq!(peering(&lines, None).unwrap().lie(), Some(NOBODY), "{lines:?}");
        }
        for wish in ["moon", "", "fetch,home"] {
            let lines = [("open-registry-peer", said.as_str()), ("open-registry-wish", wish)];
            assert_eq!(peering(&lines, None).unwrap().wish, Err(Unreadable), "{wish}");
        }
    }
}
