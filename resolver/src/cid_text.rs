//! CIDs as text, by the letter: the crate's own reading passes over whatever stands before `/ipfs/` or behind the digest, so that
//! two texts would be one CID, and a path would be one.

use alloc::vec::Vec;

use cid::multibase;
use cid::{Cid, Version};

/// The longest text that is read: the longest CID (SHA-512) in base 16 has 139 characters. Decoding some bases takes the square of it.
pub const LONGEST: usize = 160;

/// Reads a CID in any base whose characters can stand in a path; `None`: it is none, or more than one.
#[must_use]
pub fn parse(text: &str) -> Option<Cid> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if !is_plain || text.len() > LONGEST {
        return None;
    }
    let bytes = decode(text)?;
    Cid::try_from(bytes.as_slice()).ok().filter(|cid| cid.to_bytes() == bytes)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    if Version::is_v0_str(text) {
        return bs58::decode(text).into_vec().ok();
    }
    multibase::decode(text).ok().map(|(_, bytes)| bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::ToString as _;
    use cid::multihash::Multihash;
    use proptest::prelude::*;

    const CID: &str = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";
    const OLD: &str = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N";

    #[test]
    fn a_cid_is_read_in_its_usual_spellings() {
        let cid = parse(CID).unwrap();
        assert_eq!(cid.to_string(), CID);
        for base in [multibase::Base::Base36Lower, multibase::Base::Base58Btc, multibase::Base::Base16Lower] {
            assert_eq!(parse(&cid.to_string_of_base(base).unwrap()), Some(cid));
        }
        assert_eq!(parse(OLD).unwrap().to_string(), OLD);
        assert!(parse("bafkqaaa").is_some());
    }

    #[test]
    fn what_has_a_cid_in_it_is_none() {
        for text in [
            format!("/ipfs/{CID}"),
            format!("x/ipfs/{CID}"),
            format!("{CID}/"),
            format!("{CID} "),
            format!("{CID}aaaaaaaa"),
            format!("{OLD}1"),
            "bafkqaaaaa".into(),
            CID.replace('b', "\0"),
            CID[..58].into(),
            "b".into(),
            "Q".into(),
            alloc::string::String::new(),
            "b".repeat(161),
        ] {
            assert_eq!(parse(&text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_has_one_spelling_in_its_base(text in "[a-zA-Z0-9_-]{0,170}", codec: u64, digest: [u8; 32]) {
            let cid = Cid::new_v1(codec, Multihash::wrap(0x12, &digest).unwrap());
            prop_assert_eq!(parse(&cid.to_string()), Some(cid));
            let longer = format!("{cid}{}", text.to_ascii_lowercase());
            prop_assert!(text.is_empty() || parse(&longer).is_none());
            let _ = parse(&text);
        }
    }
}
