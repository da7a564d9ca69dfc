//! Promises about packuments.

use alloc::format;
use alloc::string::{String, ToString};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::client::TarballUrls;
use crate::integrity::{Expected, Integrity};
use crate::package::{FileName, PackageName};

fn at(base: &str) -> TarballUrls {
    TarballUrls::At(base.to_string())
}

fn name(name: &str) -> PackageName {
    PackageName::parse(name).unwrap()
}

fn left() -> String {
    let integrity = Integrity::of(b"left").to_string();
    json!({
        "_id": "left", "_rev": "7-abc", "name": "left", "description": "not right",
        "dist-tags": {"latest": "1.1.0", "next": "2.0.0-rc.1"},
        "versions": {
            "1.0.0": {"name": "left", "version": "1.0.0", "scripts": {"test": "x"}, "dist": {
                "shasum": "da39a3ee5e6b4b0d3255bfef95601890afd80709", "tarball": "http://up/left/-/left-1.0.0.tgz"}},
            "1.1.0": {"name": "left", "version": "1.1.0", "libc": ["glibc"], "scripts": {"postinstall": "x"},
                "_npmUser": {"name": "a"}, "dist": {"tarball": "http://up/left/-/left-1.1.0.tgz",
                "integrity": integrity, "signatures": [{"keyid": "SHA256:x", "sig": "MEUCIQ=="}],
                "attestations": {"url": "http://up/-/npm/v1/attestations/left@1.1.0"}}},
            "2.0.0-rc.1": {"name": "left", "version": "2.0.0-rc.1",
                "dist": {"integrity": "sha512-bad", "tarball": "http://up/odd/place/odd-name.tgz?x=1"}},
        },
        "time": {"created": "2020-01-01T00:00:00.000Z", "modified": "2021-01-01T00:00:00.000Z", "1.0.0": "2020-01-01T00:00:00.000Z"},
        "readme": "a \"quoted\" \\ readme with dist.tarball in it",
    })
    .to_string()
}

#[test]
fn a_full_packument_differs_from_upstreams_in_its_tarball_addresses_only() {
    let document = left();
    let outline = Outline::read(&name("left"), &document).unwrap();
    let mut expected: Value = serde_json::from_str(&document).unwrap();
    for (version, file) in
        [("1.0.0", "left-1.0.0.tgz"), ("1.1.0", "left-1.1.0.tgz"), ("2.0.0-rc.1", "odd-name.tgz")]
    {
        expected["versions"][version]["dist"]["tarball"] = json!(format!("http://me:6736/left/-/{file}"));
    }
    let rendered = full(&document, &outline, &at("http://me:6736"));
    assert_eq!(serde_json::from_str::<Value>(&rendered).unwrap(), expected);
    assert_eq!(
        rendered.replace("http://me:6736", "http://up"),
        document.replace("odd/place/odd-name.tgz?x=1", "left/-/odd-name.tgz")
    );
}

#[test]
fn omitted_addresses_leave_valid_json_wherever_they_stood() {
    let document = left();
    let outline = Outline::read(&name("left"), &document).unwrap();
    let mut expected: Value = serde_json::from_str(&document).unwrap();
    for version in ["1.0.0", "1.1.0", "2.0.0-rc.1"] {
        expected["versions"][version]["dist"].as_object_mut().unwrap().remove("tarball");
    }
    let rendered = full(&document, &outline, &TarballUrls::Omitted);
    assert_eq!(serde_json::from_str::<Value>(&rendered).unwrap(), expected);
}

#[test]
fn the_abbreviated_form_has_time_libc_and_the_trust_evidence() {
    let document = left();
    let outline = Outline::read(&name("left"), &document).unwrap();
    let rendered: Value =
        serde_json::from_str(&abbreviated(&document, &outline, &at("http://me")).unwrap()).unwrap();
    let source: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(rendered["time"], source["time"]);
    assert_eq!(rendered["modified"], "2021-01-01T00:00:00.000Z");
    let version = &rendered["versions"]["1.1.0"];
    assert_eq!(version["libc"], json!(["glibc"]));
    assert_eq!(version["hasInstallScript"], true);
    assert_eq!(version["dist"]["signatures"], source["versions"]["1.1.0"]["dist"]["signatures"]);
    assert_eq!(version["dist"]["attestations"], source["versions"]["1.1.0"]["dist"]["attestations"]);
    assert_eq!(version["dist"]["tarball"], "http://me/left/-/left-1.1.0.tgz");
    assert!(version.get("_npmUser").is_none() && version.get("scripts").is_none());
    assert!(rendered["versions"]["1.0.0"].get("hasInstallScript").is_none());
    assert!(rendered.get("readme").is_none());
}

#[test]
fn a_version_is_found_by_number_tag_and_file() {
    let document = left();
    let outline = Outline::read(&name("left"), &document).unwrap();
    assert_eq!(outline.release("latest").unwrap().version, "1.1.0");
    assert_eq!(outline.release("1.0.0").unwrap().version, "1.0.0");
    assert!(outline.release("^1").is_none());
    let odd = FileName::parse("odd-name.tgz").unwrap();
    assert_eq!(outline.release_of_file(&odd).unwrap().version, "2.0.0-rc.1");
    assert_eq!(outline.release("1.1.0").unwrap().expected, Some(Expected::Integrity(Integrity::of(b"left"))));
    assert!(matches!(outline.release("1.0.0").unwrap().expected, Some(Expected::Shasum(_))));
    assert_eq!(outline.release("next").unwrap().expected, None);
}

#[test]
fn another_packages_document_is_refused() {
    let refused = Outline::read(&name("right"), &left()).unwrap_err();
    assert_eq!(refused, InvalidPackument::OtherPackage { asked: name("right"), found: "left".to_string() });
    assert!(Outline::read(&name("right"), "{}").is_err());
}

#[test]
fn a_document_cut_anywhere_is_refused() {
    let document = left();
    for end in 0..document.len() {
        assert!(Outline::read(&name("left"), &document[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn an_unpublished_package_has_no_versions() {
    let document = r#"{"name":"left","time":{"unpublished":{"time":"2020-01-01T00:00:00.000Z"}}}"#;
    let outline = Outline::read(&name("left"), document).unwrap();
    assert!(outline.releases().is_empty());
    assert_eq!(full(document, &outline, &at("http://me")), document);
}

#[test]
fn an_upstream_without_modified_gets_the_time_of_its_latest_version() {
    let document =
        r#"{"name":"a","time":{"1.0.0":"2020-01-01T00:00:00.000Z","1.1.0":"2021-01-01T00:00:00.000Z"}}"#;
    assert_eq!(Outline::read(&name("a"), document).unwrap().modified(), Some("2021-01-01T00:00:00.000Z"));
}

#[test]
fn two_versions_never_share_a_file() {
    let document = r#"{"name":"a","versions":{"1.0.0":{"dist":{"tarball":"http://up/x/p.tgz"}},"2.0.0":{"dist":{"tarball":"http://up/y/p.tgz"}}}}"#;
    let outline = Outline::read(&name("a"), document).unwrap();
    let files: alloc::vec::Vec<_> = outline.releases().iter().map(|release| release.file.as_str()).collect();
    assert_eq!(files, ["p.tgz", "a-2.0.0.tgz"]);
}

#[test]
fn a_host_name_cannot_break_out_of_the_json() {
    let document = left();
    let outline = Outline::read(&name("left"), &document).unwrap();
    let rendered = full(&document, &outline, &at("http://x\",\"evil\":\""));
    let value: Value = serde_json::from_str(&rendered).unwrap();
    assert!(value["versions"]["1.1.0"]["dist"].get("evil").is_none());
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,6}", Just("tarball".to_string()), "[\"\\\\, :{}a-z]{1,6}", any::<String>()]
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<String>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        Just(Value::Null),
        Just(json!([{"tarball": ","}]))
    ]
}

proptest! {
    #[test]
    fn any_surroundings_of_an_address_survive_its_change_and_its_omission(
        before in proptest::collection::vec((key(), leaf()), 0..4),
        after in proptest::collection::vec((key(), leaf()), 0..4),
        pretty: bool,
    ) {
        let mut dist = serde_json::Map::new();
        let reserved = |key: &str| matches!(key, "tarball" | "integrity" | "shasum");
        dist.extend(before.into_iter().filter(|(key, _)| !reserved(key)));
        dist.insert("tarball".to_string(), json!("http://up/a/-/a-1.0.0.tgz"));
        dist.extend(after.into_iter().filter(|(key, _)| !reserved(key)));
        let value = json!({"name": "a", "versions": {"1.0.0": {"dist": dist}}});
        let document = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let outline = Outline::read(&name("a"), &document).unwrap();
        let mut expected = value.clone();
        expected["versions"]["1.0.0"]["dist"]["tarball"] = json!("http://me/a/-/a-1.0.0.tgz");
        prop_assert_eq!(&serde_json::from_str::<Value>(&full(&document, &outline, &at("http://me"))).unwrap(), &expected);
        expected["versions"]["1.0.0"]["dist"].as_object_mut().unwrap().remove("tarball");
        prop_assert_eq!(&serde_json::from_str::<Value>(&full(&document, &outline, &TarballUrls::Omitted)).unwrap(), &expected);
    }

    #[test]
    fn no_document_makes_reading_panic(document: String) {
        let _ = Outline::read(&name("a"), &document);
    }
}
