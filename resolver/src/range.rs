//! Byte ranges (RFC 9110, section 14): one range of a tarball, for clients that resume.

use core::ops::Range;

/// What a `Range` header asks of a body of known length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The whole: no range, several, or one that is not understood.
    Whole,
    /// These bytes, and 206.
    Part(Range<u64>),
    /// None of the bytes, and 416.
    Unsatisfiable,
}

/// Reads a `Range` header for a body of `length` bytes.
#[must_use]
pub fn wanted(range: Option<&str>, length: u64) -> Wanted {
    let Some(spec) = range.and_then(|range| range.trim().strip_prefix("bytes=")) else {
        return Wanted::Whole;
    };
    let Some((first, last)) = spec.split_once('-') else {
        return Wanted::Whole;
    };
    match (number(first), number(last)) {
        (Ok(Some(first)), Ok(_)) if first >= length => Wanted::Unsatisfiable,
        (Ok(Some(first)), Ok(None)) => Wanted::Part(first..length),
        (Ok(Some(first)), Ok(Some(last))) if last >= first => {
            Wanted::Part(first..last.saturating_add(1).min(length))
        }
        (Ok(None), Ok(Some(0))) => Wanted::Unsatisfiable,
        (Ok(None), Ok(Some(_))) if length == 0 => Wanted::Unsatisfiable,
        (Ok(None), Ok(Some(suffix))) => Wanted::Part(length.saturating_sub(suffix)..length),
        _ => Wanted::Whole,
    }
}

/// A number, nothing, or what is neither.
fn number(text: &str) -> Result<Option<u64>, ()> {
    match text.trim() {
        "" => Ok(None),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(Some(digits.parse().unwrap_or(u64::MAX)))
        }
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use proptest::prelude::*;

    #[test]
    fn a_resuming_client_gets_the_rest() {
        for (range, expected) in [
            (Some("bytes=4-"), Wanted::Part(4..10)),
            (Some("bytes=0-0"), Wanted::Part(0..1)),
            (Some("bytes=2-99"), Wanted::Part(2..10)),
            (Some("bytes=-3"), Wanted::Part(7..10)),
            (Some("bytes=-99"), Wanted::Part(0..10)),
            (Some("bytes=10-"), Wanted::Unsatisfiable),
            (Some("bytes=-0"), Wanted::Unsatisfiable),
            (Some("bytes=99999999999999999999-"), Wanted::Unsatisfiable),
            (Some("bytes=5-4"), Wanted::Whole),
            (Some("bytes=0-1,3-4"), Wanted::Whole),
            (Some("items=0-1"), Wanted::Whole),
            (Some("bytes=a-b"), Wanted::Whole),
            (None, Wanted::Whole),
        ] {
            assert_eq!(wanted(range, 10), expected, "{range:?}");
        }
    }

    proptest! {
        #[test]
        fn a_part_is_never_empty_and_never_outside(range: String, first: u64, last: u64, length: u64) {
            let spelled = alloc::format!("bytes={first}-{last}");
            for header in [range.as_str(), &spelled] {
                if let Wanted::Part(part) = wanted(Some(header), length) {
                    prop_assert!(part.start < part.end && part.end <= length);
                }
            }
        }
    }
}
