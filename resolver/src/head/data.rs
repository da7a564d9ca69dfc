//! What a record says: the DAG-CBOR document that is signed.

use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};
use serde_bytes::Bytes;

use super::{Head, NotARecord, NotARoot, timestamp};
use crate::peer::PeerId;

/// What stands before the root in a record's value.
const IPFS: &[u8] = b"/ipfs/";

/// The document. Others may say more in it; its fields stand in the order that DAG-CBOR wants: short names first, then by the letter.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Data<'a> {
    /// Nanoseconds.
    #[serde(rename = "TTL")]
    pub(super) ttl: u64,
    #[serde(borrow)]
    pub(super) value: &'a Bytes,
    pub(super) sequence: u64,
    #[serde(borrow)]
    pub(super) validity: &'a Bytes,
    pub(super) validity_type: u64,
}

/// Writes it.
pub(super) fn write(head: &Head) -> Vec<u8> {
    let value = format!("/ipfs/{}", head.root);
    let validity = timestamp::write(head.until);
    let data = Data {
        ttl: u64::try_from(head.ttl.as_nanos()).unwrap_or(u64::MAX),
        value: Bytes::new(value.as_bytes()),
        sequence: head.sequence,
        validity: Bytes::new(validity.as_bytes()),
        validity_type: 0,
    };
    serde_ipld_dagcbor::to_vec(&data).expect("numbers and bytes are DAG-CBOR")
}

/// Reads it. The decoder has a limit for what lies in what, and takes keys in their order only.
pub(super) fn read(data: &[u8]) -> Result<Data<'_>, NotARecord> {
    serde_ipld_dagcbor::from_slice(data).map_err(|_| NotARecord::Data)
}

impl Data<'_> {
    /// What it means in a record of this name.
    pub(super) fn head(&self, name: PeerId) -> Result<Head, NotARecord> {
        if self.validity_type != 0 {
            return Err(NotARecord::Validity);
        }
        let until = timestamp::read(self.validity).ok_or(NotARecord::Validity)?;
        let cid = self.value.strip_prefix(IPFS).and_then(|cid| core::str::from_utf8(cid).ok());
        let root = cid.ok_or(NotARoot::Unreadable)?.parse()?;
        Ok(Head { name, root, sequence: self.sequence, until, ttl: Duration::from_nanos(self.ttl) })
    }
}
