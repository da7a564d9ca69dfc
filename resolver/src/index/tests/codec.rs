//! Codecs: compared with another implementation, and fed with whatever a peer may send.

use alloc::string::String;
use alloc::vec::Vec;
use std::string::ToString;
use std::vec;

use ipld_core::ipld::Ipld;
use proptest::prelude::*;

use crate::index::dag_pb::{PbLink, PbNode};
use crate::index::murmur3::murmur3_x64_64;
use crate::index::unixfs::{Places, UnixFs};
use crate::index::{Link, Malformed, address};

fn cid() -> impl Strategy<Value = cid::Cid> {
    (any::<[u8; 32]>(), 0..3).prop_map(|(bytes, kind)| match kind {
        0 => address::of_node(&bytes),
        1 => address::of_raw(&bytes),
        _ => address::of_tarball(&crate::integrity::Integrity::of(&bytes)),
    })
}

fn links() -> impl Strategy<Value = Vec<(String, Link)>> {
    let link = (cid(), any::<u64>()).prop_map(|(cid, size)| Link { cid, size });
    proptest::collection::vec(("[ -~é]{0,20}", link), 0..8).prop_map(|mut links| {
        links.sort_by(|(a, _), (b, _)| a.as_bytes().cmp(b.as_bytes()));
        links
    })
}

fn write(links: &[(String, Link)], data: &[u8]) -> Vec<u8> {
    let links = links.iter().map(|(name, link)| PbLink { name, link: *link }).collect();
    PbNode { links, data }.to_bytes()
}

fn envelope() -> impl Strategy<Value = UnixFs> {
    prop_oneof![
        Just(UnixFs::Directory),
        proptest::collection::vec(1u64..1 << 40, 0..20).prop_map(UnixFs::File),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(|taken| {
            let mut places = Places::default();
            taken.into_iter().for_each(|place| places.take(place));
            UnixFs::Shard(places)
        }),
    ]
}

#[test]
fn names_hash_as_everywhere_else() {
    // Values of MurmurHash3_x64_128 with the seed 0 that its other implementations are tested with.
    assert_eq!(murmur3_x64_64(b""), 0);
    assert_eq!(murmur3_x64_64(b"hello"), 0xcbd8_a7b3_41bd_9b02);
    assert_eq!(murmur3_x64_64(b"The quick brown fox jumps over the lazy dog"), 0xe34b_bc7b_bc07_1b6c);
}

#[test]
fn a_second_spelling_is_refused() {
    let node = |bytes: &[u8]| PbNode::read(bytes).map(|_| ());
    assert_eq!(node(&[0x0a, 0]), Ok(()));
    for (bytes, why) in [
        (&[][..], Malformed::Node),
        (&[0x0a, 0x80, 0x00], Malformed::Protobuf),
        (&[0x8a, 0x00, 0], Malformed::Protobuf),
        (&[0x0a, 0, 0x0a, 0], Malformed::Node),
        (&[0x0a, 1], Malformed::Protobuf),
        (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], Malformed::Protobuf),
        (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], Malformed::Protobuf),
        (&[0x1a, 0, 0x0a, 0], Malformed::Node),
        (&[0x12, 0, 0x0a, 0], Malformed::Node),
        (&[0x08, 1], Malformed::Node),
        (&[0x0b], Malformed::Protobuf),
    ] {
        assert_eq!(node(bytes), Err(why), "{bytes:02x?}");
    }
    assert_eq!(node(&vec![0; address::LONGEST_BLOCK + 1]), Err(Malformed::TooLong));
}

#[test]
fn an_envelope_that_contradicts_itself_is_refused() {
    for data in [
        &[][..],
        &[8, 0],                                  // a type that does not stand in an index
        &[8, 2, 24, 1],                           // a size without parts
        &[8, 2, 24, 0, 32, 0],                    // an empty part
        &[8, 2, 18, 1, 0, 24, 1],                 // parts, and octets besides
        &[8, 5, 18, 0, 40, 0x22],                 // no fanout
        &[8, 5, 18, 0, 40, 0x12, 48, 0x80, 2],    // another hash
        &[8, 5, 18, 1, 0, 40, 0x22, 48, 0x80, 2], // a zero before the first place
        &[10, 0],                                 // a type that is no number
    ] {
        assert_eq!(UnixFs::read(data), Err(Malformed::UnixFs), "{data:02x?}");
    }
    let with_mode = [8, 1, 56, 0xed, 3, 66, 2, 8, 1];
    assert_eq!(UnixFs::read(&with_mode), Ok(UnixFs::Directory), "mode and time are passed over");
    let many = UnixFs::File(vec![1; 1025]).to_bytes();
    assert_eq!(UnixFs::read(&many), Err(Malformed::UnixFs));
}

proptest! {
    #[test]
    fn nodes_are_written_as_another_implementation_writes_them(
        links in links(),
        data in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let ours = write(&links, &data);
        let theirs = ipld_dagpb::PbNode {
            links: links
                .iter()
                .map(|(name, link)| ipld_dagpb::PbLink {
                    cid: link.cid,
                    name: Some(name.clone()),
                    size: Some(link.size),
                })
                .collect(),
            data: Some(data.clone().into()),
        };
        prop_assert_eq!(&ours, &theirs.into_bytes());
        let read = PbNode::read(&ours).unwrap();
        prop_assert_eq!(read.data, &data);
        let read: Vec<_> = read.links.iter().map(|link| (link.name.to_string(), link.link)).collect();
        prop_assert_eq!(read, links);
    }

    #[test]
    fn a_links_length_is_known_before_it_is_written(links in links()) {
        let lengths: u64 = links.iter().map(|(name, link)| PbLink { name, link: *link }.length()).sum();
        prop_assert_eq!(lengths + 2, write(&links, b"").len() as u64);
    }

    #[test]
    fn envelopes_read_back(envelope in envelope()) {
        prop_assert_eq!(UnixFs::read(&envelope.to_bytes()), Ok(envelope));
    }

    #[test]
    fn whatever_comes_is_a_node_with_one_spelling_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = UnixFs::read(&bytes);
        if let Ok(node) = PbNode::read(&bytes) {
            prop_assert_eq!(node.to_bytes(), bytes);
        }
    }

    #[test]
    fn a_node_that_was_tampered_with_is_another_node_or_refused(
        links in links(),
        envelope in envelope(),
        at in any::<prop::sample::Index>(),
        octet in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let valid = write(&links, &envelope.to_bytes());
        let mut changed = valid.clone();
        changed[at.index(valid.len())] = octet;
        for bytes in [&changed[..], &valid[..cut.index(valid.len())]] {
            let Ok(node) = PbNode::read(bytes) else { continue };
            let _ = UnixFs::read(node.data);
            prop_assert_eq!(node.to_bytes(), bytes);
            let theirs = ipld_dagpb::to_ipld(bytes);
            prop_assert!(matches!(theirs, Ok(Ipld::Map(_))), "what is taken here is taken elsewhere");
        }
    }
}
