//! Nodes of a Merkle DAG: links, and octets that say what they mean.
//!
//! ```text
//! PBNode  field 2, for each link: PBLink      field 1: data      (the links come first)
//! PBLink  field 1: CID      field 2: name, UTF-8      field 3: size of all that it leads to, in bytes ("Tsize")
//! ```
//!
//! Source: <https://ipld.io/specs/codecs/dag-pb/spec/>. Here every link has all three fields and every node has data, as in
//! all that UnixFS writes; anything else is refused, and so a node that was read has no other spelling.
//! (The crate `ipld-dagpb` needs std, and takes other spellings; the tests compare the two.)

use alloc::vec::Vec;

use cid::Cid;

use super::address::{self, LONGEST_BLOCK};
use super::protobuf::{self, Reader, Value};
use super::{Link, Malformed};

/// A link with its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PbLink<'a> {
    pub(super) name: &'a str,
    pub(super) link: Link,
}

/// A node, its links in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PbNode<'a> {
    pub(super) links: Vec<PbLink<'a>>,
    pub(super) data: &'a [u8],
}

impl<'a> PbNode<'a> {
    /// Reads a node. The number of links is limited by the length of a block.
    pub(super) fn read(block: &'a [u8]) -> Result<Self, Malformed> {
        if block.len() > LONGEST_BLOCK {
            return Err(Malformed::TooLong);
        }
        let mut reader = Reader::new(block);
        let mut links = Vec::new();
        loop {
            match reader.field()? {
                Some((2, Value::Octets(link))) => links.push(PbLink::read(link)?),
                Some((1, Value::Octets(data))) => {
                    return if reader.field()?.is_none() {
                        Ok(Self { links, data })
                    } else {
                        Err(Malformed::Node)
                    };
                }
                _ => return Err(Malformed::Node),
            }
        }
    }

    /// Writes it. What is longer than a block may be is the caller's to prevent.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let room = self.links.iter().map(PbLink::length).sum::<u64>() + self.data.len() as u64 + 8;
        let mut block = Vec::with_capacity(usize::try_from(room).unwrap_or(0));
        for link in &self.links {
            link.write(&mut block);
        }
        protobuf::put_octets(&mut block, 1, self.data);
        block
    }
}

impl<'a> PbLink<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let fields = [reader.field()?, reader.field()?, reader.field()?, reader.field()?];
        let [
            Some((1, Value::Octets(cid))),
            Some((2, Value::Octets(name))),
            Some((3, Value::Number(size))),
            None,
        ] = fields
        else {
            return Err(Malformed::Node);
        };
        let cid = address::read(cid).ok_or(Malformed::Address)?;
        let name = core::str::from_utf8(name).map_err(|_| Malformed::Name)?;
        Ok(Self { name, link: Link { cid, size } })
    }

    fn write(&self, block: &mut Vec<u8>) {
        protobuf::put_length(block, 2, usize::try_from(self.inner_length()).unwrap_or(0));
        protobuf::put_octets(block, 1, &self.link.cid.to_bytes());
        protobuf::put_octets(block, 2, self.name.as_bytes());
        protobuf::put_number(block, 3, self.link.size);
    }

    /// How many bytes it adds to a node.
    pub(super) fn length(&self) -> u64 {
        protobuf::field_length(self.inner_length())
    }

    fn inner_length(&self) -> u64 {
        protobuf::field_length(cid_length(&self.link.cid))
            + protobuf::field_length(self.name.len() as u64)
            + 1
            + protobuf::varint_length(self.link.size)
    }
}

fn cid_length(cid: &Cid) -> u64 {
    cid.encoded_len() as u64
}
