//! The units a configuration is written in: sizes, periods, and values that may be left empty.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A number of bytes, written `"16MiB"` or as a plain integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

/// A length of time, written `"5m"` or `"1h 30m"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period(pub Duration);

/// A text that is not a [`Size`] or not a [`Period`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {wanted}")]
pub struct NotAUnit {
    text: String,
    wanted: &'static str,
}

const A_SIZE: &str = "a size: a number of bytes, or a number and a unit such as KiB, MB or GiB";
const A_PERIOD: &str = "a period: a number and a unit such as s, m, h or days";

const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl Size {
    /// The number of bytes.
    #[must_use]
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl Period {
    /// The same length of time, for the clock.
    #[must_use]
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Size {
    type Err = NotAUnit;

    fn from_str(text: &str) -> Result<Self, NotAUnit> {
        match text.parse::<ByteSize>() {
            Ok(size) => Ok(Self(size.as_u64())),
            Err(_) => Err(NotAUnit { text: text.to_owned(), wanted: A_SIZE }),
        }
    }
}

impl FromStr for Period {
    type Err = NotAUnit;

    fn from_str(text: &str) -> Result<Self, NotAUnit> {
        match humantime::parse_duration(text) {
            Ok(duration) => Ok(Self(duration)),
            Err(_) => Err(NotAUnit { text: text.to_owned(), wanted: A_PERIOD }),
        }
    }
}

/// The largest unit that loses nothing, so that the text parses to the same size again.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(PeriodVisitor)
    }
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(A_SIZE)
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
        Ok(Size(bytes))
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
        let negative = |_| E::invalid_value(de::Unexpected::Signed(bytes), &self);
        u64::try_from(bytes).map(Size).map_err(negative)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
        text.parse().map_err(E::custom)
    }
}

struct PeriodVisitor;

impl Visitor<'_> for PeriodVisitor {
    type Value = Period;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(A_PERIOD)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Period, E> {
        text.parse().map_err(E::custom)
    }
}

/// Reads `""` as "not set", and anything else as the type itself reads it.
///
/// # Errors
/// When the text is neither empty nor what the type reads.
pub fn unset_when_empty<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error| de::Error::custom(format!("{text:?}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_written_with_a_unit_or_as_bytes() {
        assert_eq!("16MiB".parse(), Ok(Size(16 << 20)));
        assert_eq!("1.5 KiB".parse(), Ok(Size(1536)));
        assert_eq!("4096".parse(), Ok(Size(4096)));
        assert_eq!(serde_json::from_str::<Size>("4096").unwrap(), Size(4096));
    }

    #[test]
    fn a_printed_size_parses_to_the_same_size() {
        for bytes in [0, 1, 1023, 1024, 1500, 16 << 20, (1 << 30) + 1, 3 << 40, u64::MAX] {
            assert_eq!(Size(bytes).to_string().parse(), Ok(Size(bytes)));
        }
        assert_eq!(Size(16 << 20).to_string(), "16MiB");
    }

    #[test]
    fn a_printed_period_parses_to_the_same_period() {
        for seconds in [0, 1, 300, 5400, 86_400 * 365] {
            let period = Period(Duration::from_secs(seconds));
            assert_eq!(period.to_string().parse(), Ok(period));
        }
        assert_eq!(Period(Duration::from_secs(300)).to_string(), "5m");
    }

    #[test]
    fn what_is_no_unit_is_refused_with_what_was_wanted() {
        let size = "lots".parse::<Size>().unwrap_err().to_string();
        assert!(size.starts_with("\"lots\" is not a size"), "{size}");
        let period = "5".parse::<Period>().unwrap_err().to_string();
        assert!(period.starts_with("\"5\" is not a period"), "{period}");
        assert!(serde_json::from_str::<Size>("-1").is_err());
    }

    #[test]
    fn empty_means_not_set() {
        #[derive(Deserialize)]
        struct Section {
            #[serde(deserialize_with = "unset_when_empty")]
            listen: Option<std::net::SocketAddr>,
        }
        let read = |text| serde_json::from_str::<Section>(text).map(|section| section.listen);
        assert_eq!(read(r#"{"listen": ""}"#).unwrap(), None);
        assert_eq!(read(r#"{"listen": "127.0.0.1:1"}"#).unwrap(), Some(([127, 0, 0, 1], 1).into()));
        let refused = read(r#"{"listen": "here"}"#).unwrap_err().to_string();
        assert!(refused.contains("\"here\""), "{refused}");
    }
}
