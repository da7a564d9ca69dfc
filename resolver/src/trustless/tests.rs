//! Promises of requests: what clients send is understood, and what is ambiguous is refused.

use alloc::format;
use alloc::vec;
use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::head::{Head, Root};

const CID: &str = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";
const NAME: &str = "k51qzi5uqu5dm0t4vbwri4lkg76q03b4x9tsvekgvbu4zli6454ff7w8wdosa4";

fn ask(path: &str, query: &str, accept: &str) -> Result<Request, Refused> {
    let path = path.replace("CID", CID).replace("NAME", NAME);
    Request::parse(
        &path,
        Some(query).filter(|query| !query.is_empty()),
        Some(accept).filter(|text| !text.is_empty()),
    )
}

fn car(path: &str, query: &str, accept: &str) -> CarRequest {
    match ask(path, query, accept) {
        Ok(Request::Car(request)) => request,
        other => panic!("{path} {query} {accept}: {other:?}"),
    }
}

fn cid() -> Cid {
    parse_cid(CID).unwrap()
}

#[test]
fn a_block_is_asked_for_by_query_or_by_accept() {
    for (query, accept) in [
        ("format=raw", ""),
        ("", "application/vnd.ipld.raw"),
        ("format=raw", "application/vnd.ipld.car"),
        ("filename=x.bin&format=raw", "*/*"),
        ("", "text/html, APPLICATION/VND.IPLD.RAW;q=0.5, */*;q=0.1"),
    ] {
        assert_eq!(ask("/ipfs/CID", query, accept), Ok(Request::Raw(cid())), "{query} {accept}");
    }
    assert!(matches!(ask("/ipfs/CID/a", "format=raw", ""), Err(Refused::Format(_))));
    assert_eq!(ask("/ipfs/CID/", "format=raw", ""), Ok(Request::Raw(cid())));
}

#[test]
fn a_car_is_asked_for_with_a_path_a_scope_and_bytes() {
    let whole = car("/ipfs/CID", "format=car", "");
    assert_eq!((whole.root, whole.path.len(), whole.scope, whole.bytes), (cid(), 0, Scope::All, None));
    let package = car("/ipfs/CID/%40babel/core/metadata.json/", "format=car&dag-scope=entity", "");
    assert_eq!(package.path, ["@babel", "core", "metadata.json"]);
    assert_eq!((package.scope, package.duplicates), (Scope::Entity, false));
    for (query, from, to) in [
        ("0:*", 0, None),
        ("-1024:*", -1024, None),
        ("499:-1000", 499, Some(-1000)),
        ("-9:-3", -9, Some(-3)),
        ("7:7", 7, Some(7)),
    ] {
        for scope in ["", "&dag-scope=all"] {
            let request = car("/ipfs/CID", &format!("format=car&entity-bytes={query}{scope}"), "");
            assert_eq!((request.scope, request.bytes), (Scope::Entity, Some(Bytes { from, to })), "{query}");
        }
    }
    assert_eq!(car("/ipfs/CID", "format=car&dag-scope=block", "").scope, Scope::Block);
}

#[test]
fn the_query_counts_for_more_than_accept_and_what_is_wanted_most_is_sent() {
    let accept = "application/vnd.ipld.car; version=1; order=dfs; dups=y";
    assert!(car("/ipfs/CID", "", accept).duplicates);
    assert!(car("/ipfs/CID", "format=car", accept).duplicates);
    assert!(!car("/ipfs/CID", "car-dups=n", accept).duplicates);
    assert!(car("/ipfs/CID", "format=car&car-dups=y&car-order=dfs&car-version=1", "").duplicates);
    let preferred = "application/vnd.ipld.car;order=foo, application/vnd.ipld.car;order=dfs;dups=y;q=0.5";
    assert!(car("/ipfs/CID", "", preferred).duplicates);
    let raw = "application/vnd.ipld.car;q=0.8, application/vnd.ipld.raw;q=0.801";
    assert_eq!(ask("/ipfs/CID", "", raw), Ok(Request::Raw(cid())));
    let first = "application/vnd.ipld.raw, application/vnd.ipld.car";
    assert_eq!(ask("/ipfs/CID", "", first), Ok(Request::Raw(cid())));
}

#[test]
fn a_head_is_asked_for_by_both_spellings_of_its_name() {
    let id = head::parse_name(NAME).unwrap();
    for (path, query, accept) in [
        ("/ipns/NAME", "format=ipns-record", ""),
        ("/ipns/NAME", "", "application/vnd.ipfs.ipns-record"),
        ("/ipns/12D3KooWRawPbxPtP1eZaJpumGnyWX2DcUyd3RQnydr3eAto4Az7", "format=ipns-record", ""),
    ] {
        assert_eq!(ask(path, query, accept), Ok(Request::Record(id)));
    }
    assert!(matches!(ask("/ipns/NAME", "format=raw", ""), Err(Refused::Format(_))));
    assert!(matches!(ask("/ipfs/CID", "format=ipns-record", ""), Err(Refused::Format(_))));
    assert!(matches!(ask("/ipns/NAME/a", "format=ipns-record", ""), Err(Refused::Name(_))));
    assert!(matches!(ask("/ipns/example.com", "format=ipns-record", ""), Err(Refused::Name(_))));
}

#[test]
fn what_cannot_be_sent_is_refused_and_the_status_says_how() {
    let long = format!("/ipfs/CID/{}", "a".repeat(5000));
    for (path, query, accept, status) in [
        ("/ipfs/CID", "", "", 400),
        ("/ipfs/CID", "", "*/*", 400),
        ("/ipfs/CID", "", "text/html", 406),
        ("/ipfs/CID", "", "application/vnd.ipld.raw;q=0", 406),
        ("/ipfs/CID", "", "application/vnd.ipld.car;version=2", 406),
        ("/ipfs/CID", "", "application/vnd.ipld.car;order=foo", 406),
        ("/ipfs/CID", "format=html", "application/vnd.ipld.raw", 406),
        ("/ipfs/CID", "format=car&car-version=2", "", 406),
        ("/ipfs/CID", "format=car&car-order=foo", "", 406),
        ("/ipfs/CID", "format=car&car-dups=x", "", 400),
        ("/ipfs/CID", "format=car&dag-scope=some", "", 400),
        ("/ipfs/CID", "format=car&format=raw", "", 400),
        ("/ipfs/CID", "format=car&entity-bytes=", "", 400),
        ("/ipfs/CID", "format=car&entity-bytes=*:7", "", 400),
        ("/ipfs/CID", "format=car&entity-bytes=7", "", 400),
        ("/ipfs/CID", "format=car&entity-bytes=7:3", "", 400),
        ("/ipfs/CID", "format=car&entity-bytes=-3:-7", "", 400),
        ("/ipfs/CID", "format=car&entity-bytes=+3:7", "", 400),
        ("/ipfs/CID", "format=car&entity-bytes=-0:7", "", 400),
        ("/ipfs/CID", "format=car&entity-bytes=0:99999999999999999999", "", 400),
        ("/ipfs/", "format=raw", "", 400),
        ("/ipfs/nonsense", "format=raw", "", 400),
        ("/ipfs/CID/a//b", "format=car", "", 400),
        ("/ipfs/CID/../b", "format=car", "", 400),
        ("/ipfs/CID/%2e%2e/b", "format=car", "", 400),
        ("/ipfs/CID/a%2fb", "format=car", "", 400),
        ("/ipfs/CID/a%00", "format=car", "", 400),
        ("/ipfs/CID/%ff", "format=car", "", 400),
        ("/ipfs/CID/1/2/3/4/5/6/7/8/9", "format=car", "", 400),
        ("/api/v0/cat", "format=raw", "", 400),
        (&long, "format=car", "", 414),
    ] {
        let refused = ask(path, query, accept).unwrap_err();
        assert_eq!(refused.status(), status, "{path} {query} {accept}: {refused}");
    }
}

#[test]
fn the_probe_of_ipfs_clients_has_its_answer_in_its_cid() {
    let Ok(Request::Raw(probe)) = ask("/ipfs/bafkqaaa", "format=raw", "") else { panic!() };
    assert_eq!(inline(&probe), Some(&[][..]));
    assert_eq!(inline(&cid()), None);
}

#[test]
fn two_requests_have_one_tag_only_if_they_have_one_answer() {
    let tags = [
        ("/ipfs/CID", "format=car"),
        ("/ipfs/CID", "format=car&dag-scope=entity"),
        ("/ipfs/CID", "format=car&dag-scope=block"),
        ("/ipfs/CID", "format=car&car-dups=y"),
        ("/ipfs/CID", "format=car&entity-bytes=0:*"),
        ("/ipfs/CID", "format=car&entity-bytes=0:0"),
        ("/ipfs/CID", "format=car&entity-bytes=1:*"),
        ("/ipfs/CID/a", "format=car"),
        ("/ipfs/CID/a/b", "format=car"),
        ("/ipfs/CID/ab", "format=car"),
        ("/ipfs/bafkqaaa", "format=car"),
    ]
    .map(|(path, query)| car(path, query, "").reply().etag);
    let different: alloc::collections::BTreeSet<_> = tags.iter().collect();
    assert_eq!(different.len(), tags.len());
    assert_eq!(tags[0], car("/ipfs/CID/", "dag-scope=all&format=car", "").reply().etag);
    assert!(tags[1].starts_with(&format!("W/\"entity.{CID}.")), "{}", tags[1]);
    assert_eq!(reply::raw_etag(&cid()), format!("\"{CID}.raw\""));
}

#[test]
fn a_car_says_how_it_was_made() {
    let reply = car("/ipfs/CID", "format=car", "").reply();
    assert_eq!(reply.content_type, "application/vnd.ipld.car; version=1; order=dfs; dups=n");
    assert_eq!(reply.disposition, format!("attachment; filename=\"{CID}.car\""));
}

#[test]
fn a_head_may_be_kept_for_what_is_left_of_its_time() {
    let s = Duration::from_secs;
    let head = |ttl| Head {
        name: head::parse_name(NAME).unwrap(),
        root: CID.parse::<Root>().unwrap(),
        sequence: 1_000_000,
        until: s(9000),
        ttl,
    };
    let kept = |ttl, now| RecordReply::of(&head(ttl), now).cache_control;
    assert_eq!(kept(s(60), s(1000)), "public, max-age=60");
    assert_eq!(kept(s(60), s(1045)), "public, max-age=15");
    assert_eq!(kept(s(60), s(2000)), "public, max-age=0");
    assert_eq!(kept(s(60), s(900)), "public, max-age=60", "its clock is ahead");
    assert_eq!(kept(Duration::MAX, s(1000)), "public, max-age=3600");
    assert!(RecordReply::of(&head(s(60)), s(0)).etag.contains("1000000"));
}

proptest! {
    #[test]
    fn whatever_is_asked_is_understood_or_refused(
        path: String, query: String, accept: String,
        parts in proptest::collection::vec(
            prop::sample::select(vec!["/ipfs/", "/ipns/", CID, NAME, "/", "%2e", "..", "@a", "%", "é"]), 0..8),
        pairs in proptest::collection::vec((
            prop::sample::select(vec!["format", "dag-scope", "entity-bytes", "car-dups", "car-order", "x"]),
            prop::sample::select(vec!["raw", "car", "all", "entity", "-1:*", "0:9", "y", "dfs", "%ff", ""])), 0..4),
        types in proptest::collection::vec(
            prop::sample::select(vec!["application/vnd.ipld.car", "application/vnd.ipld.raw", ";", "q=", "0.5", ",", "dups=y", "\""]), 0..8),
    ) {
        let _ = Request::parse(&path, Some(&query), Some(&accept));
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let read = Request::parse(&parts.concat(), Some(&pairs.join("&")), Some(&types.concat()));
        if let Ok(Request::Car(request)) = read {
            let reply = request.reply();
            prop_assert!(reply.etag.bytes().all(|byte| (0x21..0x7f).contains(&byte)));
            prop_assert!(request.path.len() <= MOST_SEGMENTS);
            prop_assert!(request.path.iter().all(|name| !name.is_empty() && name != ".." && !name.contains('/')));
            prop_assert!(request.bytes.is_none() || request.scope == Scope::Entity);
        }
    }

    #[test]
    fn what_is_asked_is_read_as_it_was_meant(
        path in proptest::collection::vec("[^/\\x00.]{1,9}", 0..8),
        (scope, bytes) in prop_oneof![
            prop::sample::select(vec![Scope::Block, Scope::Entity, Scope::All]).prop_map(|scope| (scope, None)),
            (0i64..900, proptest::option::of(900i64..)).prop_map(|(from, to)| (Scope::Entity, Some(Bytes { from, to }))),
            (i64::MIN..0, proptest::option::of(0i64..)).prop_map(|(from, to)| (Scope::Entity, Some(Bytes { from, to }))),
        ],
        duplicates: bool,
        key: [u8; 32],
    ) {
        let car = Request::Car(CarRequest { root: cid(), path, scope, bytes, duplicates });
        for request in [car, Request::Raw(cid()), Request::Record(PeerId::of_key(key))] {
            let address = request.address();
            let (path, query) = address.split_once('?').unwrap();
            prop_assert_eq!(Request::parse(path, Some(query), None), Ok(request));
        }
    }
}
