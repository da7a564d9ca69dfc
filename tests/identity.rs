//! Promise: a gateway has one name for as long as it has its data directory, says it to everybody, and signs with it for
//! nothing that is not its own.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harness::{Gateway, GatewayBuilder, http, in_own_network};
use nix::sys::signal::Signal;
use serde_json::Value;

const NONCE: &str = "AAAAAAAAAAAAAAAA";
const SOON: Duration = Duration::from_secs(10);

fn gateway(data: &Path) -> GatewayBuilder {
    Gateway::builder().offline().data(data)
}

fn id(gateway: &Gateway) -> String {
    let said = http::get(&format!("{}/-/open-registry/peer", gateway.url())).json();
    said["id"].as_str().expect("an id").to_owned()
}

fn ask(gateway: &Gateway, query: &str) -> http::Reply {
    http::get(&format!("{}/-/open-registry/peer?{query}", gateway.url()))
}

/// Asks for a proof of this authority over plain http.
fn prove(gateway: &Gateway, authority: &str) -> http::Reply {
    ask(gateway, &format!("nonce={NONCE}&scheme=http&authority={authority}"))
}

fn claims(proof: &str) -> Value {
    let part = proof.split('.').nth(1).expect("three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
}

#[test]
fn a_gateway_has_one_name_wherever_it_is_asked() {
    in_own_network("a_gateway_has_one_name_wherever_it_is_asked", &[], || {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let shown = data.to_str().expect("a plain path");
        let mut gateway = gateway(&data).env("OPEN_REGISTRY_OPERATOR__LISTEN", "127.0.0.1:6737").start();
        let id = id(&gateway);
        assert!(id.starts_with("12D3KooW"), "{id}");
        assert_eq!(http::get(&gateway.url()).json()["peer"], *id);
        assert_eq!(http::get(&format!("{}/status", gateway.operator_url())).json()["peer"], *id);
        let who = http::get(&format!("{}/-/open-registry/peer", gateway.url())).json();
        assert_eq!(who["zone"], "registry.open-registry.dev");
        let said = gateway.ask(&["status", "--data", shown]).expect_success().stdout;
        assert!(said.starts_with(&format!("id        {id}\nstate     ready, up for")), "{said}");
        assert!(!said.contains("beware"), "{said}");
        let elsewhere = folder.path().join("elsewhere");
        drop(self::gateway(&elsewhere).start());
        let said =
            gateway.ask(&["status", "--data", elsewhere.to_str().expect("a plain path")]).expect_success();
        assert!(said.stdout.contains("another data directory"), "{}", said.stdout);

        gateway.kill();
        let said = gateway.ask(&["status", "--data", shown]).expect_success().stdout;
        assert_eq!(said, format!("id        {id}\nstate     not running\n"));
        gateway.restart();
        assert_eq!(self::id(&gateway), id);

        gateway.kill();
        let nowhere = gateway.ask(&["status", "--data", "/nonexistent"]);
        assert!(!nowhere.success && nowhere.stderr.contains("made at its first start"), "{nowhere:?}");
    });
}

#[test]
fn a_damaged_key_stops_the_start_and_stays_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(gateway(folder.path()).start());
    let file = folder.path().join("identity.pem");
    let good = fs::read(&file).expect("a key");
    fs::write(&file, &good[..good.len() / 2]).expect("a file of ours");

    let (mut command, _surroundings) = gateway(folder.path()).command();
    let ended = command.output().expect("the program");

    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && said.contains("holds no ed25519 key"), "{said}");
    assert_eq!(fs::read(&file).expect("a key"), &good[..good.len() / 2]);
}

/// Somebody else's program agrees: OpenSSL, with the public key that the id is made of.
#[test]
fn a_proof_is_a_signature_by_the_key_of_the_id() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = gateway(&folder.path().join("data")).start();
    let reply = prove(&gateway, &gateway.address().to_string());
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/jose")));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let proof = reply.text();
    let claims = claims(&proof);
    assert_eq!(claims["id"], *id(&gateway));
    assert_eq!((&claims["nonce"], &claims["scheme"]), (&NONCE.into(), &"http".into()));
    assert_eq!((&claims["client"], &claims["accepting"]), (&"127.0.0.1".into(), &true.into()));
    assert_eq!(claims["authority"], *gateway.address().to_string());

    let (message, signature) = proof.rsplit_once('.').expect("three parts");
    let path = |name: &str| folder.path().join(name);
    fs::write(path("message"), message).expect("a file");
    fs::write(path("signature"), URL_SAFE_NO_PAD.decode(signature).expect("base64url")).expect("a file");
    let verify = || {
        let mut command = Command::new("openssl");
        command.args(["pkeyutl", "-verify", "-rawin", "-inkey", "data/identity.pem", "-in", "message"]);
        command.args(["-sigfile", "signature"]).current_dir(folder.path()).output().expect("openssl")
    };
    let verified = verify();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    fs::write(path("message"), format!("{message}x")).expect("a file");
    assert!(!verify().status.success());
}

#[test]
fn a_gateway_signs_for_nothing_that_is_not_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = "[zone]\naddresses = [\"203.0.113.9\"]\n";
    let gateway = gateway(folder.path()).config_toml(config).start();
    assert_eq!(prove(&gateway, "203.0.113.9").status, 200);
    for foreign in ["192.0.2.7", "registry.example.com", "203.0.113.9:8080", "127.0.0.99"] {
        let reply = prove(&gateway, foreign);
        assert_eq!(reply.status, 403, "{foreign}: {}", reply.text());
        assert!(reply.json()["error"].as_str().is_some_and(|words| words.len() > 20), "{}", reply.text());
    }
    let over_tls = ask(&gateway, &format!("nonce={NONCE}&scheme=https&authority=203.0.113.9"));
    assert_eq!(over_tls.status, 403, "it was asked over http");
    let impossible = ["203.0.113.9:80", "203.0.113.09", "user@203.0.113.9", "203.0.113.9%2F", ""];
    for authority in impossible {
        assert_eq!(prove(&gateway, authority).status, 400, "{authority}");
    }
    assert_eq!(ask(&gateway, "nonce=short&scheme=http&authority=203.0.113.9").status, 400);
    assert_eq!(ask(&gateway, &format!("nonce={NONCE}")).status, 400);
}

/// Names come from the entry that describes this gateway itself.
#[test]
fn a_gateway_signs_for_the_hosts_of_its_own_entry() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = id(&gateway(folder.path()).start());
    let other = id(&Gateway::builder().offline().start());
    let config = format!(
        "[[peer]]\nid = \"{own}\"\nurls = [\"http://own.example.com\", \"http://198.51.100.1\"]\n\
         [[peer]]\nid = \"{other}\"\nurls = [\"http://other.example.com\"]\n"
    );
    let gateway = gateway(folder.path()).config_toml(&config).start();
    assert_eq!(prove(&gateway, "own.example.com").status, 200);
    assert_eq!(prove(&gateway, "198.51.100.1").status, 200);
    assert_eq!(prove(&gateway, "other.example.com").status, 403);
}

#[test]
fn who_asks_for_too_many_proofs_is_told_to_wait() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = gateway(folder.path()).config_toml("[zone]\naddresses = [\"203.0.113.9\"]\n").start();
    let statuses: Vec<u16> = (0..1000).map(|_| prove(&gateway, "203.0.113.9").status).collect();
    assert!(statuses.iter().all(|status| [200, 429].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&429), "1000 within a second or a few, of which each has 64");
}

#[test]
fn a_request_with_credentials_goes_no_further() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = gateway(folder.path()).start();
    let url = format!("{}/-/open-registry/peer", gateway.url());
    let reply = http::Request::get(&url).header("authorization", "Bearer secret").send();
    assert_eq!((reply.status, reply.json()["id"].as_str()), (200, Some(&*id(&gateway))));
    assert_eq!(http::post(&url, &Value::Null).status, 405);
    assert_eq!(http::get(&format!("{}/-/open-registry/nothing", gateway.url())).status, 404);
}

#[test]
fn a_gateway_that_stops_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let gateway = gateway(folder.path()).start();
    let mut stream = TcpStream::connect(gateway.address()).expect("a connection");
    stream.set_read_timeout(Some(SOON)).expect("a time limit");
    let head = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", gateway.address());
    stream.write_all(head("/-/ping").as_bytes()).expect("a connection");
    assert!(stream.read(&mut [0; 4096]).expect("an answer") > 0);

    gateway.signal(Signal::SIGTERM);
    assert!(gateway.wait_for_log(|line| line.contains("Stopping"), SOON));
    let path = format!("/-/open-registry/peer?nonce={NONCE}&scheme=http&authority={}", gateway.address());
    stream.write_all(head(&path).as_bytes()).expect("a connection that is still served");

    let mut heard = String::new();
    stream.read_to_string(&mut heard).expect("an answer, and the end");
    let proof = heard.rsplit("\r\n\r\n").next().unwrap_or_default();
    assert_eq!(claims(proof)["accepting"], false, "{heard}");
}
