//! Reads a CAR as it comes: whatever the pieces are, what comes out is the same.

use alloc::vec::Vec;
use core::mem;

use cid::multihash::Multihash;
use cid::{Cid, Version};
use unsigned_varint::decode;

use super::{CarError, Header, LONGEST_BLOCK, LONGEST_CID, LONGEST_HEADER, Limits, VERSION, verify};

/// What a CAR consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// Its header: the roots that it says it is about. Nothing rests on them.
    Roots(Vec<Cid>),
    /// A block. It hashes to its CID.
    Block(Cid, Vec<u8>),
}

/// A CAR that is coming. It holds one header or block at a time, and memory for what has come of that only.
#[derive(Debug)]
pub struct Reader {
    left: Limits,
    /// The header has been read.
    begun: bool,
    /// Of the length that is coming.
    length: Vec<u8>,
    /// How much of the part is still to come; `None`: its length is.
    missing: Option<usize>,
    part: Vec<u8>,
    failed: Option<CarError>,
}

impl Reader {
    /// Nothing has come yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let (length, part) = (Vec::new(), Vec::new());
        Self { left: limits, begun: false, length, missing: None, part, failed: None }
    }

    /// Takes from the front of `chunk` until something is complete, or nothing is left: then more has to come. To be called until
    /// it gives out nothing.
    ///
    /// # Errors
    /// [`CarError`], now and from now on.
    pub fn take(&mut self, chunk: &mut &[u8]) -> Result<Option<Item>, CarError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.advance(chunk).inspect_err(|error| self.failed = Some(*error))
    }

    /// There is nothing more to come.
    ///
    /// # Errors
    /// [`CarError::Cut`], when there should be, and what was wrong before.
    pub fn finish(self) -> Result<(), CarError> {
        match self.failed {
            Some(error) => Err(error),
            None if self.begun && self.missing.is_none() && self.length.is_empty() => Ok(()),
            None => Err(CarError::Cut),
        }
    }

    fn advance(&mut self, chunk: &mut &[u8]) -> Result<Option<Item>, CarError> {
        let missing = match self.missing {
            Some(missing) => missing,
            None => match self.take_length(chunk)? {
                Some(length) => self.admit(length)?,
                None => return Ok(None),
            },
        };
        let (some, rest) = chunk.split_at(missing.min(chunk.len()));
        self.part.extend_from_slice(some);
        *chunk = rest;
        let missing = missing - some.len();
        self.missing = Some(missing).filter(|missing| *missing > 0);
        if missing > 0 {
            return Ok(None);
        }
        let part = mem::take(&mut self.part);
        if mem::replace(&mut self.begun, true) { block(part).map(Some) } else { roots(&part).map(Some) }
    }

    /// One byte after the other, for a length may be cut anywhere.
    fn take_length(&mut self, chunk: &mut &[u8]) -> Result<Option<u64>, CarError> {
        while let Some((byte, rest)) = chunk.split_first() {
            *chunk = rest;
            self.length.push(*byte);
            if !decode::is_last(*byte) {
                // The longest number that is wanted here has four bytes; the longest that can be read, ten.
                if self.length.len() >= unsigned_varint::encode::u64_buffer().len() {
                    return Err(CarError::Length);
                }
                continue;
            }
            let number = decode::u64(&self.length).map(|(number, _)| number);
            self.length.clear();
            return number.map(Some).map_err(|_| CarError::Length);
        }
        Ok(None)
    }

    /// Whether so much may come.
    fn admit(&mut self, length: u64) -> Result<usize, CarError> {
        let (longest, excess) = if self.begun {
            self.left.blocks = self.left.blocks.checked_sub(1).ok_or(CarError::TooMuch)?;
            (LONGEST_BLOCK + LONGEST_CID, CarError::LongBlock)
        } else {
            (LONGEST_HEADER, CarError::Header)
        };
        let usize = usize::try_from(length).ok().filter(|length| *length <= longest).ok_or(excess)?;
        if usize == 0 {
            return Err(CarError::Length);
        }
        self.left.bytes = self.left.bytes.checked_sub(length).ok_or(CarError::TooMuch)?;
        self.missing = Some(usize);
        Ok(usize)
    }
}

fn roots(part: &[u8]) -> Result<Item, CarError> {
    let header: Header = serde_ipld_dagcbor::from_slice(part).map_err(|_| CarError::Header)?;
    if header.version != VERSION {
        return Err(CarError::Header);
    }
    Ok(Item::Roots(header.roots))
}

fn block(mut part: Vec<u8>) -> Result<Item, CarError> {
    let (cid, rest) = cid(&part)?;
    let length = rest.len();
    if length > LONGEST_BLOCK {
        return Err(CarError::LongBlock);
    }
    verify(&cid, rest)?;
    part.drain(..part.len() - length);
    Ok(Item::Block(cid, part))
}

/// The CID at the front: version, codec, hash function, length of the digest, digest; all numbers spelled the shortest way.
fn cid(bytes: &[u8]) -> Result<(Cid, &[u8]), CarError> {
    let number = |bytes| decode::u64(bytes).map_err(|_| CarError::Cid);
    let (version, rest) = number(bytes)?;
    let (codec, rest) = number(rest)?;
    if version != u64::from(Version::V1) {
        return Err(CarError::Cid);
    }
    let (function, rest) = number(rest)?;
    let (length, rest) = number(rest)?;
    let length = usize::try_from(length).map_err(|_| CarError::Cid)?;
    let (digest, rest) = rest.split_at_checked(length).ok_or(CarError::Cid)?;
    let hash = Multihash::wrap(function, digest).map_err(|_| CarError::Cid)?;
    Ok((Cid::new_v1(codec, hash), rest))
}
