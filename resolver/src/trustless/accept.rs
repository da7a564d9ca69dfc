//! What the `Accept` of a request says (RFC 9110, section 12.5.1).

use super::{Format, Refused, query};

/// The most that are read of its entries. Browsers send some ten.
const MOST: usize = 32;
/// The weight of an entry that has none, in thousandths.
const WHOLE: u16 = 1000;

/// The format that is wanted most of those that there are; of several that are wanted as much, the first.
pub(super) fn format(accept: &str) -> Result<Format, Refused> {
    let mut best: Option<(u16, Format)> = None;
    for entry in accept.split(',').take(MOST) {
        if let Some((weight, format)) = entry_of(entry).filter(|(weight, _)| *weight > 0)
            && best.is_none_or(|(most, _)| weight > most)
        {
            best = Some((weight, format));
        }
    }
    match best {
        Some((_, format)) => Ok(format),
        None if accept.split(',').all(is_anything) => Err(Refused::Unsaid),
        None => Err(Refused::NotAcceptable),
    }
}

/// What it says on duplicates, where the format comes from elsewhere.
pub(super) fn duplicates(accept: &str) -> Option<bool> {
    match format(accept) {
        Ok(Format::Car(said)) => said,
        _ => None,
    }
}

/// An entry that asks for nothing in particular.
fn is_anything(entry: &str) -> bool {
    matches!(entry.split(';').next().map(str::trim), Some("" | "*/*" | "application/*"))
}

/// A format that there is, and how much it is wanted; `None` for anything else.
fn entry_of(entry: &str) -> Option<(u16, Format)> {
    let mut parts = entry.split(';').map(str::trim);
    let name = parts.next()?;
    let kind = [
        ("application/vnd.ipld.raw", Format::Raw),
        ("application/vnd.ipld.car", Format::Car(None)),
        ("application/vnd.ipfs.ipns-record", Format::Record),
    ];
    let (_, mut format) = kind.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?;
    let mut weight = WHOLE;
    for part in parts {
        let (name, value) = part.split_once('=')?;
        let value = value.trim().trim_matches('"');
        match name.trim() {
            "q" | "Q" => weight = weight_of(value)?,
            // A CAR that we could not make is one that there is not.
            "version" if value != "1" => return None,
            "order" => query::order(value).ok()?,
            "dups" if matches!(format, Format::Car(_)) => {
                format = Format::Car(Some(query::duplicates(value).ok()?));
            }
            _ => {}
        }
    }
    Some((weight, format))
}

/// `0` to `1`, with three digits behind the point at most, in thousandths.
fn weight_of(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let missing = 3 - fraction.len();
    let thousandths = fraction.bytes().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    let thousandths = (0..missing).fold(thousandths, |sum, _| sum * 10);
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(WHOLE),
        _ => None,
    }
}
