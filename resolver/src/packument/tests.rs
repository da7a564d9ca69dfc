//! Promises about packuments.

use alloc::format;
use alloc::string::{String, ToString};

use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::*;
use crate::client::TarballUrls;
use crate::integrity::{Expected, Integrity};
use crate::package::{FileName, PackageName};
use crate::variant::Form;

fn full(document: &str, outline: &Outline, urls: &TarballUrls) -> String {
    render_text(document, outline, &Form::Full, urls).unwrap()
}

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
    let rendered: Value = serde_json::from_str(
        &render_text(&document, &outline, &Form::Abbreviated, &at("http://me")).unwrap(),
    )
    .unwrap();
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

#[test]
fn a_member_that_stands_twice_is_refused_for_clients_would_take_the_other_one() {
    for document in [
        r#"{"name":"a","name":"a"}"#,
        r#"{"name":"a","time":{},"time":{}}"#,
        r#"{"name":"a","versions":{},"versions":{}}"#,
        r#"{"name":"a","versions":null,"versions":null}"#,
        r#"{"name":"a","versions":{"1.0.0":{},"1.0.0":{}}}"#,
        r#"{"name":"a","versions":{"1.0.0":{"dist":{},"dist":{}}}}"#,
    ] {
        assert!(Outline::read(&name("a"), document).is_err(), "{document}");
    }
}

#[test]
fn what_is_no_json_is_refused_wherever_it_stands() {
    for document in [
        "",
        "[]",
        "null",
        "{\"name\":\"a\"}x",
        "{\"name\":\"a\",}",
        "{\"name\":\"a\" \"x\":1}",
        "{\"name\":\"a\",\"x\":}",
        "{\"name\":\"a\",\"x\":01}",
        "{\"name\":\"a\",\"x\":[1,]}",
        "{\"name\":\"a\",\"x\":{]}",
        "{\"name\":\"a\",\"x\":\"\u{1}\"}",
        "{\"name\":\"a\",\"x\":tru}",
        "{\"name\":\"a\",\"versions\":[]}",
        "{\"name\":\"a\",\"versions\":{\"1.0.0\":[]}}",
        "{\"name\":\"a\",\"versions\":{\"1.0.0\":{\"dist\":[1]}}}",
        "{\"name\":\"a\",\"versions\":{\"1.0.0\":}}",
        "{\"name\":\"a\",\"versions\":{\"1.0.0\":{}},}",
        "{name:\"a\"}",
        "{\"name\":\"a\"}}",
        "\u{feff}{\"name\":\"a\"}",
    ] {
        assert!(Outline::read(&name("a"), document).is_err(), "{document}");
    }
    let mut reader = Reader::new(&name("a"));
    assert!(reader.feed(b"{\"name\":\"a\",\"x\":\"\xff\"}").is_err());
}

#[test]
fn a_bomb_of_brackets_is_refused_before_it_is_gathered() {
    let mut reader = Reader::new(&name("a"));
    reader.feed(b"{\"name\":\"a\",\"x\":").unwrap();
    assert!(reader.feed(&[b'['; 129]).is_err());
}

#[test]
fn a_value_longer_than_any_manifest_is_refused_and_not_gathered() {
    let mut reader = Reader::new(&name("a"));
    reader.feed(b"{\"name\":\"a\",\"readme\":\"").unwrap();
    let chunk = [b'x'; 1 << 20];
    assert_eq!((0..64).take_while(|_| reader.feed(&chunk).is_ok()).count(), 15);
}

#[test]
fn versions_without_a_time_are_counted() {
    let document =
        r#"{"name":"a","versions":{"1.0.0":{},"1.1.0":{}},"time":{"1.0.0":"2020-01-01T00:00:00.000Z"}}"#;
    assert_eq!(Outline::read(&name("a"), document).unwrap().undated(), 1);
    assert_eq!(Outline::read(&name("left"), &left()).unwrap().undated(), 2);
}

/// What the abbreviated form is, said in the plainest way.
fn abbreviated_plainly(packument: &Value, base: &str) -> Value {
    let kept = [
        "name",
        "version",
        "deprecated",
        "dependencies",
        "acceptDependencies",
        "devDependencies",
        "optionalDependencies",
        "bundleDependencies",
        "bundledDependencies",
        "peerDependencies",
        "peerDependenciesMeta",
        "bin",
        "directories",
        "dist",
        "engines",
        "cpu",
        "os",
        "libc",
        "funding",
        "_hasShrinkwrap",
    ];
    let mut plain = json!({"name": packument["name"], "dist-tags": packument["dist-tags"], "versions": {}});
    if let Some(time) = packument.get("time") {
        plain["time"] = time.clone();
        plain["modified"] = time["modified"].clone();
    }
    for (version, manifest) in packument["versions"].as_object().unwrap() {
        let mut short: serde_json::Map<_, _> = manifest.as_object().unwrap().clone();
        short.retain(|key, _| kept.contains(&key.as_str()));
        if short.get("dist").is_some_and(|dist| dist.get("tarball").is_some()) {
            short["dist"]["tarball"] = json!(format!("{base}/a/-/a-{version}.tgz"));
        }
        let scripts = manifest.get("scripts").and_then(Value::as_object);
        let runs = |scripts: &serde_json::Map<_, _>| {
            ["preinstall", "install", "postinstall"].iter().any(|s| scripts.contains_key(*s))
        };
        if scripts.is_some_and(runs) {
            short.insert("hasInstallScript".into(), json!(true));
        }
        plain["versions"][version] = short.into();
    }
    plain
}

fn full_plainly(packument: &Value, base: &str) -> Value {
    let mut plain = packument.clone();
    for (version, manifest) in plain["versions"].as_object_mut().unwrap() {
        if manifest.get("dist").is_some_and(|dist| dist.get("tarball").is_some()) {
            manifest["dist"]["tarball"] = json!(format!("{base}/a/-/a-{version}.tgz"));
        }
    }
    plain
}

fn manifests() -> impl Strategy<Value = Value> {
    let member = prop_oneof!["[a-z]{1,6}", Just("libc".to_string()), Just("os".to_string()), any::<String>()];
    let members = proptest::collection::vec((member, leaf()), 0..5);
    let scripts = prop_oneof![Just(json!({"test": "x"})), Just(json!({"postinstall": "x"})), Just(json!({}))];
    let dist = proptest::collection::vec((key(), leaf()), 0..3);
    (members, scripts, dist, any::<bool>()).prop_map(|(members, scripts, more, has_tarball)| {
        let reserved = |key: &str| {
            matches!(key, "dist" | "scripts" | "hasInstallScript" | "tarball" | "integrity" | "shasum")
        };
        let mut manifest: serde_json::Map<_, _> =
            members.into_iter().filter(|(key, _)| !reserved(key)).collect();
        let mut dist: serde_json::Map<_, _> = more.into_iter().filter(|(key, _)| !reserved(key)).collect();
        if has_tarball {
            dist.insert("tarball".into(), json!("http://up/x.tgz?y"));
        }
        manifest.insert("dist".into(), dist.into());
        manifest.insert("scripts".into(), scripts);
        manifest.into()
    })
}

fn packuments() -> impl Strategy<Value = Value> {
    let versions = proptest::collection::btree_map("[0-9]{1,2}\\.[0-9]\\.[0-9]", manifests(), 0..5);
    let others = proptest::collection::vec((key(), leaf()), 0..4);
    (versions, others, any::<bool>()).prop_map(|(versions, others, has_time)| {
        let times = versions.keys().map(|version| (version.clone(), json!("2020-01-01T00:00:00.000Z")));
        let times: serde_json::Map<_, _> =
            times.chain([("modified".to_string(), json!("2021-01-01T00:00:00.000Z"))]).collect();
        let reserved = |key: &str| matches!(key, "name" | "dist-tags" | "versions" | "time" | "modified");
        let mut packument: serde_json::Map<_, _> =
            others.into_iter().filter(|(key, _)| !reserved(key)).collect();
        let versions: serde_json::Map<_, _> = versions.into_iter().collect();
        packument.insert("dist-tags".into(), json!({"latest": versions.keys().next()}));
        if versions.is_empty() {
            packument.insert("dist-tags".into(), json!({}));
        }
        packument.insert("versions".into(), versions.into());
        packument.insert("name".into(), json!("a"));
        if has_time {
            packument.insert("time".into(), times.into());
        }
        packument.into()
    })
}

fn spelled(value: &Value, pretty: bool) -> String {
    if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) }.unwrap()
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
    fn both_forms_are_what_the_plainest_reading_of_the_document_gives(packument in packuments(), pretty: bool) {
        let document = spelled(&packument, pretty);
        let outline = Outline::read(&name("a"), &document).unwrap();
        let base = "http://me";
        let rendered = |form| -> Value { serde_json::from_str(&render_text(&document, &outline, &form, &at(base)).unwrap()).unwrap() };
        // A tarball's file is upstream's own name for it, unless two versions share it.
        let conventional = |mut value: Value| {
            for (version, manifest) in value["versions"].as_object_mut().unwrap() {
                if manifest["dist"].get("tarball").is_some() {
                    manifest["dist"]["tarball"] = json!(format!("{base}/a/-/a-{version}.tgz"));
                }
            }
            value
        };
        prop_assert_eq!(conventional(rendered(Form::Full)), full_plainly(&packument, base));
        prop_assert_eq!(conventional(rendered(Form::Abbreviated)), abbreviated_plainly(&packument, base));
    }

    #[test]
    fn it_does_not_matter_where_a_document_is_cut_into_chunks(packument in packuments(), pretty: bool, sizes in proptest::collection::vec(1usize..40, 1..20)) {
        let document = spelled(&packument, pretty);
        let mut reader = Reader::new(&name("a"));
        let (mut rest, mut sizes) = (document.as_bytes(), sizes.into_iter().cycle());
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(sizes.next().unwrap().min(rest.len()));
            reader.feed(chunk).unwrap();
            rest = after;
        }
        prop_assert_eq!(reader.finish().unwrap(), Outline::read(&name("a"), &document).unwrap());
    }

    #[test]
    fn what_is_read_as_a_packument_is_json_and_what_is_json_is_read(packument in packuments(), at: proptest::sample::Index, byte: u8) {
        let mut document = serde_json::to_vec(&packument).unwrap();
        let at = at.index(document.len());
        document[at] = byte;
        let mut reader = Reader::new(&name("a"));
        let read = reader.feed(&document).and_then(|()| reader.finish());
        // Read and not converted: 1e309 is JSON, though no number that fits anywhere.
        let is_json = str::from_utf8(&document).is_ok_and(|text| serde_json::from_str::<&RawValue>(text).is_ok());
        // One changed byte can make it another package's, or no packument, but never more than JSON is.
        prop_assert!(read.is_err() || is_json);
    }

    #[test]
    fn an_outline_survives_its_being_kept(packument in packuments()) {
        let outline = Outline::read(&name("a"), &packument.to_string()).unwrap();
        prop_assert_eq!(Outline::from_json(&outline.to_json()).unwrap(), outline);
    }

    #[test]
    fn no_kept_outline_makes_reading_panic(json: String) {
        let _ = Outline::from_json(&json);
    }

    #[test]
    fn no_document_makes_reading_panic(document: String) {
        let _ = Outline::read(&name("a"), &document);
    }
}
