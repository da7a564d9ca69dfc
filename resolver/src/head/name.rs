//! IPNS names of gateways: a peer id as a CID (`k51...`), beside its older spelling (`12D3KooW...`).

use alloc::string::String;

use cid::Cid;
use cid::multibase::Base;
use cid::multihash::Multihash;

use crate::cid_text;
use crate::peer::PeerId;

/// The codec of keys in CIDs, and the hash function that leaves them as they are.
const LIBP2P_KEY: u64 = 0x72;
const IDENTITY: u64 = 0x00;

/// A text that is not the name of a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the IPNS name of a gateway: such look like \"k51...\" or \"12D3KooW...\"")]
pub struct NotAName;

/// The name in the spelling that the specification wants: CIDv1, libp2p-key, base36.
#[must_use]
pub fn name(id: PeerId) -> String {
    let hash =
        Multihash::<64>::wrap(IDENTITY, &id.public_key()).expect("a key of 36 bytes is shorter than 64");
    let cid = Cid::new_v1(LIBP2P_KEY, hash);
    cid.to_string_of_base(Base::Base36Lower).expect("every CIDv1 can be written in any base")
}

/// Reads a name: a CID in any base, or a peer id.
///
/// # Errors
/// [`NotAName`]; also for keys that are not of ed25519.
pub fn parse_name(text: &str) -> Result<PeerId, NotAName> {
    if text.len() > cid_text::LONGEST {
        return Err(NotAName);
    }
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let cid = cid_text::parse(text).ok_or(NotAName)?;
    if (cid.codec(), cid.hash().code()) != (LIBP2P_KEY, IDENTITY) {
        return Err(NotAName);
    }
    PeerId::of_public_key(cid.hash().digest()).ok_or(NotAName)
}
