//! What IPFS clients and peers may ask of us: blocks, CARs and heads, all of which they can verify
//! ([specification](https://specs.ipfs.tech/http-gateways/trustless-gateway/)).
//!
//! ```text
//! /ipfs/<cid>?format=raw                  one block
//! /ipfs/<cid>[/<path>]?format=car         the blocks that lead to the end of the path, and what lies there (`dag-scope`)
//! /ipns/<name>?format=ipns-record         the head of the gateway with this name
//! ```
//!
//! The format stands in the query or in `Accept`; the query counts for more. Nothing is made of a CID but what it names: no
//! pages, no files.

mod accept;
mod bytes;
mod query;
mod reply;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use cid::Cid;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::cid_text;
use crate::head;
use crate::peer::PeerId;

pub use reply::{CarReply, IMMUTABLE, RAW_TYPE, RECORD_TYPE, RecordReply, raw_disposition, raw_etag};

/// The longest path and query that are read, in bytes: a CID, a scope, a name and a file's name, all percent-encoded.
const LONGEST: usize = 4096;
/// The most names in a path. Ours are of three: scope, package, file.
const MOST_SEGMENTS: usize = 8;

/// What does not stand for itself in a path (RFC 3986, section 2.3).
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// One block.
    Raw(Cid),
    /// Several.
    Car(CarRequest),
    /// A head.
    Record(PeerId),
}

/// Which blocks are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarRequest {
    /// Where the path begins.
    pub root: Cid,
    /// The names on it, decoded.
    pub path: Vec<String>,
    /// What of its end.
    pub scope: Scope,
    /// Which bytes of the file at its end; only with [`Scope::Entity`].
    pub bytes: Option<Bytes>,
    /// A block that occurs several times is sent each time.
    pub duplicates: bool,
}

/// What is wanted of what a path ends at, besides the blocks that lead there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Its first block.
    Block,
    /// A whole file, or what is needed to list a directory.
    Entity,
    /// Everything below it.
    All,
}

/// Bytes of a file, by `entity-bytes`: both ends are in it, and ends below nothing count from the end of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes {
    /// The first.
    pub from: i64,
    /// The last; `None`: that of the file.
    pub to: Option<i64>,
}

/// Why a request is refused. The text is fit for a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is longer than any that makes sense.
    #[error("the path or the query is too long")]
    TooLong,
    /// Not below `/ipfs/` or `/ipns/`.
    #[error("what can be asked for is /ipfs/<cid> and /ipns/<name>")]
    Place,
    /// Not a CID.
    #[error("{0:?} is not a CID")]
    Cid(String),
    /// Not the name of a gateway.
    #[error(transparent)]
    Name(#[from] head::NotAName),
    /// A path that leads nowhere.
    #[error("the path must consist of at most {MOST_SEGMENTS} names, without \".\" and \"..\"")]
    Path,
    /// It says what it wants twice, or what nobody knows.
    #[error("the value of {0:?} is not known, or it stands there twice")]
    Parameter(&'static str),
    /// Its place has no such format.
    #[error("{0}")]
    Format(&'static str),
    /// It does not say what it wants.
    #[error("say what you want: ?format=raw, ?format=car or, of a name, ?format=ipns-record")]
    Unsaid,
    /// What it wants is not to be had.
    #[error(
        "there is raw (application/vnd.ipld.raw), car (application/vnd.ipld.car; version=1; order=dfs) and, of a name, ipns-record"
    )]
    NotAcceptable,
}

impl Refused {
    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::TooLong => 414,
            Self::NotAcceptable => 406,
            _ => 400,
        }
    }
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Raw,
    /// With this word on duplicates, if there is one.
    Car(Option<bool>),
    Record,
}

impl Request {
    /// Reads a request: the path as it stands in it, what stands behind its `?`, and its `Accept`.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn parse(path: &str, query: Option<&str>, accept: Option<&str>) -> Result<Self, Refused> {
        let query = query.unwrap_or_default();
        if path.len() > LONGEST
            || query.len() > LONGEST
            || accept.is_some_and(|accept| accept.len() > LONGEST)
        {
            return Err(Refused::TooLong);
        }
        let query = query::Query::parse(query)?;
        let format = match query.format {
            Some(format) => format,
            None => accept::format(accept.unwrap_or_default())?,
        };
        if let Some(rest) = path.strip_prefix("/ipfs/") {
            return Self::of_content(rest, format, &query, accept);
        }
        let name = path.strip_prefix("/ipns/").ok_or(Refused::Place)?;
        match format {
            Format::Record => Ok(Self::Record(head::parse_name(name)?)),
            _ => Err(Refused::Format("of a name there is its record only: ?format=ipns-record")),
        }
    }

    fn of_content(
        path: &str,
        format: Format,
        query: &query::Query,
        accept: Option<&str>,
    ) -> Result<Self, Refused> {
        let (cid, rest) = path.split_once('/').map_or((path, ""), |(cid, rest)| (cid, rest));
        let root = parse_cid(cid)?;
        let path = segments(rest)?;
        match format {
            Format::Raw if path.is_empty() => Ok(Self::Raw(root)),
            Format::Raw => Err(Refused::Format("a block has no path: ask for it by its own CID")),
            Format::Record => Err(Refused::Format("only a name has a record: /ipns/<name>")),
            Format::Car(said) => {
                let accepted = || accept::duplicates(accept.unwrap_or_default());
                let duplicates = query.duplicates.or(said).or_else(accepted).unwrap_or(false);
                // A range implies its scope (specification, `entity-bytes`).
                let asked = query.scope.unwrap_or(Scope::All);
                let scope = if query.bytes.is_some() { Scope::Entity } else { asked };
                Ok(Self::Car(CarRequest { root, path, scope, bytes: query.bytes, duplicates }))
            }
        }
    }
}

impl Request {
    /// The path and the query that ask for it, for whoever asks: what [`Self::parse`] reads the same from.
    #[must_use]
    pub fn address(&self) -> String {
        match self {
            Self::Raw(cid) => format!("/ipfs/{cid}?format=raw"),
            Self::Record(name) => format!("/ipns/{}?format=ipns-record", head::name(*name)),
            Self::Car(request) => request.address(),
        }
    }
}

impl CarRequest {
    fn address(&self) -> String {
        let mut address = format!("/ipfs/{}", self.root);
        for name in &self.path {
            address.push('/');
            address.extend(utf8_percent_encode(name, &RESERVED));
        }
        address.push_str("?format=car&dag-scope=");
        address.push_str(self.scope.name());
        if let Some(Bytes { from, to }) = self.bytes {
            let to = to.map_or_else(|| String::from("*"), |to| format!("{to}"));
            address.push_str(&format!("&entity-bytes={from}:{to}"));
        }
        address.push_str(if self.duplicates { "&car-dups=y" } else { "&car-dups=n" });
        address
    }
}

/// The bytes of a CID that has them in itself (the identity hash), at most 64: such a block is held by everybody, and IPFS
/// clients ask for the empty one (`bafkqaaa`) to see who we are.
#[must_use]
pub fn inline(cid: &Cid) -> Option<&[u8]> {
    (cid.hash().code() == 0).then(|| cid.hash().digest())
}

/// Reads a CID in any of its spellings.
///
/// # Errors
/// [`Refused::Cid`].
pub fn parse_cid(text: &str) -> Result<Cid, Refused> {
    cid_text::parse(text).ok_or_else(|| Refused::Cid(text.chars().take(cid_text::LONGEST).collect()))
}

/// The names on a path; a slash at its end says nothing.
fn segments(path: &str) -> Result<Vec<String>, Refused> {
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Ok(Vec::new());
    }
    if path.split('/').count() > MOST_SEGMENTS {
        return Err(Refused::Path);
    }
    path.split('/').map(segment).collect()
}

fn segment(text: &str) -> Result<String, Refused> {
    let name = percent_decode_str(text).decode_utf8().map_err(|_| Refused::Path)?;
    if matches!(&*name, "" | "." | "..") || name.contains(['/', '\0']) {
        return Err(Refused::Path);
    }
    Ok(name.into_owned())
}

#[cfg(test)]
mod tests;
