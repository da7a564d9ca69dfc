//! Promise: after `open-registry warm <lockfile>` the project installs with the registry unplugged; what cannot be had
//! is named, with the reason; and whatever interrupts it, nothing that has come is lost.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::clients::{Mode, World, assert_same_packages};
use harness::http::Request;
use harness::warm::{command, lockfile, packages, registry, reported, run, text, through, warmed, within};
use harness::{Client, Fault, Gateway, Matcher, Package, Registry, Times};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

/// For what takes a moment.
const PATIENCE: Duration = Duration::from_secs(60);

/// One test per client, so that each fails for itself.
macro_rules! promises {
    ($($test:ident: $client:ident,)*) => {$(
        #[test]
        fn $test() {
            installs_offline(stringify!($test), Client::$client);
        }
    )*};
}

promises! {
    npm_8_installs_offline_what_its_lockfile_was_warmed_for: Npm8,
    npm_10_installs_offline_what_its_lockfile_was_warmed_for: Npm10,
    npm_12_installs_offline_what_its_lockfile_was_warmed_for: Npm12,
    yarn_1_installs_offline_what_its_lockfile_was_warmed_for: Yarn1,
    yarn_4_installs_offline_what_its_lockfile_was_warmed_for: Yarn4,
    pnpm_10_installs_offline_what_its_lockfile_was_warmed_for: Pnpm10,
    pnpm_11_installs_offline_what_its_lockfile_was_warmed_for: Pnpm11,
    pnpm_12_installs_offline_what_its_lockfile_was_warmed_for: Pnpm12,
    bun_installs_offline_what_its_lockfile_was_warmed_for: Bun,
}

/// Warmed without a gateway; looked at once more through a running one, with the registry off; installed.
fn installs_offline(test: &str, client: Client) {
    World::enter(test, client, |world| {
        let straight = world.checkout("straight");
        let first = client.install(&straight, &world.straight(), Mode::Cold).expect_success();
        client.install(&straight, &world.straight(), Mode::Frozen).expect_success();
        let lockfile = straight.directory().join(client.lockfile());
        world.registry.reset_log();

        let data = tempfile::tempdir().expect("a temporary folder");
        let warm = || world.gateway_builder().data(data.path());
        let report = warmed(warm(), &lockfile, &[]);
        assert_eq!((&report["missing"], &report["complete"]), (&json!([]), &json!(true)), "{report}");
        assert_eq!(report["fetched"], report["packages"], "{report}");
        world.assert_only_the_gateway_asked();
        world.assert_no_tarball_was_asked_for_twice();

        world.registry.switch_off();
        let gateway = warm().start();
        let again = warmed(through(&gateway, warm()), &lockfile, &[]);
        assert_eq!((&again["missing"], &again["held"]), (&json!([]), &report["packages"]), "{again}");

        let colleague = world.checkout("colleague");
        colleague.lock(client, to_share(client, &first.locked()).as_bytes());
        client.install(&colleague, &world.through(&gateway), Mode::Frozen).expect_success();
        assert_same_packages(&colleague.installed(), &straight.installed());
    });
}

/// yarn 1 goes where its lockfile says; without addresses it asks the registry that is configured.
fn to_share(client: Client, lockfile: &str) -> String {
    let addresses = |line: &&str| client == Client::Yarn1 && line.starts_with("  resolved ");
    lockfile.lines().filter(|line| !addresses(line)).map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_running_gateway_fetches_for_the_command() {
    let registry = registry();
    let (_folder, lockfile) = lockfile(&packages(), &registry, |_| {});
    let data = tempfile::tempdir().expect("a temporary folder");
    let warm = || Gateway::builder().upstream(registry.url()).data(data.path());
    let gateway = warm().start();

    let report = warmed(through(&gateway, warm()), &lockfile, &[]);

    assert_eq!((&report["fetched"], &report["held"]), (&json!(40), &json!(0)), "{report}");
    assert_eq!(report["bytes"], json!(packages().iter().map(|p| p.at("1.0.0").tarball.len()).sum::<usize>()));
    registry.switch_off();
    for package in packages() {
        let release = package.at("1.0.0");
        let reply = harness::http::get(&format!("{}{}", gateway.url(), release.tarball_path()));
        assert_eq!((reply.status, &reply.body), (200, &release.tarball), "{}", release.name);
    }
}

#[test]
fn a_gateway_with_another_data_directory_is_left_alone() {
    let registry = registry();
    let (_folder, lockfile) = lockfile(&packages(), &registry, |_| {});
    let [its, ours] = [(), ()].map(|()| tempfile::tempdir().expect("a temporary folder"));
    let gateway = Gateway::builder().upstream(registry.url()).data(its.path()).start();

    let warm = Gateway::builder().upstream(registry.url()).data(ours.path());
    warmed(through(&gateway, warm), &lockfile, &[]);

    assert_eq!(harness::disk::blobs(its.path()).len(), 0);
    assert_eq!(harness::disk::blobs(ours.path()).len(), 40);
}

#[test]
fn without_a_named_directory_the_running_gateway_is_the_right_one() {
    let registry = registry();
    let (folder, lockfile) = lockfile(&packages(), &registry, |_| {});
    let gateway = Gateway::builder().upstream(registry.url()).start();

    let mut command = Command::new(harness::binary());
    let operator = gateway.operator_url().replace("http://", "");
    command.env_clear().env("HOME", folder.path()).env("OPEN_REGISTRY_OPERATOR__LISTEN", operator);
    command.env("OPEN_REGISTRY_UPSTREAM__URL", registry.url()).arg("warm").arg(&lockfile);
    let output = command.stdin(Stdio::null()).output().expect("the program");

    let said = text(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(
        said.contains("0 were here, 40 fetched") && said.contains("installs without a connection"),
        "{said}"
    );
    assert_eq!(harness::disk::blobs(gateway.data()).len(), 40);
}

#[test]
fn a_moment_of_trouble_costs_nothing() {
    let registry = registry();
    // Each befalls another one: nobody asks for ever.
    for name in ["p1", "p2", "p3"] {
        registry.fault(Matcher::package(name), 1, Fault::Status(503));
    }
    for name in ["p4", "p5", "p6"] {
        registry.fault(Matcher::path(&format!("/{name}/-/{name}-1.0.0.tgz")), 1, Fault::CutAfter(500));
    }
    registry.fault(Matcher::path("/-/npm/v1/keys"), 1, Fault::Reset);
    let (_folder, lockfile) = lockfile(&packages(), &registry, |_| {});
    let report = warmed(Gateway::builder().upstream(registry.url()), &lockfile, &[]);
    assert_eq!(report["fetched"], json!(40), "{report}");
}

#[test]
fn a_gateway_that_cannot_be_asked_is_named_in_the_error() {
    let registry = registry();
    let (_folder, lockfile) = lockfile(&packages(), &registry, |_| {});
    let data = tempfile::tempdir().expect("a temporary folder");
    let warm = || Gateway::builder().upstream(registry.url()).data(data.path()).without_operator();
    let _gateway = warm().start();

    let output = run(warm(), &lockfile, &[]);

    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("in use by a gateway") && said.contains("[operator]"), "{said}");
}

#[test]
fn an_interrupted_warm_up_keeps_what_has_come_and_goes_on_from_there() {
    for by_gateway in [false, true] {
        let registry = registry();
        let (_folder, lockfile) = lockfile(&packages(), &registry, |_| {});
        let data = tempfile::tempdir().expect("a temporary folder");
        let warm = || Gateway::builder().upstream(registry.url()).data(data.path());
        let gateway = by_gateway.then(|| warm().start());
        let warm = || gateway.iter().fold(warm(), |warm, gateway| through(gateway, warm));
        for number in 30..40 {
            let stuck = format!("/p{number}/-/p{number}-1.0.0.tgz");
            registry.fault(Matcher::path(&stuck), Times::Always, Fault::NeverAnswer);
        }

        let (mut command, _surroundings) = command(warm(), &lockfile, &[]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program");
        let come = || harness::disk::blobs(data.path()).len() == 30;
        assert!(registry.wait_until(|all| all.iter().filter(|r| r.is_tarball()).count() == 40, PATIENCE));
        assert!(within(PATIENCE, come), "what can come has not come");
        kill(Pid::from_raw(i32::try_from(child.id()).expect("a process id")), Signal::SIGINT)
            .expect("a signal");
        let output = child.wait_with_output().expect("the end of a child");

        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(130), "{output:?}");
        assert!(said.contains("40 packages") && said.contains("Stopped."), "{said}");
        registry.clear_faults();
        registry.reset_log();
        let report = warmed(warm(), &lockfile, &[]);
        assert_eq!((&report["held"], &report["fetched"]), (&json!(30), &json!(10)), "{report}");
        for number in 0..30 {
            let held = format!("/p{number}/-/p{number}-1.0.0.tgz");
            assert_eq!(registry.requests_to(&held), 0, "{held} was fetched again");
        }
    }
}

#[test]
fn a_wrong_digest_in_the_lockfile_is_reported_and_the_others_go_on() {
    let registry = registry();
    let other = packages()[1].at("1.0.0").integrity.clone();
    let (_folder, lockfile) = lockfile(&packages(), &registry, |locked| {
        locked["node_modules/p0"]["integrity"] = json!(other);
    });

    let warm = || Gateway::builder().upstream(registry.url());
    let report = reported(&run(warm(), &lockfile, &["--json"]));

    let missing = report["missing"].as_array().expect("a list").clone();
    assert_eq!((missing.len(), &report["fetched"]), (1, &json!(39)), "{report}");
    assert_eq!((&missing[0]["package"], &missing[0]["part"]), (&json!("p0@1.0.0"), &json!("tarball")));
    let why = missing[0]["why"].as_str().expect("a text");
    assert!(why.contains("the lockfile says sha512-") && why.contains("upstream has sha512-"), "{why}");
    let output = run(warm(), &lockfile, &[]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("missing: p0@1.0.0, its tarball: the lockfile says"), "{said}");
}

#[test]
fn a_tampered_tarball_is_reported_and_not_kept() {
    let registry = registry();
    registry.fault(Matcher::path("/p0/-/p0-1.0.0.tgz"), Times::Always, Fault::Corrupt);
    let (_folder, lockfile) = lockfile(&packages()[..2], &registry, |_| {});
    let data = tempfile::tempdir().expect("a temporary folder");

    let warm = Gateway::builder().upstream(registry.url()).data(data.path());
    let report = reported(&run(warm, &lockfile, &["--json"]));

    assert_eq!(report["missing"][0]["package"], json!("p0@1.0.0"), "{report}");
    assert_eq!(report["fetched"], json!(1), "{report}");
    assert_eq!(harness::disk::unsound(data.path()), Vec::<PathBuf>::new());
    assert_eq!(harness::disk::blobs(data.path()).len(), 1);
}

#[test]
fn what_upstream_does_not_have_is_named() {
    let registry = registry();
    let gone = Package::new("gone").version("1.0.0", |v| v);
    let old = Package::new("p1").version("0.9.0", |v| v);
    let (_folder, lockfile) = lockfile(&[gone, old, packages().remove(0)], &registry, |locked| {
        locked["node_modules/gone"]["optional"] = json!(true);
    });

    let report = reported(&run(Gateway::builder().upstream(registry.url()), &lockfile, &["--json"]));

    let missing: Vec<_> = report["missing"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| {
            (
                one["package"].as_str().expect("a name"),
                one["part"].as_str().expect("a part"),
                one["optional"] == true,
            )
        })
        .collect();
    let all = [("gone@1.0.0", "metadata and tarball", true), ("p1@0.9.0", "tarball", false)];
    assert_eq!(missing, all, "{report}");
}

#[test]
fn offline_it_says_what_is_missing_and_asks_nobody() {
    let registry = registry();
    let data = tempfile::tempdir().expect("a temporary folder");
    let warm = || Gateway::builder().upstream(registry.url()).data(data.path());
    let (_one, half) = lockfile(&packages()[..20], &registry, |_| {});
    warmed(warm(), &half, &[]);
    registry.reset_log();
    let (_two, all) = lockfile(&packages(), &registry, |_| {});

    let gateway = warm().start();
    for command in [through(&gateway, warm()), through(&gateway, warm())] {
        let output = run(command.offline(), &all, &["--json"]);
        let report = reported(&output);
        assert_eq!(output.status.code(), Some(1), "{report}");
        assert_eq!(report["held"], json!(20), "{report}");
        assert_eq!(report["missing"].as_array().map(Vec::len), Some(20), "{report}");
    }
    drop(gateway);
    let report = reported(&run(warm().offline(), &all, &["--json"]));
    assert_eq!(report["held"], json!(20), "{report}");
    let asked = registry.requests().into_iter().filter(|r| r.is_packument() || r.is_tarball()).count();
    assert_eq!(asked, 0, "somebody was asked");
}

#[test]
fn private_scopes_are_left_out_and_never_asked_for() {
    let secret = Package::new("@acme/plans").version("1.0.0", |v| v);
    let registry = Registry::builder().packages(packages()).package(secret.clone()).start();
    let (_folder, lockfile) = lockfile(&[secret, packages().remove(0)], &registry, |_| {});
    let data = tempfile::tempdir().expect("a temporary folder");
    let warm = || {
        let config = "[private]\nscopes = [\"@acme\"]\n";
        Gateway::builder().upstream(registry.url()).data(data.path()).config_toml(config)
    };
    let alone = warmed(warm(), &lockfile, &[]);
    let gateway = warm().start();
    let asked = warmed(through(&gateway, warm()), &lockfile, &[]);
    for report in [alone, asked] {
        assert_eq!(report["left_out"][0]["package"], json!("@acme/plans@1.0.0"), "{report}");
        assert_eq!(report["packages"], json!(1), "{report}");
    }
    assert!(registry.requests().iter().all(|request| !request.path.contains("acme")));
}

#[test]
fn a_warm_up_that_takes_nothing_is_not_a_success() {
    let secret = Package::new("@acme/plans").version("1.0.0", |v| v);
    let registry = registry();
    let (_folder, lockfile) = lockfile(&[secret], &registry, |_| {});
    let config = "[private]\nscopes = [\"@acme\"]\n";
    let warm = || Gateway::builder().upstream(registry.url()).config_toml(config);

    let output = run(warm(), &lockfile, &[]);

    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("left out: @acme/plans@1.0.0") && said.contains("Nothing was taken"), "{said}");
}

#[test]
fn the_same_set_is_warmed_once_at_a_time() {
    let registry = registry();
    registry.fault(Matcher::Tarballs, Times::Always, Fault::NeverAnswer);
    let (_folder, lockfile) = lockfile(&packages(), &registry, |_| {});
    let data = tempfile::tempdir().expect("a temporary folder");
    let warm = || Gateway::builder().upstream(registry.url()).data(data.path());
    let gateway = warm().start();
    let (mut command, _surroundings) = command(through(&gateway, warm()), &lockfile, &["--name", "ours"]);
    let mut first = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program");
    assert!(registry.wait_until(|all| all.iter().any(harness::Recorded::is_tarball), PATIENCE));

    let second = run(through(&gateway, warm()), &lockfile, &["--name", "ours"]);

    let said = text(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("ours is being warmed already"), "{said}");
    first.kill().expect("a child");
    first.wait().expect("the end of a child");
    registry.clear_faults();
    let again = || run(through(&gateway, warm()), &lockfile, &["--name", "ours"]).status.success();
    assert!(within(PATIENCE, again), "the name is never free again");
}

#[test]
fn a_page_in_a_browser_cannot_make_the_gateway_fetch() {
    let registry = registry();
    let gateway = Gateway::builder().upstream(registry.url()).start();
    let order = json!({"place": null, "name": "evil", "fetch": true, "attestations": false,
        "needs": [{"package": "p0", "version": "1.0.0"}]});
    let post = || Request::new("POST", &format!("{}/warm", gateway.operator_url())).body(order.to_string());
    let json = |request: Request| request.header("content-type", "application/json");
    for (request, status) in [
        (post(), 415),
        (post().header("content-type", "text/plain"), 415),
        (json(post()).header("origin", "https://evil.example"), 403),
        (json(post()).body("{}"), 400),
        (json(Request::new("GET", &format!("{}/warm", gateway.operator_url()))), 404),
    ] {
        assert_eq!(request.send().status, status);
    }
    assert_eq!(registry.requests_to("/p0"), 0);
    let reply = json(post()).send();
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(registry.requests_to("/p0"), 1);
}

#[test]
fn help_shows_an_example() {
    let (mut command, _surroundings) = Gateway::builder().flag("warm").flag("--help").command();
    let said = text(&command.output().expect("the program").stdout);
    assert!(said.contains("open-registry warm ~/app/package-lock.json"), "{said}");
}

#[test]
fn a_bad_lockfile_is_refused_with_its_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("package-lock.json");
    for (contents, words) in
        [("{\n  \"lockfileVersion\": 3,\n  oops\n}", "line 3"), ("hello", "none of the lockfiles")]
    {
        std::fs::write(&path, contents).expect("a file");
        let output = run(Gateway::builder(), &path, &[]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("package-lock.json") && said.contains(words), "{said}");
    }
    let output = run(Gateway::builder(), &folder.path().join("nothing"), &[]);
    assert!(text(&output.stderr).contains("cannot read"), "{output:?}");
}
