//! What a record travels in: the protobuf `IpnsEntry`
//! ([encoding](https://protobuf.dev/programming-guides/encoding/)).

use alloc::vec::Vec;

use unsigned_varint::{decode, encode};

use super::NotARecord;
use super::data::Data;

/// Wire types of protobuf: a number, eight bytes, so many bytes, four bytes. Groups are no longer in use.
const NUMBER: u64 = 0;
const EIGHT: u64 = 1;
const BYTES: u64 = 2;
const FOUR: u64 = 5;
/// The fields that count.
const KEY: u64 = 7;
const SIGNATURE: u64 = 8;
const DATA: u64 = 9;

/// The fields of an `IpnsEntry`.
#[derive(Default)]
pub(super) struct Envelope<'a> {
    pub(super) legacy: Legacy<'a>,
    pub(super) key: Option<&'a [u8]>,
    pub(super) signature: Option<&'a [u8]>,
    pub(super) data: Option<&'a [u8]>,
}

/// What records of before 2021 said outside of the signed document.
#[derive(Default)]
pub(super) struct Legacy<'a> {
    value: Option<&'a [u8]>,
    signature: Option<&'a [u8]>,
    validity_type: Option<u64>,
    validity: Option<&'a [u8]>,
    sequence: Option<u64>,
    ttl: Option<u64>,
}

/// What a field holds.
#[derive(Clone, Copy)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a type that no known field has.
    Other,
}

/// Writes the fields that count; the name has the key already.
pub(super) fn write(data: &[u8], signature: &[u8; 64]) -> Vec<u8> {
    let mut record = Vec::with_capacity(data.len() + signature.len() + 8);
    for (field, bytes) in [(SIGNATURE, &signature[..]), (DATA, data)] {
        record.extend_from_slice(encode::u64(field << 3 | BYTES, &mut encode::u64_buffer()));
        record.extend_from_slice(encode::usize(bytes.len(), &mut encode::usize_buffer()));
        record.extend_from_slice(bytes);
    }
    record
}

/// Reads the fields. What is not known is passed over; a known field stands there once, for two readers could take two different
/// ones for it.
pub(super) fn read(mut record: &[u8]) -> Result<Envelope<'_>, NotARecord> {
    let mut envelope = Envelope::default();
    while !record.is_empty() {
        let (field, value, rest) = field(record).ok_or(NotARecord::Envelope)?;
        let known = match field {
            1 => once_bytes(&mut envelope.legacy.value, value),
            2 => once_bytes(&mut envelope.legacy.signature, value),
            3 => once_number(&mut envelope.legacy.validity_type, value),
            4 => once_bytes(&mut envelope.legacy.validity, value),
            5 => once_number(&mut envelope.legacy.sequence, value),
            6 => once_number(&mut envelope.legacy.ttl, value),
            KEY => once_bytes(&mut envelope.key, value),
            SIGNATURE => once_bytes(&mut envelope.signature, value),
            DATA => once_bytes(&mut envelope.data, value),
            _ => Some(()),
        };
        known.ok_or(NotARecord::Envelope)?;
        record = rest;
    }
    Ok(envelope)
}

fn field(record: &[u8]) -> Option<(u64, Value<'_>, &[u8])> {
    let (tag, rest) = decode::u64(record).ok()?;
    let (value, rest) = match tag & 7 {
        NUMBER => decode::u64(rest).map(|(number, rest)| (Value::Number(number), rest)).ok()?,
        EIGHT => (Value::Other, rest.get(8..)?),
        BYTES => {
            let (length, rest) = decode::usize(rest).ok()?;
            let (bytes, rest) = rest.split_at_checked(length)?;
            (Value::Bytes(bytes), rest)
        }
        FOUR => (Value::Other, rest.get(4..)?),
        _ => return None,
    };
    // There is no field 0.
    Some((tag >> 3, value, rest)).filter(|(field, ..)| *field > 0)
}

fn once_bytes<'a>(place: &mut Option<&'a [u8]>, value: Value<'a>) -> Option<()> {
    match value {
        Value::Bytes(bytes) if place.is_none() => *place = Some(bytes),
        _ => return None,
    }
    Some(())
}

fn once_number(place: &mut Option<u64>, value: Value<'_>) -> Option<()> {
    match value {
        Value::Number(number) if place.is_none() => *place = Some(number),
        _ => return None,
    }
    Some(())
}

impl Legacy<'_> {
    /// Whether readers of before 2021 would read the same as those of today. A number that is missing is 0.
    pub(super) fn agrees_with(&self, data: &Data<'_>) -> bool {
        if self.value.is_none() && self.signature.is_none() {
            return true;
        }
        self.value == Some(data.value)
            && self.validity == Some(data.validity)
            && self.validity_type.unwrap_or(0) == data.validity_type
            && self.sequence.unwrap_or(0) == data.sequence
            && self.ttl.unwrap_or(0) == data.ttl
    }
}
