//! A head as DNS tells it: texts of the zone, beside its addresses.
//!
//! ```text
//! <zone>           TXT  "registry-hash=<cid>"                        for people, and programs that only want to know
//! <zone>           TXT  "registry-record=" "<base64 of the record>"  for followers: this one is signed
//! _dnslink.<zone>  TXT  "dnslink=/ipfs/<cid>"                        for IPFS clients (https://dnslink.dev)
//! ```
//!
//! Followers believe the record alone. The link names the root and not the name of whoever signs it: who resolves a link trusts DNS
//! already, and a name could be resolved by those only whom we have told where our records are.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Checked, LONGEST, Root};

/// What the texts begin with.
const HASH: &[u8] = b"registry-hash=";
const RECORD: &[u8] = b"registry-record=";
const LINK: &[u8] = b"dnslink=";
/// The name below the zone where the link is.
pub const LINK_LABEL: &str = "_dnslink";
/// The longest piece of a text (RFC 1035, section 3.3.14: a character string has one octet for its length).
pub const LONGEST_STRING: usize = 255;
/// The longest text that is read: a record of the longest, in base64.
const LONGEST_TEXT: usize = RECORD.len() + LONGEST.div_ceil(3) * 4;
/// The most texts of one name that are looked at: the two that are written, and what others put beside them
/// (mail servers, proofs of ownership).
const MOST_TEXTS: usize = 64;
/// The most records among them: whoever can change the answer can add some, and each costs a signature.
const MOST_RECORDS: usize = 4;

/// How long an answer with these texts may be kept at most, in seconds: as long as followers wait between two questions.
pub const LONGEST_TTL: u32 = 60;

/// A text: the strings that it consists of.
pub type Text = Vec<Vec<u8>>;

/// What the texts of a zone tell of its head. Nothing of it is verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// The root, for want of a record.
    pub root: Option<Root>,
    /// The bytes of records.
    pub records: Vec<Vec<u8>>,
}

/// Why texts tell nothing of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTold {
    /// There are none that begin like ours.
    #[error("there is no text \"registry-record=\" or \"registry-hash=\"")]
    Nothing,
    /// One of ours is damaged.
    #[error("the text {0:?} is damaged")]
    Damaged(&'static str),
    /// There are too many of ours, or they say different things.
    #[error("there are too many texts {0:?}")]
    TooMany(&'static str),
}

/// The texts of the zone's own name.
#[must_use]
pub fn texts(head: &Checked) -> [Text; 2] {
    let record = STANDARD.encode(head.record());
    [text(&[HASH, format!("{}", head.head().root).as_bytes()]), text(&[RECORD, record.as_bytes()])]
}

/// The text of `_dnslink`.
#[must_use]
pub fn link(root: &Root) -> Text {
    text(&[LINK, format!("/ipfs/{root}").as_bytes()])
}

/// Reads the texts of a zone's own name; each comes as the strings that it consists of.
///
/// # Errors
/// [`NotTold`]; what is damaged hides nothing: it may be an attacker's, and the next answer another's.
pub fn read<'a, S>(texts: impl IntoIterator<Item = S>) -> Result<Told, NotTold>
where
    S: IntoIterator<Item = &'a [u8]>,
{
    let (mut told, mut wrong) = (Told::default(), NotTold::Nothing);
    for text in texts.into_iter().take(MOST_TEXTS) {
        let Some(text) = joined(text) else { continue };
        let taken = if let Some(cid) = text.strip_prefix(HASH) {
            take_root(&mut told, cid)
        } else if let Some(base64) = text.strip_prefix(RECORD) {
            take_record(&mut told, base64)
        } else {
            Ok(())
        };
        if let Err(error) = taken {
            wrong = error;
        }
    }
    if told.root.is_none() && told.records.is_empty() { Err(wrong) } else { Ok(told) }
}

/// Reads the text of `_dnslink`, as others than followers do.
#[must_use]
pub fn read_link<'a>(strings: impl IntoIterator<Item = &'a [u8]>) -> Option<Root> {
    let text = joined(strings)?;
    let path = core::str::from_utf8(text.strip_prefix(LINK)?).ok()?;
    path.strip_prefix("/ipfs/")?.parse().ok()
}

fn text(parts: &[&[u8]]) -> Text {
    parts.concat().chunks(LONGEST_STRING).map(<[u8]>::to_vec).collect()
}

/// The strings of a text make one, without anything between them.
fn joined<'a>(strings: impl IntoIterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    for string in strings {
        if text.len() + string.len() > LONGEST_TEXT {
            return None;
        }
        text.extend_from_slice(string);
    }
    Some(text)
}

fn take_root(told: &mut Told, cid: &[u8]) -> Result<(), NotTold> {
    let name = "registry-hash=";
    let root =
        core::str::from_utf8(cid).ok().and_then(|cid| cid.parse().ok()).ok_or(NotTold::Damaged(name))?;
    match told.root {
        Some(other) if other != root => Err(NotTold::TooMany(name)),
        _ => {
            told.root = Some(root);
            Ok(())
        }
    }
}

fn take_record(told: &mut Told, base64: &[u8]) -> Result<(), NotTold> {
    let name = "registry-record=";
    let record = STANDARD.decode(base64).map_err(|_| NotTold::Damaged(name))?;
    if record.len() > LONGEST || record.is_empty() {
        return Err(NotTold::Damaged(name));
    }
    if told.records.contains(&record) {
        return Ok(());
    }
    if told.records.len() >= MOST_RECORDS {
        return Err(NotTold::TooMany(name));
    }
    told.records.push(record);
    Ok(())
}

/// The name of [`link`] below a zone.
#[must_use]
pub fn link_name(zone: &str) -> String {
    format!("{LINK_LABEL}.{zone}")
}
