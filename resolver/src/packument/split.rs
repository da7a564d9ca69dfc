//! A JSON document cut, while it arrives, into the members of its root object and of one object in it.
//!
//! Only whole values leave: a value that lies within one chunk is lent from there, one that does not is gathered first.
//! So a document of 40 MB takes the memory of its largest manifest. What stands between the values is checked here;
//! each value has yet to be parsed by whoever takes it, and is valid or not by that.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use memchr::memchr2;

/// The longest single value that is gathered: the longest manifests have some hundred KB, the longest READMEs a few MB.
const LONGEST: usize = 16 * 1024 * 1024;
/// How deep values nest at most: `serde_json`'s own limit, and more than any client's parser needs.
const DEEPEST: u32 = 128;

/// Where a member stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Root,
    Inside,
}

/// One member, its value as it is spelled.
pub(super) struct Member<'a> {
    pub(super) level: Level,
    pub(super) key: &'a str,
    pub(super) value: &'a str,
    /// Where in the document the value begins.
    pub(super) at: usize,
}

/// Why a document is no JSON object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    Unexpected(usize),
    NotUtf8(usize),
    TooDeep(usize),
    TooLong(usize),
    Twice(usize),
    Cut,
}

/// The cut in progress.
pub(super) struct Splitter {
    /// The member of the root whose own members are wanted.
    inside: &'static str,
    has_been_inside: bool,
    level: Level,
    state: State,
    key: String,
    /// Where the value or the key that is being read begins.
    start: usize,
    gathered: Vec<u8>,
    depth: u32,
    quoted: bool,
    escaped: bool,
    /// The length of the chunks before this one.
    at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Begin,
    KeyOrEnd,
    NextKey,
    Key,
    Colon,
    BeforeValue,
    Value(Kind),
    CommaOrEnd,
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Composite,
    Text,
    Scalar,
}

impl Splitter {
    pub(super) fn new(inside: &'static str) -> Self {
        Self {
            inside,
            has_been_inside: false,
            level: Level::Root,
            state: State::Begin,
            key: String::new(),
            start: 0,
            gathered: Vec::new(),
            depth: 0,
            quoted: false,
            escaped: false,
            at: 0,
        }
    }

    /// Cuts the next chunk; `take` gets each member as soon as its last byte is there.
    pub(super) fn feed<E: From<Flaw>>(
        &mut self,
        chunk: &[u8],
        take: &mut impl FnMut(Member<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut next = 0;
        while next < chunk.len() {
            next = match self.state {
                State::Key => self.read_key(chunk, next)?,
                State::Value(kind) => self.read_value(chunk, next, kind, take)?,
                _ if matches!(chunk[next], b' ' | b'\t' | b'\r' | b'\n') => next + 1,
                _ => self.step(chunk[next], next)?,
            };
        }
        self.at += chunk.len();
        Ok(())
    }

    /// The length of the whole document.
    pub(super) fn finish(self) -> Result<usize, Flaw> {
        if self.state == State::End { Ok(self.at) } else { Err(Flaw::Cut) }
    }

    /// One byte between keys and values; says where to go on.
    fn step(&mut self, byte: u8, next: usize) -> Result<usize, Flaw> {
        self.state = match (self.state, byte) {
            (State::Begin, b'{') => State::KeyOrEnd,
            (State::KeyOrEnd | State::NextKey, b'"') => {
                self.start = self.at + next;
                self.state = State::Key;
                return Ok(next);
            }
            (State::Colon, b':') => State::BeforeValue,
            (State::CommaOrEnd, b',') => State::NextKey,
            (State::KeyOrEnd | State::CommaOrEnd, b'}') => self.leave(),
            (State::BeforeValue, b'{') if self.is_inside() => self.enter(next)?,
            (State::BeforeValue, byte) => {
                self.start = self.at + next;
                self.state = State::Value(match byte {
                    b'{' | b'[' => Kind::Composite,
                    b'"' => Kind::Text,
                    _ => Kind::Scalar,
                });
                return Ok(next);
            }
            _ => return Err(Flaw::Unexpected(self.at + next)),
        };
        Ok(next + 1)
    }

    fn is_inside(&self) -> bool {
        self.level == Level::Root && self.key == self.inside
    }

    fn enter(&mut self, next: usize) -> Result<State, Flaw> {
        if core::mem::replace(&mut self.has_been_inside, true) {
            return Err(Flaw::Twice(self.at + next));
        }
        self.level = Level::Inside;
        Ok(State::KeyOrEnd)
    }

    fn leave(&mut self) -> State {
        match self.level {
            Level::Inside => {
                self.level = Level::Root;
                State::CommaOrEnd
            }
            Level::Root => State::End,
        }
    }

    fn read_key(&mut self, chunk: &[u8], from: usize) -> Result<usize, Flaw> {
        let Some(end) = self.end(chunk, from, Kind::Text)? else {
            self.gather(&chunk[from..])?;
            return Ok(chunk.len());
        };
        let spelled = whole(&mut self.gathered, &chunk[from..end]);
        self.key = text(spelled, self.start)
            .and_then(|text| serde_json::from_str(text).map_err(|_| Flaw::Unexpected(self.start)))?;
        self.gathered.clear();
        self.state = State::Colon;
        Ok(end)
    }

    fn read_value<E: From<Flaw>>(
        &mut self,
        chunk: &[u8],
        from: usize,
        kind: Kind,
        take: &mut impl FnMut(Member<'_>) -> Result<(), E>,
    ) -> Result<usize, E> {
        let Some(end) = self.end(chunk, from, kind)? else {
            self.gather(&chunk[from..])?;
            return Ok(chunk.len());
        };
        let value = text(whole(&mut self.gathered, &chunk[from..end]), self.start)?;
        take(Member { level: self.level, key: &self.key, value, at: self.start })?;
        // One long value does not take its memory for as long as the document comes.
        self.gathered.clear();
        self.gathered.shrink_to(64 * 1024);
        self.state = State::CommaOrEnd;
        Ok(end)
    }

    fn gather(&mut self, part: &[u8]) -> Result<(), Flaw> {
        if self.gathered.len() + part.len() > LONGEST {
            return Err(Flaw::TooLong(self.start));
        }
        self.gathered.extend_from_slice(part);
        Ok(())
    }

    /// Where the value that is being read ends in `chunk`; `None`: not within it.
    fn end(&mut self, chunk: &[u8], from: usize, kind: Kind) -> Result<Option<usize>, Flaw> {
        match kind {
            Kind::Scalar => Ok(scalar_end(chunk, from)),
            Kind::Text | Kind::Composite => self.bracket_end(chunk, from),
        }
    }

    /// The end of a string, an object or an array: where neither a quote nor a bracket is open any more.
    fn bracket_end(&mut self, chunk: &[u8], from: usize) -> Result<Option<usize>, Flaw> {
        let mut next = from;
        while next < chunk.len() {
            if self.quoted {
                let Some(closed) = self.string_end(chunk, next) else { return Ok(None) };
                next = closed;
            } else {
                match chunk[next] {
                    b'"' => self.quoted = true,
                    b'{' | b'[' if self.depth == DEEPEST => return Err(Flaw::TooDeep(self.at + next)),
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => self.depth -= 1,
                    _ => {}
                }
                next += 1;
            }
            if self.depth == 0 && !self.quoted {
                return Ok(Some(next));
            }
        }
        Ok(None)
    }

    /// The position behind the quote that ends the open string; `None`: not within this chunk.
    fn string_end(&mut self, chunk: &[u8], from: usize) -> Option<usize> {
        let mut next = from + usize::from(core::mem::take(&mut self.escaped));
        loop {
            next += memchr2(b'"', b'\\', chunk.get(next..)?)?;
            if chunk[next] == b'"' {
                self.quoted = false;
                return Some(next + 1);
            }
            next += 2;
            self.escaped = next > chunk.len();
        }
    }
}

fn scalar_end(chunk: &[u8], from: usize) -> Option<usize> {
    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n');
    chunk[from..].iter().position(ends).map(|length| from + length)
}

/// The value in one piece.
fn whole<'a>(gathered: &'a mut Vec<u8>, last: &'a [u8]) -> &'a [u8] {
    if gathered.is_empty() {
        return last;
    }
    gathered.extend_from_slice(last);
    gathered
}

fn text(value: &[u8], at: usize) -> Result<&str, Flaw> {
    core::str::from_utf8(value).map_err(|error| Flaw::NotUtf8(at + error.valid_up_to()))
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unexpected(at) => write!(f, "no JSON at byte {at}"),
            Self::NotUtf8(at) => write!(f, "no UTF-8 at byte {at}"),
            Self::TooDeep(at) => write!(f, "more than {DEEPEST} levels at byte {at}"),
            Self::TooLong(at) => write!(f, "a value of more than {} MiB at byte {at}", LONGEST >> 20),
            Self::Twice(at) => write!(f, "the same member once more at byte {at}"),
            Self::Cut => f.write_str("it ends too early"),
        }
    }
}
