//! As much of protobuf's wire format as dag-pb and UnixFS need.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding/>. Reading is stricter: a number has one spelling, so that the
//! same node has one CID.

use alloc::vec::Vec;

use super::Malformed;

/// Wire type: a number.
const VARINT: u64 = 0;
/// Wire type: octets.
const OCTETS: u64 = 2;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Number(u64),
    Octets(&'a [u8]),
}

/// Reads one message, field by field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    /// The next field: its number and what it holds; `None` at the end.
    pub(super) fn field(&mut self) -> Result<Option<(u64, Value<'a>)>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.number()?;
        let value = match key & 7 {
            VARINT => Value::Number(self.number()?),
            OCTETS => Value::Octets(self.octets()?),
            _ => return Err(Malformed::Protobuf),
        };
        Ok(Some((key >> 3, value)))
    }

    fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (octet, rest) = self.0.split_first().ok_or(Malformed::Protobuf)?;
            self.0 = rest;
            let bits = u64::from(octet & 0x7f);
            if shift == 63 && bits > 1 || shift > 0 && *octet == 0 {
                return Err(Malformed::Protobuf);
            }
            number |= bits << shift;
            if octet & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Malformed::Protobuf)
    }

    fn octets(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.number()?).map_err(|_| Malformed::Protobuf)?;
        let (octets, rest) = self.0.split_at_checked(length).ok_or(Malformed::Protobuf)?;
        self.0 = rest;
        Ok(octets)
    }
}

/// Appends a field that holds a number.
pub(super) fn put_number(message: &mut Vec<u8>, field: u64, number: u64) {
    put_varint(message, field << 3 | VARINT);
    put_varint(message, number);
}

/// Appends a field that holds octets.
pub(super) fn put_octets(message: &mut Vec<u8>, field: u64, octets: &[u8]) {
    put_length(message, field, octets.len());
    message.extend_from_slice(octets);
}

/// Appends what stands before the octets of a field: they follow.
pub(super) fn put_length(message: &mut Vec<u8>, field: u64, length: usize) {
    put_varint(message, field << 3 | OCTETS);
    put_varint(message, length as u64);
}

fn put_varint(message: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        message.push(0x80 | (number & 0x7f).to_le_bytes()[0]);
        number >>= 7;
    }
    message.push(number.to_le_bytes()[0]);
}

/// How many octets a number takes.
pub(super) fn varint_length(number: u64) -> u64 {
    u64::from(64 - (number | 1).leading_zeros()).div_ceil(7)
}

/// How many octets a field takes whose number is below 16 and that holds so many.
pub(super) fn field_length(octets: u64) -> u64 {
    1 + varint_length(octets) + octets
}
