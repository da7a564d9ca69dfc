use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::package::PackageName;
use crate::packument::{render_text, render_without};
use crate::variant::Form;

fn left() -> PackageName {
    PackageName::parse("left").unwrap()
}

fn document(versions: &[&str], space: &str, latest: &str) -> String {
    let manifest = |version: &&str| {
        format!(
            r#"{space}"{version}"{space}:{space}{{"name":"left","version":"{version}","x":[1,{{}}],"dist":{{"tarball":"https://r/left/-/left-{version}.tgz","shasum":"{}"}}}}"#,
            "a".repeat(40)
        )
    };
    let all: Vec<_> = versions.iter().map(manifest).collect();
    let all = all.join(&format!("{space},"));
    format!(
        r#"{{"_id":"left","name":"left","dist-tags":{{"latest":"{latest}","old":"0.0.1"}},"versions":{{{all}{space}}},"time":{{"{latest}":"2020"}},"readme":"\u00e9"}}"#
    )
}

fn without(document: &str, form: &Form, urls: &TarballUrls, hidden: &[String]) -> Option<Value> {
    let outline = Outline::read(&left(), document).unwrap();
    let mut rendered = Vec::new();
    let mut out = |piece: &[u8]| -> Result<(), Infallible> {
        rendered.extend_from_slice(piece);
        Ok(())
    };
    let Ok(found) = render_without(&mut &*document, &outline, form, urls, hidden, &mut out);
    found.then(|| serde_json::from_slice(&rendered).unwrap())
}

fn urls() -> TarballUrls {
    TarballUrls::At("http://gateway".into())
}

#[test]
fn what_is_hidden_is_in_no_form_and_all_else_is_as_it_was() {
    let versions = ["0.9.0", "1.0.0", "2.0.0-rc.1", "1.10.0", "1.9.0"];
    let document = document(&versions, " ", "1.10.0");
    for form in [Form::Full, Form::Abbreviated] {
        let outline = Outline::read(&left(), &document).unwrap();
        let all = render_text(&document, &outline, &form, &urls()).unwrap();
        let mut expected: Value = serde_json::from_str(&all).unwrap();
        expected["versions"].as_object_mut().unwrap().remove("1.10.0");
        expected["dist-tags"]["latest"] = "1.9.0".into();
        assert_eq!(without(&document, &form, &urls(), &["1.10.0".into()]).unwrap(), expected);
    }
    let of = |version: &str| without(&document, &Form::Manifest(version.into()), &urls(), &["1.10.0".into()]);
    assert!(of("1.10.0").is_none() && of("latest").is_none());
    assert_eq!(of("1.9.0").unwrap()["version"], "1.9.0");
}

#[test]
fn a_tag_of_what_is_hidden_goes_and_latest_leads_to_the_highest_that_is_left() {
    let document = document(&["0.0.1", "1.0.0", "2.0.0-rc.1"], "", "1.0.0");
    let hide = |hidden: &[&str]| {
        let hidden: Vec<_> = hidden.iter().map(ToString::to_string).collect();
        without(&document, &Form::Full, &TarballUrls::Omitted, &hidden).unwrap()
    };
    assert_eq!(hide(&["0.0.1"])["dist-tags"], serde_json::json!({"latest": "1.0.0"}));
    assert_eq!(hide(&["0.0.1", "1.0.0"])["dist-tags"], serde_json::json!({"latest": "2.0.0-rc.1"}));
    let nothing = hide(&["0.0.1", "1.0.0", "2.0.0-rc.1"]);
    assert_eq!(
        (&nothing["dist-tags"], &nothing["versions"]),
        (&serde_json::json!({}), &serde_json::json!({}))
    );
    assert_eq!(nothing["readme"], "\u{e9}");
}

proptest! {
    #[test]
    fn whatever_is_hidden_the_full_form_is_json_without_it(
        count in 0usize..6,
        hidden in prop::collection::btree_set(0usize..6, 1..4),
        space in "[ \n]{0,2}",
        omitted in any::<bool>(),
    ) {
        let versions: Vec<String> = (0..count).map(|nth| format!("{nth}.0.0")).collect();
        let names: Vec<&str> = versions.iter().map(String::as_str).collect();
        let document = document(&names, &space, "9.0.0");
        let hidden: Vec<String> = hidden.iter().map(|nth| format!("{nth}.0.0")).collect();
        let urls = if omitted { TarballUrls::Omitted } else { urls() };
        let outline = Outline::read(&left(), &document).unwrap();
        let all = render_text(&document, &outline, &Form::Full, &urls).unwrap();
        let mut expected: Value = serde_json::from_str(&all).unwrap();
        expected["versions"].as_object_mut().unwrap().retain(|version, _| !hidden.contains(version));
        prop_assert_eq!(without(&document, &Form::Full, &urls, &hidden), Some(expected));
    }
}

#[test]
fn a_document_that_is_not_the_outlines_is_said_to_be_none() {
    let document = document(&["1.0.0"], "", "1.0.0");
    let outline = Outline::read(&left(), &document).unwrap();
    let other = document.replace(":{\"1.0.0", ":}\"1.0.0");
    let mut out = |_: &[u8]| -> Result<(), Infallible> { Ok(()) };
    let hidden = vec!["1.0.0".into()];
    let Ok(found) = render_without(&mut &*other, &outline, &Form::Full, &urls(), &hidden, &mut out);
    assert!(!found);
}
