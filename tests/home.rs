//! Promise: a gateway without any way to upstream that names another one as its home serves everything through that one;
//! each serves what it holds whoever else is gone; and nobody but home counts as home.
//!
//! All on loopback, and nothing is looked for.

#![allow(clippy::unwrap_used, reason = "in a test, also outside of its function, a panic is a failure")]

use std::time::Duration;

use harness::clients::{Mode, World, assert_same_lines, assert_same_packages};
use harness::http::{self, Reply, Request};
use harness::{
    Client, Gateway, GatewayBuilder, Identity, Package, Registry, VersionBuilder, free_port, until,
};
use serde_json::json;

/// Nobody listens there: whoever has this for upstream has no way to it.
const NOWHERE: &str = "http://127.0.0.1:9";
const BULK: &str = "/-/npm/v1/security/advisories/bulk";
/// A client that is told at once what is wrong has started and ended by then, also on a busy machine.
const SOON: Duration = Duration::from_secs(20);
/// Everything is asked for again at once.
const DOUBTING: &str = "[upstream]\nfresh = \"0s\"\nstale = \"0s\"\n";

fn registry() -> Registry {
    Registry::builder()
        .package(Package::new("left").version("1.0.0", VersionBuilder::attested))
        .package(Package::new("right").version("1.0.0", |v| v))
        .package(Package::new("large").version("1.0.0", |v| v.size(17 << 20)))
        .start()
}

/// One that has peers and looks for nobody, with further lines before and in its `[federation]`.
fn gateway(before: &str, federation: &str) -> GatewayBuilder {
    let config = format!("{before}[federation]\ndiscover = false\n{federation}\n");
    Gateway::builder().peers_at("127.0.0.1:0").config_toml(&config)
}

fn follower_of(contact: &str, upstream: &str, before: &str) -> Gateway {
    gateway(before, "").upstream(upstream).flag("--federate").flag(contact).start()
}

fn follower(home: &Gateway) -> Gateway {
    await_home(follower_of(&home.contact(), NOWHERE, ""))
}

/// The same gateway, once upstream is asked through its home.
fn await_home(follower: Gateway) -> Gateway {
    until(|| follower.status(), |status| status["home"]["serves"] == true);
    follower
}

fn get(gateway: &Gateway, path: &str) -> Reply {
    http::get(&format!("{}{path}", gateway.url()))
}

#[test]
fn everything_that_clients_ask_for_comes_through_home() {
    let registry = registry();
    let home = gateway("", "").upstream(registry.url()).start();
    let follower = follower(&home);
    for path in [
        "/left",
        "/left/1.0.0",
        "/left/latest",
        "/left/-/left-1.0.0.tgz",
        "/large/-/large-1.0.0.tgz",
        "/-/npm/v1/keys",
        "/-/npm/v1/attestations/left@1.0.0",
        "/-/npm/v1/attestations/right@1.0.0",
        "/-/v1/search?text=left&size=20",
        "/-/package/left/dist-tags",
        "/not-there",
    ] {
        let (ours, theirs) = (get(&follower, path), get(&home, path));
        assert_eq!(ours.status, theirs.status, "{path}: {}", ours.text());
        let same = |gateway: &Gateway, reply: &Reply| {
            String::from_utf8_lossy(&reply.decoded()).replace(&gateway.url(), "gateway")
        };
        assert!(same(&follower, &ours) == same(&home, &theirs), "{path}");
    }
    let question = json!({"left": ["1.0.0"]});
    let [ours, theirs] =
        [&follower, &home].map(|gateway| http::post(&format!("{}{BULK}", gateway.url()), &question));
    assert_eq!((ours.status, ours.text()), (theirs.status, theirs.text()));
    assert_eq!(theirs.status, 200);
    let of_home = follower.metric("open_registry_http_requests_total", &[("source", "home")]);
    assert!(of_home >= 5.0, "{of_home} answers came by home");
    assert_eq!(follower.status()["home"]["cause"], json!(null));
}

#[test]
fn what_was_seen_is_confirmed_without_its_body_and_a_change_is_seen() {
    let registry = registry();
    let home = gateway(DOUBTING, "").upstream(registry.url()).start();
    let follower = await_home(follower_of(&home.contact(), NOWHERE, DOUBTING));
    assert_eq!(get(&follower, "/left").status, 200);
    let sent = || {
        home.metric(
            "open_registry_http_requests_total",
            &[("route", "peer_home"), ("outcome", "not_modified")],
        )
    };
    let before = sent();
    assert_eq!(get(&follower, "/left").status, 200);
    assert!(sent() > before, "home confirms what its follower has");
    registry.publish(Package::new("left").version("1.0.0", |v| v).version("1.1.0", |v| v));
    until(|| get(&follower, "/left").text(), |text| text.contains("1.1.0"));
    assert_eq!(get(&follower, "/left/-/left-1.1.0.tgz").status, 200);
}

#[test]
fn a_version_that_was_published_just_now_is_found_although_home_is_fresh() {
    let registry = registry();
    let home = gateway("", "").upstream(registry.url()).start();
    assert_eq!(get(&home, "/left").status, 200);
    let follower = follower(&home);
    registry.publish(Package::new("left").version("1.0.0", |v| v).version("1.1.0", |v| v));
    assert_eq!(get(&follower, "/left/-/left-1.1.0.tgz").status, 200);
    assert_eq!(get(&follower, "/left/1.1.0").status, 200);
}

#[test]
fn whatever_is_gone_what_is_held_is_served_and_a_return_is_noticed() {
    let registry = registry();
    let mut home = gateway(DOUBTING, "")
        .upstream(registry.url())
        .peers_at(&format!("127.0.0.1:{}", free_port()))
        .start();
    let follower = await_home(follower_of(&home.contact(), NOWHERE, DOUBTING));
    assert_eq!(get(&home, "/right").status, 200);
    assert_eq!(get(&home, "/right/-/right-1.0.0.tgz").status, 200);
    for path in ["/left", "/left/-/left-1.0.0.tgz"] {
        assert_eq!(get(&follower, path).status, 200);
    }

    registry.switch_off();
    for path in ["/right", "/right/-/right-1.0.0.tgz", "/left", "/left/-/left-1.0.0.tgz"] {
        let reply = get(&follower, path);
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    }
    let missing = get(&follower, "/large");
    assert_eq!(missing.status, 503, "nobody can say that there is none");
    registry.switch_on();

    home.kill();
    for path in ["/right", "/left", "/left/-/left-1.0.0.tgz"] {
        assert_eq!(get(&follower, path).status, 200, "{path}");
    }
    until(|| follower.status(), |status| status["home"]["serves"] == false);
    assert_eq!(get(&follower, "/large").status, 503);

    home.restart();
    await_home(follower).metric("open_registry_upstream_up", &[]);
}

#[test]
fn who_has_a_way_of_its_own_goes_it_when_home_is_gone_and_returns() {
    let registry = registry();
    let mut home =
        gateway("", "").upstream(registry.url()).peers_at(&format!("127.0.0.1:{}", free_port())).start();
    let follower = await_home(follower_of(&home.contact(), registry.url(), ""));
    assert_eq!(get(&follower, "/left").status, 200);
    let directly = || follower.metric("open_registry_http_requests_total", &[("source", "upstream")]);
    assert!(directly() < 1.0);
    home.kill();
    assert_eq!(get(&follower, "/right").status, 200);
    assert!(directly() >= 1.0, "it was asked directly");
    home.restart();
    let follower = await_home(follower);
    assert_eq!(get(&follower, "/large").status, 200);
    let through = follower.metric("open_registry_http_requests_total", &[("source", "home")]);
    assert!(through >= 2.0, "{through}");
}

#[test]
fn homes_in_a_row_serve_the_last_and_homes_in_a_circle_say_what_is_wrong() {
    let registry = registry();
    let first = gateway("", "").upstream(registry.url()).start();
    let second = follower(&first);
    let third = follower(&second);
    assert_eq!(get(&third, "/left/-/left-1.0.0.tgz").status, 200);
    assert_eq!(get(&third, "/left").status, 200);

    let identities = [Identity::new(), Identity::new()];
    let ports = [free_port(), free_port()];
    let contact = |nth: usize| format!("/ip4/127.0.0.1/tcp/{}/p2p/{}", ports[nth], identities[nth].id());
    let circle = [0, 1].map(|nth| {
        let config = format!("[federation]\ndiscover = false\nhome = \"{}\"\n", contact(1 - nth));
        let builder = Gateway::builder().identity(&identities[nth]).upstream(registry.url());
        builder.peers_at(&format!("127.0.0.1:{}", ports[nth])).config_toml(&config).start()
    });
    for gateway in &circle {
        let cause =
            |status: &serde_json::Value| status["home"]["cause"].as_str().unwrap_or_default().to_owned();
        until(|| cause(&gateway.status()), |cause| cause.contains("follows this gateway in its turn"));
        assert_eq!(get(gateway, "/left").status, 200, "upstream itself is asked");
    }
}

#[test]
fn another_key_at_homes_address_is_not_home() {
    let registry = registry();
    let impostor = gateway("", "").upstream(registry.url()).start();
    let real = Identity::new();
    let contact = impostor.contact().replace(&impostor.id(), real.id());
    let follower = follower_of(&contact, NOWHERE, "");
    assert_eq!(get(&follower, "/left").status, 503);
    let status = follower.status();
    assert_eq!((&status["home"]["serves"], &status["home"]["connected_s"]), (&json!(false), &json!(null)));
    assert!(
        follower.wait_for_log(|line| line.contains("cannot connect to a peer"), Duration::from_secs(20)),
        "{:#?}",
        follower.log()
    );
}

#[test]
fn a_home_that_shares_nothing_is_said_so_and_upstream_itself_is_asked() {
    let registry = registry();
    let home = gateway("[share]\nenabled = false\n", "").upstream(registry.url()).start();
    let follower = follower_of(&home.contact(), registry.url(), "");
    assert_eq!(get(&follower, "/left").status, 200);
    until(
        || follower.status()["home"]["cause"].as_str().unwrap_or_default().to_owned(),
        |cause| cause.contains("does not serve"),
    );
    assert!(follower.metric("open_registry_http_requests_total", &[("source", "upstream")]) >= 1.0);
}

#[test]
fn nothing_private_reaches_home() {
    let registry = registry();
    let home = gateway("[private]\nscopes = [\"@hidden\"]\n", "").upstream(registry.url()).start();
    let follower = await_home(follower_of(&home.contact(), NOWHERE, "[private]\nscopes = [\"@secret\"]\n"));
    assert_eq!(get(&follower, "/@secret%2fthing").status, 503);
    let with_token =
        Request::get(&format!("{}/left", follower.url())).header("authorization", "Bearer x").send();
    assert_eq!(with_token.status, 503);
    let by_home = registry.requests().into_iter().filter(|one| !one.is_for("/-/ping")).map(|one| one.path);
    assert_eq!(by_home.collect::<Vec<_>>(), Vec::<String>::new(), "home has asked for it");
    assert_eq!(get(&follower, "/@hidden%2fthing").status, 403, "what is home's own stays there");
    assert_eq!(get(&follower, "/left").status, 200, "and the rest is served as before");
}

#[test]
fn following_oneself_is_an_error_that_says_so() {
    let identity = Identity::new();
    let contact = format!("/ip4/127.0.0.1/tcp/6738/p2p/{}", identity.id());
    let started = |builder: GatewayBuilder| {
        let (mut command, _surroundings) = builder.command();
        let output = command.output().unwrap();
        assert!(!output.status.success());
        [output.stderr, output.stdout].map(|said| String::from_utf8_lossy(&said).into_owned()).concat()
    };
    let said = started(gateway("", &format!("home = \"{contact}\"")).identity(&identity));
    assert!(said.contains("names this gateway itself"), "{said}");
    let config = format!("[federation]\nhome = \"{contact}\"\n");
    let said = started(Gateway::builder().config_toml(&config));
    assert!(said.contains("federation.listen is empty"), "{said}");
}

/// One test per client, so that each fails for itself.
macro_rules! installs {
    ($($test:ident: $client:ident,)*) => {$(
        #[test]
        fn $test() {
            installs_through_home(stringify!($test), Client::$client);
        }
    )*};
}

installs! {
    npm_10_installs_through_home_and_its_lockfile_is_the_same: Npm10,
    pnpm_12_installs_through_home_and_its_lockfile_is_the_same: Pnpm12,
    yarn_1_installs_through_home: Yarn1,
}

fn installs_through_home(test: &str, client: Client) {
    World::enter(test, client, |world| {
        let straight = world.checkout("straight");
        let first = client.install(&straight, &world.straight(), Mode::Cold).expect_success();
        world.registry.reset_log();

        let config = "[federation]\ndiscover = false\n";
        let mut home = world.gateway_builder().peers_at("127.0.0.1:6738").config_toml(config).start();
        let follower = follower(&home);
        let through = world.checkout("through");
        let second = client.install(&through, &world.through(&follower), Mode::Cold).expect_success();
        assert_same_packages(&through.installed(), &straight.installed());
        assert_same_lines(&second.locked(), &client.promised_lockfile(&first, &follower.url()));
        world.assert_only_the_gateway_asked();
        world.assert_no_tarball_was_asked_for_twice();
        client.install(&through, &world.through(&follower), Mode::Frozen).expect_success();

        world.registry.switch_off();
        home.kill();
        client.install(&through, &world.through(&follower), Mode::Frozen).expect_success();
    });
}

/// What somebody types who installs nothing. Without npm's own retries, which take over a minute.
#[test]
fn npms_other_commands_work_through_home_and_say_soon_when_they_cannot() {
    let (test, client) =
        ("npms_other_commands_work_through_home_and_say_soon_when_they_cannot", Client::Npm10);
    World::enter(test, client, |world| {
        let config = "[federation]\ndiscover = false\n";
        let home = world.gateway_builder().peers_at("127.0.0.1:6738").config_toml(config).start();
        let follower = follower(&home);
        let places = [("follower", &follower), ("home", &home)];
        let checkouts = places.map(|(name, gateway)| {
            let checkout = world.checkout(name);
            client.install(&checkout, &world.through(gateway), Mode::Resolve).expect_success();
            checkout
        });
        let run = |nth: usize, command: &[&str]| {
            let gateway = places[nth].1;
            let arguments = [command, &["--fetch-retries=0"]].concat();
            let outcome = client.run(&checkouts[nth], &world.through(gateway), &arguments);
            (outcome.output.replace(&gateway.url(), "gateway"), outcome)
        };
        for (command, answer) in [
            (&["view", "left", "--json"][..], "\"latest\": \"1.0.0\""),
            (&["view", "@scope/right@^1.0.0", "dist.integrity"], "sha512-"),
            (&["search", "left", "--json"], "\"name\":\"left\""),
            (&["audit"], "found 0 vulnerabilities"),
        ] {
            let [(ours, outcome), (theirs, _)] = [run(0, command), run(1, command)];
            outcome.expect_success();
            assert_eq!(ours, theirs);
            assert!(ours.contains(answer), "{command:?}: {ours}");
        }
        world.assert_only_the_gateway_asked();

        world.registry.switch_off();
        for command in [&["view", "never-asked-for"][..], &["search", "right"], &["audit"]] {
            let (said, outcome) = run(0, command);
            assert!(!outcome.success && outcome.duration < SOON, "{:?}: {said}", outcome.duration);
            assert!(said.contains("503") && said.contains("upstream"), "{command:?}: {said}");
        }
    });
}
