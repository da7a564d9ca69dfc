//! What can go wrong with an answer, on request: to whom, how often, and how.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};

use super::answer::Answer;
use super::delivery::{Course, Framing};
use super::respond::Asked;
use super::route::{Route, decoded};
use crate::package::Package;

/// One way in which an answer goes wrong. Counts are bytes of the body.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Another status, with an empty body.
    Status(u16),
    /// Another status and `Retry-After`, in seconds.
    RetryAfter(u16, u64),
    /// The whole length is promised, so many bytes come, and the connection closes.
    CutAfter(usize),
    /// Chunked, and closed before the last chunk.
    ChunkedAbort(usize),
    /// The first so many bytes, and a Content-Length that agrees with them.
    Short(usize),
    /// One flipped byte in the middle.
    Corrupt,
    /// One flipped byte, here.
    CorruptAt(usize),
    /// Another valid tarball.
    OtherTarball,
    /// Half of the document, and a Content-Length that agrees with it.
    TruncatedPackument,
    /// The packument of this package instead.
    OtherPackument(String),
    /// The connection is reset before any header.
    Reset,
    /// The first byte comes late.
    Delay(Duration),
    /// So many bytes come, and then nothing, for ever; the connection stays open.
    StallAfter(usize),
    /// The request is read and never answered.
    NeverAnswer,
    /// No length: the body ends where the connection does. On HTTP/2 there is no such thing.
    CloseDelimited,
    /// A range is answered with 200 and everything.
    IgnoreRange,
    /// A 206 whose Content-Range says one byte further on than its body is.
    WrongContentRange,
    /// Another ETag than before; on a range a 206 that disregards If-Range.
    ChangedEtag,
    /// Another body in this coding (none: as it is), without validators.
    Body(Bytes, Option<&'static str>),
    /// `Content-Encoding: gzip` over bytes that are not gzip.
    GarbageGzip,
    /// The body, and then zeros until it has so many bytes; its length is not announced.
    Oversized(usize),
    /// So many bytes, a pause, so many bytes, a pause.
    Drip(usize, Duration),
    /// 302 to this address.
    Redirect(String),
    /// Both at once: wrong bytes that stall, say. At most one of them may concern how the answer travels.
    Both(Box<Fault>, Box<Fault>),
}

impl Fault {
    /// Changes what is looked up.
    pub(crate) fn ask(&self, asked: &mut Asked) {
        match self {
            Self::OtherPackument(name) => asked.route = Route::Packument(name.clone()),
            Self::IgnoreRange => drop(asked.headers.remove(header::RANGE)),
            Self::ChangedEtag => drop(asked.headers.remove(header::IF_RANGE)),
            Self::Both(one, other) => {
                one.ask(asked);
                other.ask(asked);
            }
            _ => {}
        }
    }

    /// Changes what was found.
    pub(crate) fn spoil(&self, answer: &mut Answer) {
        match self {
            Self::Status(code) => *answer = Answer::empty(status(*code)),
            Self::RetryAfter(code, seconds) => {
                *answer = Answer::empty(status(*code));
                answer.set(header::RETRY_AFTER, &seconds.to_string());
            }
            Self::Redirect(target) => {
                *answer = Answer::empty(StatusCode::FOUND);
                answer.set(header::LOCATION, target);
            }
            Self::Short(bytes) => answer.body.truncate(*bytes),
            Self::TruncatedPackument => halve(answer),
            Self::Corrupt => answer.body = flipped(&answer.body, answer.body.len() / 2),
            Self::CorruptAt(place) => answer.body = flipped(&answer.body, *place),
            Self::OtherTarball => answer.body = other_tarball(),
            Self::ChangedEtag => answer.set(header::ETAG, "\"changed-meanwhile\""),
            Self::WrongContentRange => shift_range(&mut answer.headers),
            Self::Body(body, coding) => replace(answer, body, *coding),
            Self::GarbageGzip => {
                answer.set(header::CONTENT_ENCODING, "gzip");
                answer.body = Bytes::from_static(b"this was never compressed");
            }
            Self::Both(one, other) => {
                one.spoil(answer);
                other.spoil(answer);
            }
            _ => {}
        }
    }

    /// How the answer travels.
    pub(crate) fn course(&self) -> Course {
        match self {
            Self::CutAfter(bytes) => Course::Abort { after: *bytes, framing: Framing::Length },
            Self::ChunkedAbort(bytes) => Course::Abort { after: *bytes, framing: Framing::Chunks },
            Self::CloseDelimited => Course::Abort { after: usize::MAX, framing: Framing::Close },
            Self::Reset => Course::Reset,
            Self::NeverAnswer => Course::Never,
            Self::Delay(time) => Course::Late(*time),
            Self::StallAfter(bytes) => Course::Stall { after: *bytes },
            Self::Oversized(bytes) => Course::Padded { total: *bytes },
            Self::Drip(bytes, pause) => Course::Drip { bytes: *bytes, pause: *pause },
            Self::Both(one, other) => match one.course() {
                Course::Whole => other.course(),
                course => course,
            },
            _ => Course::Whole,
        }
    }
}

/// Which requests a fault befalls.
#[derive(Debug, Clone)]
pub enum Matcher {
    /// Every request.
    Everything,
    /// Every packument.
    Packuments,
    /// Every tarball.
    Tarballs,
    /// This path, however the scope's slash is written; the query does not matter.
    Path(String),
    /// Whatever belongs to this package.
    Package(String),
}

impl Matcher {
    /// Exactly this path.
    pub fn path(path: &str) -> Self {
        Self::Path(path.to_owned())
    }

    /// Packument, manifests, tarballs and attestations of this package.
    pub fn package(name: &str) -> Self {
        Self::Package(name.to_owned())
    }

    fn matches(&self, asked: &Asked) -> bool {
        match self {
            Self::Everything => true,
            Self::Packuments => matches!(asked.route, Route::Packument(_)),
            Self::Tarballs => matches!(asked.route, Route::Tarball { .. }),
            Self::Path(path) => decoded(path) == decoded(&asked.path),
            Self::Package(name) => asked.route.package() == Some(name),
        }
    }
}

/// How often a fault happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// To the next so many requests.
    Next(u32),
    /// Until the faults are cleared.
    Always,
}

impl From<u32> for Times {
    fn from(times: u32) -> Self {
        Self::Next(times)
    }
}

/// The faults that are still to happen, in the order in which they were asked for.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<(Matcher, Times, Fault)>);

impl Faults {
    pub(crate) fn add(&mut self, matcher: Matcher, times: Times, fault: Fault) {
        self.0.push((matcher, times, fault));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault that befalls this request: one at most, the oldest that is not used up.
    pub(crate) fn take(&mut self, asked: &Asked) -> Option<Fault> {
        let due =
            self.0.iter_mut().find(|(matcher, times, _)| *times != Times::Next(0) && matcher.matches(asked));
        let (_, times, fault) = due?;
        if let Times::Next(left) = times {
            *left -= 1;
        }
        Some(fault.clone())
    }
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).expect("a status has three digits")
}

fn replace(answer: &mut Answer, body: &Bytes, coding: Option<&str>) {
    *answer = Answer::of(StatusCode::OK, "application/json", body.clone());
    if let Some(coding) = coding {
        answer.set(header::CONTENT_ENCODING, coding);
    }
}

fn halve(answer: &mut Answer) {
    let half = answer.body.len() / 2;
    answer.body.truncate(half);
}

fn flipped(body: &[u8], place: usize) -> Bytes {
    let mut bytes = body.to_vec();
    if let Some(byte) = bytes.get_mut(place) {
        *byte ^= 0xff;
    }
    bytes.into()
}

fn other_tarball() -> Bytes {
    let other = Package::new("not-what-was-asked-for").version("6.6.6", |version| version);
    other.at("6.6.6").tarball.clone()
}

fn shift_range(headers: &mut HeaderMap) {
    let range = headers.get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok()).and_then(shifted);
    if let Some(range) = range {
        headers.insert(header::CONTENT_RANGE, range.parse().expect("digits"));
    }
}

fn shifted(range: &str) -> Option<String> {
    let (part, length) = range.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = part.split_once('-')?;
    Some(format!("bytes {}-{}/{length}", first.parse::<u64>().ok()? + 1, last.parse::<u64>().ok()? + 1))
}
