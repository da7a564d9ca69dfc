//! What stands behind the `?` of a request.

use alloc::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::{Bytes, Format, Refused, Scope};

/// The parameters that count. Others, as gateways for browsers have them (`filename`, `download`), are passed over.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub(super) format: Option<Format>,
    pub(super) scope: Option<Scope>,
    pub(super) bytes: Option<Bytes>,
    pub(super) duplicates: Option<bool>,
    version: Option<()>,
    order: Option<()>,
}

impl Query {
    pub(super) fn parse(query: &str) -> Result<Self, Refused> {
        let mut read = Self::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            // `+` is no space here: no value has either.
            let value = percent_decode_str(value).decode_utf8().unwrap_or(Cow::Borrowed("\u{fffd}"));
            read.take(name, &value)?;
        }
        Ok(read)
    }

    fn take(&mut self, name: &str, value: &str) -> Result<(), Refused> {
        match name {
            "format" => once(&mut self.format, format(value)?, "format"),
            "dag-scope" => once(&mut self.scope, scope(value)?, "dag-scope"),
            "entity-bytes" => once(&mut self.bytes, bytes(value)?, "entity-bytes"),
            "car-dups" => once(&mut self.duplicates, duplicates(value)?, "car-dups"),
            "car-version" => once(&mut self.version, only("1", value)?, "car-version"),
            "car-order" => once(&mut self.order, order(value)?, "car-order"),
            _ => Ok(()),
        }
    }
}

/// Two values for one parameter are none: another reader could take the other.
fn once<T>(place: &mut Option<T>, value: T, name: &'static str) -> Result<(), Refused> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Refused::Parameter(name)),
    }
}

fn format(value: &str) -> Result<Format, Refused> {
    match value {
        "raw" => Ok(Format::Raw),
        "car" => Ok(Format::Car(None)),
        "ipns-record" => Ok(Format::Record),
        _ => Err(Refused::NotAcceptable),
    }
}

fn scope(value: &str) -> Result<Scope, Refused> {
    let known = [Scope::Block, Scope::Entity, Scope::All].into_iter().find(|scope| scope.name() == value);
    known.ok_or(Refused::Parameter("dag-scope"))
}

pub(super) fn duplicates(value: &str) -> Result<bool, Refused> {
    match value {
        "y" => Ok(true),
        "n" => Ok(false),
        _ => Err(Refused::Parameter("car-dups")),
    }
}

/// Depth first, or whichever: then it is depth first too.
pub(super) fn order(value: &str) -> Result<(), Refused> {
    if matches!(value, "dfs" | "unk") { Ok(()) } else { Err(Refused::NotAcceptable) }
}

fn only(known: &str, value: &str) -> Result<(), Refused> {
    if value == known { Ok(()) } else { Err(Refused::NotAcceptable) }
}

/// `from:to`, whole numbers; `*` for the end.
fn bytes(value: &str) -> Result<Bytes, Refused> {
    let refused = || Refused::Parameter("entity-bytes");
    let (from, to) = value.split_once(':').ok_or_else(refused)?;
    let from = number(from).ok_or_else(refused)?;
    let to = if to == "*" { None } else { Some(number(to).ok_or_else(refused)?) };
    // Where both count from the same end, it can be seen that there is nothing between.
    let backwards = to.is_some_and(|to| (from < 0) == (to < 0) && to < from);
    if backwards { Err(refused()) } else { Ok(Bytes { from, to }) }
}

/// Digits, with a minus before them if need be; `-0` is none.
fn number(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| is_plain && (*number != 0 || digits.len() == text.len()))
}
