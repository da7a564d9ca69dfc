//! Promise: what was warmed stays, whatever else comes, until its set is forgotten.

use std::time::Duration;

use harness::warm::{ask, lockfile, packages, registry, reported, run, text, through, warmed, within};
use harness::{Gateway, Package, Registry};
use serde_json::{Value, json};

/// For what takes a moment.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn sets_are_listed_and_forgotten_with_a_gateway_and_without() {
    let registry = registry();
    let (_folder, lockfile) = lockfile(&packages(), &registry, |_| {});
    let data = tempfile::tempdir().expect("a temporary folder");
    let warm = || Gateway::builder().upstream(registry.url()).data(data.path());
    assert_eq!(text(&ask(warm(), &["--list"]).stdout), "Nothing was warmed here.\n");
    for name in ["ours", "theirs"] {
        warmed(warm(), &lockfile, &["--name", name]);
    }
    // Each package is a tarball and a packument; the registry has its keys.
    let both = "ours: 81 items\ntheirs: 81 items\n";
    assert_eq!(text(&ask(warm(), &["--list"]).stdout), both);

    let gateway = warm().start();
    let asked = || through(&gateway, warm());
    assert_eq!(text(&ask(asked(), &["--list"]).stdout), both);
    assert!(ask(asked(), &["--forget", "ours"]).status.success());
    assert_eq!(ask(asked(), &["--forget", "ours"]).status.code(), Some(1));
    drop(gateway);

    let list = ask(warm(), &["--list", "--json"]);
    let list: Value = serde_json::from_slice(&list.stdout).expect("an object");
    assert_eq!(list, json!({"sets": [{"name": "theirs", "items": 81}]}));
    assert!(ask(warm(), &["--forget", "theirs"]).status.success());
    assert_eq!(text(&ask(warm(), &["--list"]).stdout), "Nothing was warmed here.\n");
}

#[test]
fn what_was_warmed_is_not_evicted_until_it_is_forgotten() {
    let big = |prefix: &str, number: usize| {
        Package::new(&format!("{prefix}{number}")).version("1.0.0", |v| v.size(2_000_000))
    };
    let many = |prefix: &str, count: usize| (0..count).map(|n| big(prefix, n)).collect::<Vec<_>>();
    let (ours, others) = (many("ours", 10), many("other", 30));
    let registry = Registry::builder().packages([&ours[..], &others[..]].concat()).start();
    let (_folder, lockfile) = lockfile(&ours, &registry, |_| {});
    let data = tempfile::tempdir().expect("a temporary folder");
    let config = "[store]\nmax_bytes = \"MOST\"\nmin_free = \"1MiB\"\n".replace("MOST", MOST);
    let warm = || Gateway::builder().upstream(registry.url()).data(data.path()).config_toml(&config);
    let gateway = warm().start();
    let name = ["--name", "ours"];
    let report = warmed(through(&gateway, warm()), &lockfile, &name);
    assert_eq!(report["unpinned"], Value::Null, "{report}");

    let get = |package: &Package| {
        let path = package.at("1.0.0").tarball_path();
        assert_eq!(harness::http::get(&format!("{}{path}", gateway.url())).status, 200);
    };
    let held = |packages: &[Package]| {
        packages
            .iter()
            .filter(|package| harness::disk::blob(data.path(), package.at("1.0.0")).exists())
            .count()
    };
    for _ in 0..3 {
        others.iter().for_each(get);
    }
    assert!(within(PATIENCE, || held(&others) < 30), "nothing was evicted at all");
    assert_eq!(held(&ours), 10);

    assert!(ask(through(&gateway, warm()), &["--forget", "ours"]).status.success());
    let gone = || {
        others.iter().for_each(get);
        held(&ours) < 10
    };
    assert!(within(PATIENCE, gone), "what was forgotten is never evicted");
}

#[test]
fn what_was_evicted_again_during_the_warm_up_is_reported_as_missing() {
    let many: Vec<_> =
        (0..20).map(|n| Package::new(&format!("big{n}")).version("1.0.0", |v| v.size(5_000_000))).collect();
    let registry = Registry::builder().packages(many.clone()).start();
    let (_folder, lockfile) = lockfile(&many, &registry, |_| {});
    let data = tempfile::tempdir().expect("a temporary folder");
    let config = "[store]\nmax_bytes = \"MOST\"\nmin_free = \"1MiB\"\n".replace("MOST", MOST);
    let warm = Gateway::builder().upstream(registry.url()).data(data.path()).config_toml(&config);

    let output = run(warm, &lockfile, &["--json"]);

    let report = reported(&output);
    let missing = report["missing"].as_array().expect("a list");
    let held = many.iter().filter(|p| harness::disk::blob(data.path(), p.at("1.0.0")).exists()).count();
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert!(held < 20, "100 MB in 64 MiB");
    assert_eq!((missing.len(), &report["fetched"]), (20 - held, &json!(held)), "{report}");
    for one in missing {
        let why = one["why"].as_str().expect("a text");
        assert!(one["part"] == "tarball" && why.contains("store.max_bytes (64MiB) is too small"), "{one}");
    }
}

/// Room for what is warmed and for most of the others, but not for all.
const MOST: &str = "64MiB";

#[test]
fn a_lockfile_that_has_changed_keeps_what_it_needs_now() {
    let registry = registry();
    let data = tempfile::tempdir().expect("a temporary folder");
    let warm = || Gateway::builder().upstream(registry.url()).data(data.path());
    let (_one, all) = lockfile(&packages(), &registry, |_| {});
    warmed(warm(), &all, &["--name", "ours"]);
    let (_two, fewer) = lockfile(&packages()[..5], &registry, |_| {});
    warmed(warm(), &fewer, &["--name", "ours"]);
    assert_eq!(text(&ask(warm(), &["--list"]).stdout), "ours: 11 items\n");
}
