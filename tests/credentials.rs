//! Promise: a secret travels over safe wires only, to upstream and nowhere else, and what it opens is never kept.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use harness::http::{self, Reply, Request};
use harness::{Ca, Gateway, Package, Recorded, Registry, in_own_network};
use serde_json::json;

const TOKEN: &str = "open-sesame-1234567890";
const BEARER: &str = "Bearer open-sesame-1234567890";
/// An address that is not this machine's loopback.
const LAN: &str = "10.9.8.7";
const TARBALL: &str = "/@acme/secret-plans/-/secret-plans-1.0.0.tgz";

fn plans() -> Package {
    Package::new("@acme/secret-plans").version("1.0.0", |v| v.size(50_000))
}

fn registry() -> harness::RegistryBuilder {
    Registry::builder()
        .package(plans())
        .package(Package::new("left").version("1.0.0", |v| v))
        .private_scope("@acme", TOKEN)
        .account("ada", TOKEN)
}

type Header = (&'static str, &'static str);

/// Requests that carry a secret, or whose answer is one.
fn secrets() -> Vec<(&'static str, &'static str, Option<Header>)> {
    vec![
        ("GET", "/left", Some(("authorization", BEARER))),
        ("GET", "/left/-/left-1.0.0.tgz", Some(("authorization", "Basic YWRhOm9wZW4="))),
        ("GET", "/left", Some(("cookie", "session=1"))),
        ("GET", "/left", Some(("npm-otp", "123456"))),
        ("PUT", "/left", Some(("authorization", BEARER))),
        ("GET", "/-/whoami", Some(("authorization", BEARER))),
        ("GET", "/", Some(("authorization", BEARER))),
        ("PUT", "/-/user/org.couchdb.user:ada", None),
        ("PUT", "/-/%75ser/org.couchdb.user:ada", None),
        ("POST", "/-/v1/login", None),
        ("GET", "/-/v1/done?authId=1", None),
        ("GET", "/-/npm/v1/tokens", None),
        ("POST", "/-/npm/v1/user", None),
    ]
}

fn sent(to: &str, (method, path, header): (&str, &str, Option<Header>)) -> Request {
    let request = Request::new(method, &format!("{to}{path}"));
    header.into_iter().fold(request, |request, (name, value)| request.header(name, value))
}

fn with_token(to: &str, path: &str) -> Request {
    sent(to, ("GET", path, Some(("authorization", BEARER))))
}

/// What clients asked for; the gateway's own first look may come at any time.
fn asked(registry: &Registry) -> Vec<Recorded> {
    registry.requests().into_iter().filter(|one| !one.is_for("/-/ping")).collect()
}

/// Every file below `folder` that holds these words.
fn holding(folder: &Path, words: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(holding(&path, words));
        } else if fs::read(&path).expect("a file").windows(words.len()).any(|part| part == words.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    found
}

fn assert_nothing_is_left(gateway: &mut Gateway, words: &[&str]) {
    assert!(gateway.terminate().success());
    for words in words {
        assert_eq!(holding(gateway.data(), words), Vec::<String>::new(), "{words} was kept");
        let said: Vec<String> = gateway.log().into_iter().filter(|line| line.contains(words)).collect();
        assert_eq!(said, Vec::<String>::new(), "{words} was logged");
    }
}

fn assert_says_how_to_log_in_safely(reply: &Reply, what: &str) {
    let error = reply.json()["error"].as_str().unwrap_or_default().to_owned();
    assert_eq!(reply.status, 403, "{what}: {error}");
    assert!(error.contains("https"), "{what}: {error}");
}

#[test]
fn secrets_over_plain_http_from_another_machine_go_no_further() {
    let address: IpAddr = LAN.parse().unwrap();
    let test = "secrets_over_plain_http_from_another_machine_go_no_further";
    in_own_network(test, &[("gateway.example", address)], || {
        let registry = registry().start();
        let mut gateway = Gateway::builder()
            .upstream(registry.url())
            .listen(SocketAddr::new(address, 6736))
            .flag("-v")
            .start();
        assert_eq!(http::get("http://gateway.example:6736/left").status, 200);
        registry.reset_log();

        for secret in secrets() {
            let reply = sent(&gateway.url(), secret).body("").send();
            assert_says_how_to_log_in_safely(&reply, &format!("{secret:?}"));
        }

        assert_eq!(asked(&registry).len(), 0, "a secret reached upstream");
        assert_nothing_is_left(&mut gateway, &[TOKEN, "secret-plans"]);
    });
}

#[test]
fn secrets_never_go_on_to_an_upstream_over_plain_http() {
    let address: IpAddr = LAN.parse().unwrap();
    let test = "secrets_never_go_on_to_an_upstream_over_plain_http";
    in_own_network(test, &[("registry.example", address)], || {
        let far = registry().start_at(SocketAddr::new(address, 8080));
        let gateway = Gateway::builder().upstream("http://registry.example:8080").start();
        assert_eq!(http::get(&format!("{}/left", gateway.url())).status, 200);
        far.reset_log();
        for secret in secrets() {
            assert_says_how_to_log_in_safely(&sent(&gateway.url(), secret).send(), &format!("{secret:?}"));
        }
        assert_eq!(asked(&far).len(), 0);

        // The same upstream over TLS.
        let ca = Ca::new();
        let safe = registry().start_tls(SocketAddr::new(address, 443), ca.issue(&["registry.example"]));
        let gateway = Gateway::builder().upstream("https://registry.example").trust(&ca).start();
        let reply = with_token(&gateway.url(), "/-/whoami").send();
        assert_eq!((reply.status, reply.json()), (200, json!({"username": "ada"})));
        assert_eq!(asked(&safe).pop().unwrap().header("authorization"), Some(BEARER));
    });
}

#[test]
fn a_trusted_proxy_says_who_asks_and_over_which_wire() {
    let registry = registry().start();
    let config = "[http]\ntrusted_proxies = [\"127.0.0.1/32\"]\n";
    let gateway = Gateway::builder().upstream(registry.url()).config_toml(config).start();
    let status = |headers: &[(&'static str, &str)]| {
        let request = with_token(&gateway.url(), "/-/whoami");
        headers.iter().fold(request, |request, (name, value)| request.header(name, value)).send().status
    };

    assert_eq!(status(&[("x-forwarded-for", "10.1.1.1")]), 403);
    assert_eq!(status(&[("x-forwarded-for", "127.0.0.1, 10.1.1.1"), ("x-forwarded-proto", "http")]), 403);
    assert_eq!(registry.requests_to("/-/whoami"), 0);
    assert_eq!(status(&[("x-forwarded-for", "10.1.1.1"), ("x-forwarded-proto", "https")]), 200);
    assert_eq!(asked(&registry).pop().unwrap().header("x-forwarded-for"), None);
}

#[test]
fn what_credentials_open_is_asked_for_each_time_and_never_kept() {
    let registry = registry().start();
    // Nobody has told the gateway that the scope is private.
    let mut gateway = Gateway::builder().upstream(registry.url()).flag("-v").start();
    let url = gateway.url();
    for path in ["/@acme%2fsecret-plans", "/@acme/secret-plans/1.0.0", TARBALL, "/-/whoami"] {
        for times in 1..=2 {
            assert_eq!(with_token(&url, path).send().status, 200, "{path}");
            assert_eq!(registry.requests_to(path), times, "{path}");
        }
    }
    assert_eq!(with_token(&url, TARBALL).send().body, plans().at("1.0.0").tarball);
    // Who has no token does not profit by those who have one.
    for path in ["/@acme%2fsecret-plans", TARBALL] {
        assert_eq!(http::get(&format!("{url}{path}")).status, 404, "{path}");
    }
    // What is public is served from upstream too, when it is asked for with a token: who knows what it shows.
    http::get(&format!("{url}/left"));
    let before = registry.requests_to("/left");
    assert_eq!(with_token(&url, "/left").send().status, 200);
    assert_eq!(registry.requests_to("/left"), before + 1);
    let login = Request::new("PUT", &format!("{url}/-/user/org.couchdb.user:eve"));
    assert_eq!(
        login.body(json!({"name": "eve", "password": "hidden-password"}).to_string()).send().status,
        201
    );

    let integrity = plans().at("1.0.0").integrity.clone();
    let digest = &integrity["sha512-".len()..];
    assert_nothing_is_left(&mut gateway, &[TOKEN, "hidden-password", "token-of-eve", digest]);
    let names = ["blobs", "documents"].map(|part| holding(&gateway.data().join(part), "secret-plans"));
    assert_eq!(names, [Vec::<String>::new(), Vec::new()]);
}

#[test]
fn private_scopes_are_never_kept_with_a_token_or_without() {
    let registry = registry().start();
    let config = "[private]\nscopes = [\"@acme\"]\n";
    let mut gateway = Gateway::builder().upstream(registry.url()).config_toml(config).flag("-v").start();
    let url = gateway.url();
    let attestations = "/-/npm/v1/attestations/@acme%2fsecret-plans@1.0.0";
    for path in ["/@acme%2fsecret-plans", "/@acme/secret-plans", "/@acme/secret-plans/latest", TARBALL] {
        assert_eq!(http::get(&format!("{url}{path}")).status, 404, "{path}");
        let reply = with_token(&url, path).send();
        assert_eq!((reply.status, reply.header("cache-control")), (200, Some("private, no-store")), "{path}");
    }
    for times in 1..=2 {
        assert_eq!(http::get(&format!("{url}{attestations}")).status, 404);
        assert_eq!(registry.requests_to(attestations), times, "the absence was remembered");
    }
    registry.switch_off();
    for path in ["/@acme%2fsecret-plans", TARBALL] {
        let reply = with_token(&url, path).send();
        assert_eq!((reply.status, reply.json()["error"].is_string()), (503, true), "{path}");
    }

    assert_nothing_is_left(&mut gateway, &[TOKEN, "secret-plans"]);
}

#[test]
fn private_documents_lead_back_through_the_gateway() {
    let registry = registry().start();
    let gateway = Gateway::builder().upstream(registry.url()).start();
    let own = format!("{}{TARBALL}", gateway.url());
    let canonical = format!("{}{TARBALL}", harness::canonical_url());
    for (client, expected) in [
        ("pnpm/12.21.0 npm/? node/? linux x64", json!(own)),
        ("yarn/1.22.22 npm/? node/v20.20.2 linux x64", json!(own)),
        ("npm/11.21.2 node/v24.21.0 linux x64", json!(canonical)),
        ("Bun/1.4.5", json!(null)),
    ] {
        for accept in ["application/json", harness::ABBREVIATED] {
            let asking = |path: &str| {
                with_token(&gateway.url(), path)
                    .header("user-agent", client)
                    .header("accept", accept)
                    .header("accept-encoding", "gzip")
                    .header("if-none-match", "*")
                    .send()
            };
            let document = asking("/@acme%2fsecret-plans");
            let what = format!("{client} {accept}");
            assert_eq!(document.json()["versions"]["1.0.0"]["dist"]["tarball"], expected, "{what}");
            assert_eq!(
                document.json()["versions"]["1.0.0"]["dist"]["integrity"],
                plans().at("1.0.0").integrity
            );
            let kept = document.header("cache-control").unwrap();
            assert!(kept.contains("no-store") && !kept.contains("public"), "{kept}");
            assert_eq!(document.header("etag"), None, "upstream's tag is another body's");
            assert_eq!(asking("/@acme/secret-plans/1.0.0").json()["dist"]["tarball"], expected, "{what}");
        }
    }
    assert_eq!(with_token(&gateway.url(), TARBALL).send().body, plans().at("1.0.0").tarball);
}
