//! What a node means: the UnixFS envelope in its data.
//!
//! ```text
//! field 1: type      2: data      3: size of the file      4, for each link: size of its part      5: hash      6: fanout
//! type 1  a directory             2 only for 5: which of the 256 places are taken, a number of up to 256 bits, big-endian,
//! type 2  a file in parts           without zero octets before it
//! type 5  a shard of a directory  5: 0x22, murmur3-x64-64      6: 256
//! ```
//!
//! Source: <https://specs.ipfs.tech/unixfs/>. Mode and time are not written, and passed over where somebody has written them.

use alloc::vec::Vec;

use super::Malformed;
use super::protobuf::{self, Reader, Value};

/// Multihash code of the hash that shards are arranged by.
const MURMUR3_X64_64: u64 = 0x22;
/// Places in a shard.
const FANOUT: u64 = 256;
/// Links of a file's node, at most: the profile's width.
pub(super) const WIDTH: usize = 1024;

const DIRECTORY: u64 = 1;
const FILE: u64 = 2;
const SHARD: u64 = 5;

/// What is taken in a shard: bit `n % 64` of word `n / 64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Places([u64; 4]);

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum UnixFs {
    Directory,
    /// The lengths of its parts, in bytes: none is empty, and their sum has no overflow.
    File(Vec<u64>),
    Shard(Places),
}

impl Places {
    pub(super) fn take(&mut self, place: u8) {
        if let Some(word) = self.0.get_mut(usize::from(place / 64)) {
            *word |= 1 << (place % 64);
        }
    }

    /// Those taken, ascending.
    pub(super) fn iter(self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(move |place| {
            self.0.get(usize::from(place / 64)).is_some_and(|w| w >> (place % 64) & 1 == 1)
        })
    }

    pub(super) fn count(self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    fn read(octets: &[u8]) -> Option<Self> {
        if octets.len() > 32 || octets.first() == Some(&0) {
            return None;
        }
        let bits = octets.iter().rev().zip(0u8..).flat_map(|(octet, nth)| {
            (0..8).filter(move |bit| octet >> bit & 1 == 1).map(move |bit| nth * 8 + bit)
        });
        let mut places = Self::default();
        bits.for_each(|place| places.take(place));
        Some(places)
    }

    fn to_octets(self) -> Vec<u8> {
        let octets = self.0.iter().rev().flat_map(|word| word.to_be_bytes());
        octets.skip_while(|octet| *octet == 0).collect()
    }
}

impl UnixFs {
    /// Reads the envelope.
    pub(super) fn read(data: &[u8]) -> Result<Self, Malformed> {
        let mut raw = Raw::default();
        let mut reader = Reader::new(data);
        while let Some((field, value)) = reader.field()? {
            raw.take(field, value)?;
        }
        raw.judge()
    }

    /// Writes it.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut data = Vec::new();
        match self {
            Self::Directory => protobuf::put_number(&mut data, 1, DIRECTORY),
            Self::File(parts) => {
                protobuf::put_number(&mut data, 1, FILE);
                protobuf::put_number(&mut data, 3, parts.iter().sum());
                parts.iter().for_each(|part| protobuf::put_number(&mut data, 4, *part));
            }
            Self::Shard(places) => {
                protobuf::put_number(&mut data, 1, SHARD);
                protobuf::put_octets(&mut data, 2, &places.to_octets());
                protobuf::put_number(&mut data, 5, MURMUR3_X64_64);
                protobuf::put_number(&mut data, 6, FANOUT);
            }
        }
        data
    }
}

/// The fields as they came.
#[derive(Default)]
struct Raw<'a> {
    kind: Option<u64>,
    data: &'a [u8],
    size: Option<u64>,
    parts: Vec<u64>,
    hash: Option<u64>,
    fanout: Option<u64>,
}

impl<'a> Raw<'a> {
    fn take(&mut self, field: u64, value: Value<'a>) -> Result<(), Malformed> {
        match (field, value) {
            (1, Value::Number(kind)) => self.kind = Some(kind),
            (2, Value::Octets(data)) => self.data = data,
            (3, Value::Number(size)) => self.size = Some(size),
            (4, Value::Number(part)) => self.parts.push(part),
            (5, Value::Number(hash)) => self.hash = Some(hash),
            (6, Value::Number(fanout)) => self.fanout = Some(fanout),
            (1..=6, _) => return Err(Malformed::UnixFs),
            _ => {}
        }
        if self.parts.len() > WIDTH { Err(Malformed::UnixFs) } else { Ok(()) }
    }

    fn judge(self) -> Result<UnixFs, Malformed> {
        match self.kind {
            Some(DIRECTORY) => Ok(UnixFs::Directory),
            // A part that is empty would be work without an end in sight.
            Some(FILE) if self.data.is_empty() && !self.parts.contains(&0) => {
                let sum = self.parts.iter().try_fold(0u64, |sum, part| sum.checked_add(*part));
                if sum.is_some() && sum == self.size {
                    Ok(UnixFs::File(self.parts))
                } else {
                    Err(Malformed::UnixFs)
                }
            }
            Some(SHARD) if self.hash == Some(MURMUR3_X64_64) && self.fanout == Some(FANOUT) => {
                Places::read(self.data).map(UnixFs::Shard).ok_or(Malformed::UnixFs)
            }
            _ => Err(Malformed::UnixFs),
        }
    }
}
