//! The trustless gateway ([specification](https://specs.ipfs.tech/http-gateways/trustless-gateway/)): blocks, CARs and the head of
//! this gateway's index. What is asked for is here or it is not: nothing is fetched for it, and nothing is made of it but
//! what its CID names.
//!
//! ```text
//! /ipfs/<cid>[/<path>]    format=raw|car, dag-scope, entity-bytes          the index, and what it leads to
//! /ipns/<id>              format=ipns-record                               the signed head; also /routing/v1/ipns/<id>
//! /ipns/<id>[/<path>]     format=raw|car                                   the same as /ipfs/<root>[/<path>], under the root of now
//! ```

use std::future::ready;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::stream;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING,
    CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use resolver::head::{self, Signed};
use resolver::index::{Cid, TreeError, address, lookup};
use resolver::package::{FileName, PackageName};
use resolver::peer::PeerId;
use resolver::trustless::{
    self, CarRequest, IMMUTABLE, RAW_TYPE, RECORD_TYPE, RecordReply, Refused, Request, raw_disposition,
    raw_etag,
};
use resolver::variant::Encoding;

use super::answer::Answer;
use super::body;
use super::caller::Caller;
use super::car::Car;
use super::headers::{names_tag, text, value};
use super::packed::{Packer, packed};
use super::rooms::Client;
use super::service::Service;
use crate::index::{Block, Published};
use crate::takedown::Notice;

const PATH: HeaderName = HeaderName::from_static("x-ipfs-path");
const ROOTS: HeaderName = HeaderName::from_static("x-ipfs-roots");
/// Who reads from a page of another origin may: everything here is public, and says itself what it is.
const OPEN: [(&str, &str); 4] = [
    ("access-control-allow-origin", "*"),
    ("access-control-allow-methods", "GET, HEAD, OPTIONS"),
    ("access-control-allow-headers", "Content-Type, Range, User-Agent, X-Requested-With"),
    (
        "access-control-expose-headers",
        "Content-Length, Content-Range, X-Chunked-Output, X-Ipfs-Path, X-Ipfs-Roots, X-Stream-Output",
    ),
];
const NOT_HERE: &str = "this gateway does not have the block that this begins with";
const UNREADABLE: &str = "the index of this gateway cannot be read now";
const BUSY: &str = "too many blocks are being sent at once; come again in a moment";
const FOREIGN: &str =
    "this gateway has the records of its own name and of its home's only; its own is /ipns/";
const NO_HEAD: &str = "nothing has been published under this name yet, as far as this gateway knows";

/// What a request is about besides what it says itself.
struct Place {
    /// As it was asked for.
    path: String,
    /// It stands for something else at another time: how long it may be kept.
    passing: Option<String>,
    /// Who asks.
    client: Client,
}

impl Service {
    /// `/ipfs/<cid>...` and `/ipns/<name>...`, and `/routing/v1/ipns/<name>`.
    pub(super) async fn trustless(&self, head: &Parts, caller: &Caller) -> Answer {
        let asked = head.uri.path();
        let path = asked.strip_prefix("/routing/v1").unwrap_or(asked);
        self.catalogue().index().is_asked_for();
        let peer = caller.peering.as_ref().and_then(|peering| peering.proved);
        let client = Client { address: caller.client, peer };
        let answered = self.asked_of_index(path, head, client).await;
        let mut answer = answered.unwrap_or_else(|refused| refusal(&refused, &head.headers));
        open_to_all(answer.response.headers_mut());
        answer
    }

    async fn asked_of_index(&self, path: &str, head: &Parts, client: Client) -> Result<Answer, Refused> {
        let parse = |path: &str| Request::parse(path, head.uri.query(), text(&head.headers, ACCEPT));
        let place = Place { path: path.to_owned(), passing: None, client };
        let refused = match parse(path) {
            Ok(Request::Raw(cid)) => return Ok(self.block(&cid, &place, head).await),
            Ok(Request::Car(request)) => return Ok(self.car(&request, &place, head)),
            Ok(Request::Record(id)) => return Ok(self.record(id, head)),
            Err(refused) => refused,
        };
        // What stands below our own name is asked for under the root of now.
        let Some((rest, published)) = self.below_own_name(path) else { return Err(refused) };
        let passing = Some(
            freshness(&published.record, self.prover().id())
                .map_or_else(|| "no-cache".into(), |fresh| fresh.cache_control),
        );
        let place = Place { passing, ..place };
        match parse(&format!("/ipfs/{}{rest}", published.root))? {
            Request::Raw(cid) => Ok(self.block(&cid, &place, head).await),
            Request::Car(request) => Ok(self.car(&request, &place, head)),
            Request::Record(_) => Err(refused),
        }
    }

    fn below_own_name<'p>(&self, path: &'p str) -> Option<(&'p str, std::sync::Arc<Published>)> {
        let below = path.strip_prefix("/ipns/")?;
        let (name, rest) = below.split_at(below.find('/').unwrap_or(below.len()));
        let own = head::parse_name(name).is_ok_and(|name| name == self.prover().id());
        Some((rest, self.catalogue().published().filter(|_| own)?))
    }

    async fn block(&self, cid: &Cid, place: &Place, head: &Parts) -> Answer {
        if let Some(notice) = self.blocked_block(cid) {
            return notice.into();
        }
        let found = match trustless::inline(cid) {
            Some(bytes) => Some(Block::Node(bytes.to_vec())),
            None => self.catalogue().block(cid),
        };
        let Some(found) = found else { return not_here(&head.headers) };
        let length = match &found {
            Block::Node(bytes) => bytes.len() as u64,
            Block::Leaf(part) => part.length,
        };
        let mut answer = described(&raw_etag(cid), RAW_TYPE, &raw_disposition(cid), place, head);
        answer.response.headers_mut().insert(ROOTS, value(&cid.to_string()));
        if answer.response.status() == StatusCode::NOT_MODIFIED {
            return answer;
        }
        answer.response.headers_mut().insert(CONTENT_LENGTH, length.into());
        if head.method == Method::HEAD {
            return answer;
        }
        let Some(room) = self.rooms().enter(place.client) else { return busy() };
        let bytes = match found {
            Block::Node(bytes) => Some(bytes.into()),
            Block::Leaf(part) => self.catalogue().index().part(&part).await,
        };
        let Some(bytes) = bytes else { return not_here(&head.headers) };
        self.catalogue().count_block();
        *answer.response.body_mut() = body::streamed_in(room, stream::once(ready(Ok(bytes))));
        answer
    }

    /// Why a block is not served that is a whole tarball.
    fn blocked_block(&self, cid: &Cid) -> Option<Arc<Notice>> {
        self.fetch().takedowns().of_digest(&address::tarball_of(cid)?)
    }

    /// Why what stands at a path below a root is not served: also where the root of now has it no more.
    fn blocked_path(&self, path: &[String]) -> Option<Arc<Notice>> {
        let (name, file) = match path {
            [scope, name, file] if scope.starts_with('@') => (format!("{scope}/{name}"), file),
            [name, file] => (name.clone(), file),
            _ => return None,
        };
        let (name, file) = (PackageName::parse(&name).ok()?, FileName::parse(file).ok()?);
        self.fetch().takedowns().of_file(&name, &file).filter(|_| file.as_str().ends_with(".tgz"))
    }

    fn car(&self, request: &CarRequest, place: &Place, head: &Parts) -> Answer {
        let Some(nodes) = self.catalogue().nodes() else {
            return Answer::error(StatusCode::SERVICE_UNAVAILABLE, UNREADABLE);
        };
        let found = match lookup::resolve(&nodes, &request.root, request.path.iter().map(String::as_str)) {
            Ok(found) => found,
            Err(TreeError::Missing(_)) => return not_here(&head.headers),
            Err(error) => {
                tracing::debug!(%error, root = %request.root, "what is below a root that was asked for cannot be read");
                return Answer::error(StatusCode::INTERNAL_SERVER_ERROR, UNREADABLE);
            }
        };
        drop(nodes);
        let target = found.target.unwrap_or(request.root);
        if let Some(notice) = self.blocked_block(&target).or_else(|| self.blocked_path(&request.path)) {
            return notice.into();
        }
        // Its nodes have been read; what they lead to, nobody has looked for yet. What would be broken off is not begun: whoever asks
        // several gateways asks the next one.
        let is_here = |cid: &Cid| trustless::inline(cid).is_some() || self.catalogue().block(cid).is_some();
        // Below a block without links there is nothing, which that block alone can prove.
        let looked_for = found.target.or(found.nodes.is_empty().then_some(request.root));
        if !looked_for.as_ref().is_none_or(is_here) {
            return not_here(&head.headers);
        }
        let reply = request.reply();
        let mut answer = described(&reply.etag, reply.content_type, &reply.disposition, place, head);
        let headers = answer.response.headers_mut();
        let last = found.target.or(found.nodes.last().copied()).unwrap_or(request.root);
        headers.insert(ROOTS, value(&roots(&request.root, &last)));
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("none"));
        if answer.response.status() == StatusCode::NOT_MODIFIED || head.method == Method::HEAD {
            return answer;
        }
        let Some(room) = self.rooms().enter(place.client) else { return busy() };
        let chunks = Car::new(self.catalogue().clone(), request, found).chunks();
        // For gateways alone: packuments become a tenth of their size, and an IPFS client has no use for a coding.
        let packs = place.client.peer.is_some()
            && Encoding::accepted(text(&head.headers, ACCEPT_ENCODING)) == Encoding::Zstd;
        *answer.response.body_mut() = match packs.then(Packer::new).and_then(Result::ok) {
            Some(packer) => {
                answer.response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("zstd"));
                body::streamed_in(room, packed(packer, chunks))
            }
            None => body::streamed_in(room, chunks),
        };
        answer
    }

    fn record(&self, id: PeerId, head: &Parts) -> Answer {
        let own = self.prover().id();
        let Some(record) = self.catalogue().record(id) else {
            let is_known =
                id == own || self.catalogue().following().is_some_and(|following| following.home() == id);
            let words = if is_known { NO_HEAD.to_owned() } else { format!("{FOREIGN}{}", head::name(own)) };
            return Answer::error(StatusCode::NOT_FOUND, &words);
        };
        let Some(fresh) = freshness(&record, id) else {
            return Answer::error(StatusCode::INTERNAL_SERVER_ERROR, UNREADABLE);
        };
        let name = head::name(id);
        let disposition = format!("attachment; filename=\"{name}.ipns-record\"");
        let place = Place {
            path: format!("/ipns/{name}"),
            passing: Some(fresh.cache_control),
            client: Client::default(),
        };
        let mut answer = described(&fresh.etag, RECORD_TYPE, &disposition, &place, head);
        if answer.response.status() != StatusCode::NOT_MODIFIED {
            answer.response.headers_mut().insert(CONTENT_LENGTH, record.len().into());
            if head.method != Method::HEAD {
                *answer.response.body_mut() = body::full(record);
            }
        }
        answer
    }
}

/// How long the head of now may be kept; `None`: it cannot be read, and was never published so.
fn freshness(record: &[u8], name: PeerId) -> Option<RecordReply> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Signed::read(record, name).ok().map(|signed| RecordReply::of(signed.head(), now))
}

/// The answer to a question before pages of other origins ask theirs.
pub(super) fn preflight() -> Answer {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    open_to_all(response.headers_mut());
    response.headers_mut().insert("access-control-max-age", HeaderValue::from_static("86400"));
    Answer::new(response, "ok", "none")
}

pub(super) fn open_to_all(headers: &mut HeaderMap) {
    for (name, line) in OPEN {
        headers.insert(name, HeaderValue::from_static(line));
    }
}

/// The headers of what is sent, without its length and body; 304 where the client has it.
fn described(etag: &str, kind: &'static str, disposition: &str, place: &Place, head: &Parts) -> Answer {
    let mut response = Response::new(body::empty());
    let headers = response.headers_mut();
    headers.insert(ETAG, value(etag));
    headers.insert(CACHE_CONTROL, value(place.passing.as_deref().unwrap_or(IMMUTABLE)));
    headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    headers.insert(PATH, value(&place.path));
    // Tags are compared weakly here (RFC 9110, section 13.1.2).
    if names_tag(&head.headers, etag.trim_start_matches("W/")) == Some(true) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return Answer::new(response, "not_modified", "store");
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CONTENT_DISPOSITION, value(disposition));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Answer::new(response, "ok", "store")
}

/// Of what a path leads through, the first and the last.
fn roots(first: &Cid, last: &Cid) -> String {
    if first == last { first.to_string() } else { format!("{first},{last}") }
}

/// Who asks for what is at hand alone is told in another way that it is not: as the specification says.
fn not_here(headers: &HeaderMap) -> Answer {
    let only_cached = text(headers, CACHE_CONTROL).is_some_and(|line| line.contains("only-if-cached"));
    let status = if only_cached { StatusCode::PRECONDITION_FAILED } else { StatusCode::NOT_FOUND };
    Answer::error(status, NOT_HERE)
}

fn busy() -> Answer {
    Answer::error(StatusCode::SERVICE_UNAVAILABLE, BUSY)
}

/// A program gets JSON, whoever reads with a browser a sentence.
fn refusal(refused: &Refused, headers: &HeaderMap) -> Answer {
    let status = StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let for_people = text(headers, ACCEPT).is_some_and(|accept| accept.contains("text/html"));
    let mut answer = Answer::error(status, &refused.to_string());
    if for_people {
        let words = format!("This is for programs that verify what they get ({status}): {refused}.\n");
        *answer.response.body_mut() = body::full(words);
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        answer.response.headers_mut().insert(CONTENT_TYPE, plain);
    }
    answer
}
