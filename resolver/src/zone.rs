//! The zone that is answered for, and where in it a name lies.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::head::dns::LINK_LABEL;

/// The longest name in text form (RFC 1035, section 2.3.4), with room for the longest label put before it.
const LONGEST: usize = 253 - (LINK_LABEL.len() + 1);
const LONGEST_LABEL: usize = 63;
/// The name in the zone that always means the gateway that answers.
const DIRECT: &str = "direct";

/// The name of a zone: lower case, without a dot at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Zone(String);

/// Where a name lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location {
    /// The zone's own name: what clients ask for.
    Apex,
    /// `direct.<zone>`: the gateway that answers, whatever clients are steered to.
    Direct,
    /// `_dnslink.<zone>`: where IPFS clients learn what the index is.
    Link,
    /// In the zone, and nothing is there.
    Nowhere,
    /// Not in the zone.
    Outside,
}

/// A text that cannot be a zone's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a host name; write it like \"registry.example.com\"")]
pub struct NotAZone(String);

impl Zone {
    /// `registry.example.com`
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `direct.registry.example.com`
    #[must_use]
    pub fn direct(&self) -> String {
        alloc::format!("{DIRECT}.{self}")
    }

    /// Where the name with these labels lies, its first label first. Capitals do not count (RFC 4343).
    pub fn locate<'a>(&self, labels: impl DoubleEndedIterator<Item = &'a [u8]>) -> Location {
        let mut labels = labels.rev();
        for own in self.0.rsplit('.') {
            if !labels.next().is_some_and(|label| label.eq_ignore_ascii_case(own.as_bytes())) {
                return Location::Outside;
            }
        }
        match (labels.next(), labels.next()) {
            (None, _) => Location::Apex,
            (Some(label), None) if label.eq_ignore_ascii_case(DIRECT.as_bytes()) => Location::Direct,
            (Some(label), None) if label.eq_ignore_ascii_case(LINK_LABEL.as_bytes()) => Location::Link,
            _ => Location::Nowhere,
        }
    }
}

impl FromStr for Zone {
    type Err = NotAZone;

    fn from_str(text: &str) -> Result<Self, NotAZone> {
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.len() <= LONGEST && name.split('.').all(is_label) {
            Ok(Self(name.to_ascii_lowercase()))
        } else {
            Err(NotAZone(text.to_owned()))
        }
    }
}

impl TryFrom<String> for Zone {
    type Error = NotAZone;

    fn try_from(text: String) -> Result<Self, NotAZone> {
        text.parse()
    }
}

impl From<Zone> for String {
    fn from(zone: Zone) -> Self {
        zone.0
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Letters, digits and inner hyphens (RFC 1123, section 2.1).
fn is_label(label: &str) -> bool {
    let fits = (1..=LONGEST_LABEL).contains(&label.len());
    let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    fits && plain && !label.starts_with('-') && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn locate(name: &str) -> Location {
        let zone: Zone = "registry.Example.com.".parse().unwrap();
        zone.locate(name.split('.').filter(|label| !label.is_empty()).map(str::as_bytes))
    }

    #[test]
    fn a_name_lies_in_the_zone_label_by_label() {
        assert_eq!(locate("registry.example.com"), Location::Apex);
        assert_eq!(locate("REGISTRY.eXample.com"), Location::Apex);
        assert_eq!(locate("direct.registry.example.com"), Location::Direct);
        assert_eq!(locate("Direct.registry.example.com"), Location::Direct);
        assert_eq!(locate("_DNSLink.registry.example.com"), Location::Link);
        assert_eq!(locate("www.registry.example.com"), Location::Nowhere);
        assert_eq!(locate("_dnslink.direct.registry.example.com"), Location::Nowhere);
        assert_eq!(locate("direct.direct.registry.example.com"), Location::Nowhere);
        for outside in ["example.com", "xregistry.example.com", "registry.example.com.evil", "", "com"] {
            assert_eq!(locate(outside), Location::Outside, "{outside:?}");
        }
    }

    #[test]
    fn a_zone_is_a_host_name_in_lower_case() {
        assert_eq!("Registry.Example.COM.".parse::<Zone>().unwrap().to_string(), "registry.example.com");
        assert_eq!("lan".parse::<Zone>().unwrap().direct(), "direct.lan");
        let long = ["a"; 127].join(".");
        for refused in ["", ".", "a..b", "-a.b", "a-.b", "a b", "a_b.c", "registry.example.com:53", &long] {
            assert!(refused.parse::<Zone>().is_err(), "{refused:?}");
        }
    }
}
