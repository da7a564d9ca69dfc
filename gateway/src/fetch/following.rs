//! What is taken from home, with a home that is played.

use std::sync::Arc;
use std::time::Duration;

use resolver::evidence::EvidenceName;
use resolver::package::PackageName;
use resolver::plan::{Windows, Wish};
use resolver::variant::Revision;

use super::{Failure, Fetch, Provenance, Settings};
use crate::metrics::Metrics;
use crate::store::{Config, Store};
use crate::upstream::played::{Asked, Played, Said, said};

const NOWHERE: &str = "http://127.0.0.1:1/registry";
const DOCUMENT: &str = r#"{"name":"left","dist-tags":{"latest":"1.0.0"},"versions":{"1.0.0":{"name":"left","version":"1.0.0","dist":{"tarball":"x"}}},"time":{"1.0.0":"2020-01-01T00:00:00.000Z"}}"#;

struct Scene {
    played: Played,
    fetch: Fetch,
    _folder: tempfile::TempDir,
}

impl Scene {
    fn new(answers: fn(&Asked) -> Said) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (played, upstream) = Played::new(NOWHERE);
        played.answers(Some(answers));
        played.connect();
        let store = Store::open(folder.path(), &Config::of(1 << 30)).unwrap();
        let windows = Windows { fresh: Duration::from_secs(300), stale: Duration::from_secs(3600) };
        let settings = Settings { windows, verify_first_max: 1 << 20 };
        let fetch = Fetch::new(store, upstream, settings, Arc::new(Metrics::new()));
        Self { played, fetch, _folder: folder }
    }

    fn last(&self) -> Asked {
        self.played.asked.lock().unwrap().last().unwrap().clone()
    }

    fn times(&self) -> usize {
        self.played.asked.lock().unwrap().len()
    }
}

fn left() -> PackageName {
    PackageName::parse("left").unwrap()
}

fn revision() -> String {
    format!("\"{}\"", Revision::of(DOCUMENT.as_bytes()).hex())
}

/// As home sends what it keeps: in frames, with its digest; or nothing new.
fn document(asked: &Asked, headers: &[(&str, &str)]) -> Said {
    let tag = revision();
    let headers = [&[("etag", tag.as_str()), ("content-encoding", "zstd")], headers].concat();
    if asked.headers.get("if-none-match").is_some_and(|held| held == &tag) {
        return said(304, &headers, "");
    }
    let (one, two) = DOCUMENT.as_bytes().split_at(40);
    let frames = [one, two].map(|part| zstd::encode_all(part, 3).unwrap()).concat();
    said(200, &headers, frames)
}

#[tokio::test]
async fn a_packument_comes_by_home_as_it_is_kept_there_and_is_no_fresher_than_there() {
    let scene = Scene::new(|asked| document(asked, &[("age", "100"), ("last-modified", "yesterday")]));
    let given = scene.fetch.packument(&left(), Wish::Usual).await.unwrap();
    assert_eq!(given.source, Provenance::Home);
    assert_eq!(given.record.revision, Revision::of(DOCUMENT.as_bytes()));
    assert_eq!(given.record.last_modified.as_deref(), Some("yesterday"));
    assert!(given.fresh_for <= Duration::from_secs(200), "{:?}", given.fresh_for);
    assert!(given.fresh_for > Duration::from_secs(150), "{:?}", given.fresh_for);
    let asked = scene.last();
    assert_eq!(
        (asked.path.as_str(), &asked.headers["accept-encoding"]),
        ("/left", &"zstd, gzip".parse().unwrap())
    );
    assert!(!asked.headers.contains_key("cache-control"));
    assert_eq!(scene.fetch.packument(&left(), Wish::Usual).await.unwrap().source, Provenance::Store);
    assert_eq!(scene.times(), 1);
}

#[tokio::test]
async fn who_insists_makes_home_ask_upstream_and_its_confirmation_has_no_body() {
    let scene = Scene::new(|asked| document(asked, &[("age", "0")]));
    scene.fetch.packument(&left(), Wish::Usual).await.unwrap();
    let given = scene.fetch.packument(&left(), Wish::Confirmed).await.unwrap();
    assert_eq!(given.source, Provenance::Home);
    let asked = scene.last();
    assert_eq!(asked.headers["if-none-match"], revision());
    assert_eq!(asked.headers["cache-control"], "no-cache");
    assert_eq!(scene.times(), 2);
}

#[tokio::test]
async fn what_home_could_not_confirm_is_served_and_counts_as_old() {
    let scene = Scene::new(|asked| document(asked, &[("age", "9000"), ("open-registry-upstream", "down")]));
    for _ in 0..2 {
        let given = scene.fetch.packument(&left(), Wish::Usual).await.unwrap();
        assert!(given.fresh_for.is_zero() && given.usable_for.is_zero());
        assert_eq!(given.stale.as_deref(), Some("home cannot reach upstream"));
    }
    let unknown = scene.fetch.manifest(&left(), "2.0.0", Wish::Usual).await.err().unwrap();
    assert!(matches!(unknown, Failure::Unavailable { .. }), "only upstream could say so: {unknown:?}");
}

#[tokio::test]
async fn what_home_does_not_hold_and_cannot_ask_for_is_unavailable_and_its_404_is_upstreams() {
    let scene = Scene::new(|_| said(503, &[("open-registry-upstream", "down")], ""));
    let failure = scene.fetch.packument(&left(), Wish::Usual).await.unwrap_err();
    assert!(matches!(failure, Failure::Unavailable { .. }), "{failure:?}");
    assert_eq!(scene.times(), 1, "once: home would say the same");
    let scene = Scene::new(|_| said(404, &[], ""));
    let failure = scene.fetch.packument(&left(), Wish::Usual).await.unwrap_err();
    assert!(matches!(failure, Failure::NotFound(_)), "{failure:?}");
}

#[tokio::test]
async fn other_bytes_than_home_has_named_are_not_taken() {
    let scene = Scene::new(|_| {
        let other = format!("\"{}\"", Revision::of(b"another").hex());
        said(200, &[("etag", &other), ("age", "0")], DOCUMENT)
    });
    let failure = scene.fetch.packument(&left(), Wish::Usual).await.unwrap_err();
    assert!(matches!(failure, Failure::Unavailable { .. }), "{failure:?}");
    assert!(scene.fetch.held(&left()).is_none());
}

#[tokio::test]
async fn evidence_by_home_is_no_fresher_than_there() {
    let scene = Scene::new(|_| said(200, &[("age", "1000"), ("content-type", "application/json")], "{}"));
    let (given, source) = scene.fetch.evidence(&EvidenceName::Keys).await.unwrap();
    assert_eq!((given.body.as_str(), source), ("{}", Provenance::Home));
    let age = super::age(given.checked_ms);
    assert!(age >= Duration::from_secs(1000) && age < Duration::from_secs(1100), "{age:?}");
}
