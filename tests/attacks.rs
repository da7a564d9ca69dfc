//! Promise: nobody who is not admitted, or who does not prove that an address is his own, is ever in a DNS answer.
//!
//! A probe of an address succeeds only if the peer that is expected there answers there itself, on every port that DNS would
//! lead clients to. Each way to fake it that we know of, in networks of its own: first the probe, then a gateway whose
//! operator has written the peer down with the address of whoever attacks.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use gateway::identity::Identity;
use gateway::steer::probe::{Probed, Prober};
use harness::lan::{Host, Lan, ZONE};
use harness::{Ca, Gateway, GatewayBuilder, Registry, http, in_own_network, until};
use resolver::peer::{PeerId, Scheme};
use resolver::peers::{Due, Target};
use resolver::proof::{Authority, Claims, Nonce, NotAProof, Outcome, Proof, Refusal};

const PATIENCE: Duration = Duration::from_secs(2);
const SOON: Duration = Duration::from_secs(20);

/// The Internet: a peer that is honest, somebody who is not, and a gateway that asks.
struct Scene {
    internet: Lan,
    honest: Host,
    evil: Host,
    asker: Asker,
    ca: Ca,
}

/// Whoever wants to know where clients can be led.
struct Asker {
    host: Host,
    ca: String,
}

impl Scene {
    fn new() -> Self {
        let internet = Lan::internet();
        let [honest, evil, host] = ["honest", "evil", "asker"].map(|name| internet.host(name));
        let ca = Ca::new();
        Self { asker: Asker { host, ca: ca.pem() }, internet, honest, evil, ca }
    }

    /// The honest peer, on port 80 of its address.
    fn gateway(&self) -> Gateway {
        start(&self.honest, Gateway::builder())
    }

    /// The honest peer with https too, by a certificate for this name.
    fn gateway_over_tls(&self, name: &str, files: &Path) -> Gateway {
        let certificate = self.ca.leaf(&[name]).write(files);
        start(&self.honest, Gateway::builder().tls(certificate).tls_listen(self.honest.at(443)))
    }
}

impl Asker {
    fn probe(&self, id: PeerId, target: Target, https: bool) -> Probed {
        let due = Due { id, target, https, timeout: PATIENCE };
        self.host.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let prober = Prober::new(ZONE.parse().expect("a zone"), trust(&self.ca));
            runtime.expect("a runtime").block_on(prober.probe(&due))
        })
    }

    /// How a probe of this address ends.
    fn outcome(&self, id: PeerId, address: impl Into<IpAddr>) -> Outcome {
        self.probe(id, Target::Address(address.into()), false).outcome
    }
}

/// A gateway that answers for the zone, to which peers were named.
struct Guide<'a> {
    host: &'a Host,
    gateway: Gateway,
    _upstream: Registry,
}

impl<'a> Guide<'a> {
    fn new(host: &'a Host, ca: &Ca, entries: &str) -> Self {
        let upstream = host.run(|| Registry::builder().start());
        let builder = Gateway::builder().upstream(upstream.url()).config_toml(entries).trust(ca);
        let gateway = host.run(|| builder.listen(host.at(80)).dns(host.at(53)).start());
        Self { host, gateway, _upstream: upstream }
    }

    /// Everybody has been looked at once.
    fn after_the_first_round(self) -> Self {
        let ready = || http::get(&format!("{}/readyz", self.gateway.operator_url())).status;
        self.host.run(|| until(ready, |status| *status == 200));
        self
    }

    /// Its operator reads why it leads nobody to a peer, and nobody is led there.
    fn leads_nobody_to(&self, address: impl Into<IpAddr>, because: &str) {
        let seen = self.gateway.wait_for_log(|line| line.contains(because), SOON);
        assert!(seen, "{because:?} is not said:\n{}", self.gateway.log().join("\n"));
        self.answers_without(address);
    }

    fn answers_without(&self, address: impl Into<IpAddr>) {
        let (answers, address) = (self.answers(), address.into().to_string());
        assert_eq!(answers, [self.host.v4().to_string()], "itself is left");
        assert!(!answers.contains(&address), "{answers:?}");
    }

    /// What a client next to it is told.
    fn answers(&self) -> Vec<String> {
        let reply = self.host.dig(&["A", ZONE, &format!("@{}", self.host.v4())]);
        assert_eq!(reply.status, "NOERROR");
        reply.answers
    }

    fn leads_to(&self, address: impl Into<IpAddr>) {
        let address = address.into().to_string();
        until(|| self.answers(), |answers| answers.contains(&address));
    }
}

/// Admits this peer, at these URLs.
fn entry(id: PeerId, urls: &[String]) -> String {
    format!("[[peer]]\nid = \"{id}\"\nurls = {urls:?}\nadmit = true\n")
}

fn at(scheme: &str, host: &Host) -> String {
    format!("{scheme}://{}", host.v4())
}

impl Scene {
    /// Where clients are led when this peer is believed to be on that host.
    fn guide(&self, id: PeerId, on: &Host, schemes: &[&str]) -> Guide<'_> {
        let urls: Vec<String> = schemes.iter().map(|scheme| at(scheme, on)).collect();
        Guide::new(&self.asker.host, &self.ca, &entry(id, &urls))
    }
}

fn trust(pem: &str) -> rustls::ClientConfig {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM")).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    builder.expect("versions that the provider has").with_root_certificates(roots).with_no_client_auth()
}

fn start(host: &Host, builder: GatewayBuilder) -> Gateway {
    host.run(|| builder.offline().listen(host.at(80)).start())
}

fn id_of(gateway: &Gateway) -> PeerId {
    Identity::read(gateway.data()).expect("a key that can be read").expect("a key").id()
}

/// Answers every connection at this address with what `answer` makes of the request's first line; what it writes to by itself
/// it may write to for ever.
fn serve(host: &Host, port: u16, answer: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) {
    let answer = Arc::new(answer);
    host.run(|| {
        let listener = TcpListener::bind(host.at(port)).expect("a free port");
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, mut stream) = (Arc::clone(&answer), stream.expect("a connection"));
                thread::spawn(move || {
                    let head = head_of(&mut stream);
                    answer(head.lines().next().unwrap_or_default(), &mut stream);
                });
            }
        });
    });
}

fn head_of(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0; 1]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Passes every connection on, byte for byte.
fn relay(host: &Host, to: SocketAddr) {
    host.run(|| {
        let listener = TcpListener::bind(host.at(80)).expect("a free port");
        thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.expect("a connection");
                let Ok(far) = TcpStream::connect(to) else { continue };
                let pairs =
                    [(near.try_clone().expect("a socket"), far.try_clone().expect("a socket")), (far, near)];
                for (mut from, mut to) in pairs {
                    thread::spawn(move || std::io::copy(&mut from, &mut to));
                }
            }
        });
    });
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn nonce_in(line: &str) -> &str {
    line.split_once("nonce=").and_then(|(_, rest)| rest.split('&').next()).expect("a nonce")
}

#[test]
fn a_peer_that_answers_at_its_own_address_passes() {
    in_own_network("a_peer_that_answers_at_its_own_address_passes", &[], || {
        let (scene, files) = (Scene::new(), tempfile::tempdir().expect("a folder"));
        let gateway = scene.gateway_over_tls(ZONE, files.path());
        let id = id_of(&gateway);
        let target = Target::Address(scene.honest.v4().into());
        for https in [false, true] {
            let probed = scene.asker.probe(id, target.clone(), https);
            let Outcome::Passed { load } = probed.outcome else { panic!("{probed:?}") };
            assert!((0.0..=1.0).contains(&load), "{load}");
        }
        let url = at("http", &scene.honest);
        assert!(scene.asker.probe(id, Target::Url(url), false).outcome.is_passed());
        scene.guide(id, &scene.honest, &["http", "https"]).leads_to(scene.honest.v4());
    });
}

#[test]
fn a_peer_on_a_lan_passes_where_its_own_lan_asks() {
    in_own_network("a_peer_on_a_lan_passes_where_its_own_lan_asks", &[], || {
        let lan = Lan::new("office", 7);
        let server = lan.host_at("server", 9);
        let asker = Asker { host: lan.host("asker"), ca: Ca::new().pem() };
        let gateway = server
            .run(|| Gateway::builder().offline().listen(server.at(80)).listen(server.at_v6(80)).start());
        assert!(asker.outcome(id_of(&gateway), server.v4()).is_passed());
        assert!(asker.outcome(id_of(&gateway), server.v6()).is_passed());
    });
}

#[test]
fn somebody_with_another_key_is_found_out() {
    in_own_network("somebody_with_another_key_is_found_out", &[], || {
        let scene = Scene::new();
        let (expected, folder) = (id_of(&scene.gateway()), tempfile::tempdir().expect("a folder"));
        let other = start(&scene.evil, Gateway::builder());
        let outcome = scene.asker.outcome(expected, scene.evil.v4());
        assert_eq!(outcome, Outcome::NotProven(Refusal::WrongId(id_of(&other))));
        assert!(outcome.is_deceit());

        // Or he says that he is the peer, and signs as himself.
        let forger = scene.internet.host("forger");
        let (key, at) = (Identity::open(folder.path()).expect("a key"), forger.v4().into());
        let client = scene.asker.host.v4().into();
        serve(&forger, 80, move |line, stream| {
            let claims = Claims {
                id: expected,
                nonce: Nonce::try_from(nonce_in(line).to_owned()).expect("a nonce"),
                authority: Authority::at(Scheme::Http, at, 80),
                client,
                accepting: true,
                load: 0.0,
                version: "0.1.0".into(),
            };
            let message = claims.message();
            let proof = Claims::signed(&message, key.sign(message.as_bytes()));
            let _ = stream.write_all(ok(&proof).as_bytes());
        });
        let outcome = scene.asker.outcome(expected, forger.v4());
        assert_eq!(outcome, Outcome::NotProven(Refusal::BadSignature));
        assert!(outcome.is_deceit());
        let words = "its signature is not that of the gateway's key";
        scene.guide(expected, &forger, &["http"]).leads_nobody_to(forger.v4(), words);
        let words = format!("{} answers there", id_of(&other));
        scene.guide(expected, &scene.evil, &["http"]).leads_nobody_to(scene.evil.v4(), &words);
    });
}

#[test]
fn a_relay_to_an_honest_peer_gets_no_signature_for_its_own_address() {
    in_own_network("a_relay_to_an_honest_peer_gets_no_signature_for_its_own_address", &[], || {
        let scene = Scene::new();
        let gateway = scene.gateway();
        relay(&scene.evil, scene.honest.at(80));
        assert_eq!(scene.asker.outcome(id_of(&gateway), scene.evil.v4()), Outcome::Status(403));
        let guide = scene.guide(id_of(&gateway), &scene.evil, &["http"]);
        guide.leads_nobody_to(scene.evil.v4(), "it answered with status 403");
        assert!(scene.asker.outcome(id_of(&gateway), scene.honest.v4()).is_passed());
    });
}

/// Two LANs number their hosts alike. In ours, 192.168.7.9 is somebody who passes our question on to the peer that has that
/// address in the other; its router leads strangers there.
#[test]
fn a_relay_at_the_same_private_address_in_another_lan_is_seen() {
    in_own_network("a_relay_at_the_same_private_address_in_another_lan_is_seen", &[], || {
        let internet = Lan::internet();
        let (ours, theirs) = (Lan::new("ours", 7), Lan::new("theirs", 7));
        let (_, gate) = (ours.router(&internet), theirs.router(&internet));
        let (evil, honest) = (ours.host_at("evil", 9), theirs.host_at("honest", 9));
        assert_eq!(evil.v4(), honest.v4());
        let lead = format!(
            "table ip inside {{ chain arriving {{ type nat hook prerouting priority dstnat; \
             iifname \"internet\" tcp dport 80 dnat to {}; }}; }}",
            honest.v4()
        );
        gate.output("nft", &[&lead]).expect_success();
        let gateway = start(&honest, Gateway::builder());
        relay(&evil, SocketAddr::new(gate.on(&internet).v4.into(), 80));
        let asker = Asker { host: ours.host("asker"), ca: Ca::new().pem() };

        let outcome = asker.outcome(id_of(&gateway), evil.v4());

        let Outcome::NotProven(Refusal::Relayed(by)) = outcome else { panic!("{outcome:?}") };
        assert_ne!(by, IpAddr::from(asker.host.v4()));
        let entry = entry(id_of(&gateway), &[at("http", &evil)]);
        let guide = Guide::new(&asker.host, &Ca::new(), &entry);
        guide.leads_nobody_to(evil.v4(), "somebody is in between");
        let near = Asker { host: theirs.host("near"), ca: Ca::new().pem() };
        assert!(near.outcome(id_of(&gateway), honest.v4()).is_passed(), "in its own LAN it is believed");
        Guide::new(&near.host, &Ca::new(), &entry).leads_to(honest.v4());
    });
}

#[test]
fn an_old_answer_is_worth_nothing() {
    in_own_network("an_old_answer_is_worth_nothing", &[], || {
        let scene = Scene::new();
        let gateway = scene.gateway();
        let (id, at) = (id_of(&gateway), scene.honest.v4());
        let question =
            format!("http://{at}/-/open-registry/peer?nonce=AAAAAAAAAAAAAAAA&scheme=http&authority={at}");
        let recorded = scene.asker.host.run(|| http::get(&question)).text();
        assert_eq!(Proof::parse(&recorded).expect("a proof").claims().id, id);
        drop(gateway);
        serve(&scene.honest, 80, move |_, stream| {
            let _ = stream.write_all(ok(&recorded).as_bytes());
        });
        assert_eq!(scene.asker.outcome(id, at), Outcome::NotProven(Refusal::Replayed));
        scene.guide(id, &scene.honest, &["http"]).leads_nobody_to(at, "it answers another question");
    });
}

#[test]
fn a_signature_for_another_authority_is_worth_nothing() {
    in_own_network("a_signature_for_another_authority_is_worth_nothing", &[], || {
        let scene = Scene::new();
        let gateway = scene.gateway();
        let (id, honest) = (id_of(&gateway), scene.honest.v4());
        let url = format!("http://{honest}/-/open-registry/peer");
        serve(&scene.evil, 80, move |line, stream| {
            let question = format!("{url}?nonce={}&scheme=http&authority={honest}", nonce_in(line));
            let _ = stream.write_all(ok(&http::get(&question).text()).as_bytes());
        });
        let spoken_of = Authority::at(Scheme::Http, honest.into(), 80);
        let outcome = scene.asker.outcome(id, scene.evil.v4());
        assert_eq!(outcome, Outcome::NotProven(Refusal::OtherAuthority(spoken_of)));
        let words = format!("it speaks of {honest}");
        scene.guide(id, &scene.evil, &["http"]).leads_nobody_to(scene.evil.v4(), &words);
    });
}

#[test]
fn https_with_a_certificate_for_another_name_fails_the_address() {
    in_own_network("https_with_a_certificate_for_another_name_fails_the_address", &[], || {
        let (scene, files) = (Scene::new(), tempfile::tempdir().expect("a folder"));
        let mut gateway = scene.gateway_over_tls("registry.example.com", files.path());
        let (id, target) = (id_of(&gateway), Target::Address(scene.honest.v4().into()));
        let probed = scene.asker.probe(id, target.clone(), true);
        assert_eq!(probed.outcome, Outcome::Certificate("it is for another name"));
        assert_eq!(probed.scheme, Scheme::Https);
        assert!(scene.asker.probe(id, target.clone(), false).outcome.is_passed());
        let guide = scene.guide(id, &scene.honest, &["http", "https"]);
        guide.leads_nobody_to(scene.honest.v4(), "https: its certificate is not accepted");

        for (leaf, why) in [
            (Ca::new().leaf(&[ZONE]), "who signed it is not trusted here"),
            (scene.ca.expired_leaf(&[ZONE]), "its time is over"),
        ] {
            leaf.write(files.path());
            gateway.kill();
            gateway.restart();
            let probed = scene.asker.probe(id, target.clone(), true);
            assert_eq!(probed.outcome, Outcome::Certificate(why));
        }
    });
}

#[test]
fn port_443_alone_is_not_enough() {
    in_own_network("port_443_alone_is_not_enough", &[], || {
        let (scene, files) = (Scene::new(), tempfile::tempdir().expect("a folder"));
        let certificate = scene.ca.leaf(&[ZONE]).write(files.path());
        let host = &scene.honest;
        let builder = Gateway::builder().offline().tls(certificate).tls_listen(host.at(443));
        let gateway = host.run(|| builder.listen(host.at(6736)).start());
        let target = Target::Address(host.v4().into());
        let probed = scene.asker.probe(id_of(&gateway), target, true);
        assert_eq!(probed.outcome, Outcome::Refused("nobody listens there".into()));
        assert_eq!(probed.scheme, Scheme::Http);
        let guide = scene.guide(id_of(&gateway), host, &["http", "https"]);
        guide.leads_nobody_to(host.v4(), "http: no connection: nobody listens there");
        let over_tls = format!("https://{}", host.v4());
        let certificate = scene.asker.probe(id_of(&gateway), Target::Url(over_tls), true).outcome;
        assert_eq!(certificate, Outcome::Certificate("it is for another name"), "443 does answer");
    });
}

#[test]
fn a_redirect_is_not_followed() {
    in_own_network("a_redirect_is_not_followed", &[], || {
        let scene = Scene::new();
        let gateway = scene.gateway();
        let honest = scene.honest.v4();
        serve(&scene.evil, 80, move |line, stream| {
            let path = line.split(' ').nth(1).unwrap_or_default();
            let answer = format!(
                "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://{honest}{path}\r\ncontent-length: 0\r\n\r\n"
            );
            let _ = stream.write_all(answer.as_bytes());
        });
        assert_eq!(scene.asker.outcome(id_of(&gateway), scene.evil.v4()), Outcome::Status(307));
        let asked = gateway.metric("open_registry_http_requests_total", &[("route", "peer")]);
        assert!(asked < 0.5, "the redirect was followed");
        let guide = scene.guide(id_of(&gateway), &scene.evil, &["http"]);
        guide.leads_nobody_to(scene.evil.v4(), "it answered with status 307");
    });
}

#[test]
fn an_answer_without_an_end_or_without_a_beginning_costs_no_more_than_its_limit() {
    in_own_network(
        "an_answer_without_an_end_or_without_a_beginning_costs_no_more_than_its_limit",
        &[],
        || {
            let scene = Scene::new();
            let id = id_of(&scene.gateway());
            let until_refused = |start: &'static str, piece: &'static [u8]| {
                move |_: &str, stream: &mut TcpStream| {
                    let _ = stream.write_all(start.as_bytes());
                    while stream.write_all(piece).is_ok() {}
                }
            };
            let host = |name| scene.internet.host(name);
            let [body, headers, silent, dripping] = ["body", "headers", "silent", "dripping"].map(host);
            let chunk = b"5\r\nAAAAA\r\n";
            serve(&body, 80, until_refused("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", chunk));
            serve(&headers, 80, until_refused("HTTP/1.1 200 OK\r\n", b"a: b\r\n"));
            serve(&silent, 80, |_, stream| {
                let _ = stream.read(&mut [0; 1]);
            });
            serve(&dripping, 80, |_, stream| {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 300\r\n\r\nAAAA");
                let _ = stream.read(&mut [0; 1]);
            });
            let outcome = |host: &Host| scene.asker.outcome(id, host.v4());
            assert_eq!(outcome(&body), Outcome::NoProof(NotAProof::TooLong));
            assert!(matches!(outcome(&headers), Outcome::Refused(_)));
            assert_eq!(outcome(&silent), Outcome::TimedOut);
            assert_eq!(outcome(&dripping), Outcome::TimedOut);
            for (host, words) in
                [(&body, "no proof came"), (&headers, "no connection"), (&silent, "no answer")]
            {
                scene.guide(id, host, &["http"]).leads_nobody_to(host.v4(), words);
            }
        },
    );
}

#[test]
fn a_peer_that_is_not_admitted_is_no_answer_however_well_it_proves_itself() {
    in_own_network("a_peer_that_is_not_admitted_is_no_answer_however_well_it_proves_itself", &[], || {
        let scene = Scene::new();
        let gateway = scene.gateway();
        let id = id_of(&gateway);
        assert!(scene.asker.outcome(id, scene.honest.v4()).is_passed());
        let admitted = entry(id, &[at("http", &scene.honest)]);
        let not_admitted = admitted.replace("admit = true", "admit = false");
        assert_ne!(admitted, not_admitted);
        let ask = |entry: &str| Guide::new(&scene.asker.host, &scene.ca, entry).after_the_first_round();
        ask(&not_admitted).answers_without(scene.honest.v4());
        ask(&admitted).leads_to(scene.honest.v4());
    });
}

#[test]
fn somebody_at_one_address_of_a_peer_costs_it_no_other() {
    in_own_network("somebody_at_one_address_of_a_peer_costs_it_no_other", &[], || {
        let scene = Scene::new();
        let (gateway, other) = (scene.gateway(), start(&scene.evil, Gateway::builder()));
        let urls = [at("http", &scene.honest), at("http", &scene.evil)];
        let guide = Guide::new(&scene.asker.host, &scene.ca, &entry(id_of(&gateway), &urls));
        let words = format!("{} answers there", id_of(&other));
        assert!(guide.gateway.wait_for_log(|line| line.contains(&words), SOON));
        guide.leads_to(scene.honest.v4());
        assert!(!guide.answers().contains(&scene.evil.v4().to_string()));
    });
}

#[test]
fn a_gateway_that_is_offline_asks_nobody() {
    in_own_network("a_gateway_that_is_offline_asks_nobody", &[], || {
        let scene = Scene::new();
        let gateway = scene.gateway();
        let (host, entry) = (&scene.asker.host, entry(id_of(&gateway), &[at("http", &scene.honest)]));
        let guide = start(host, Gateway::builder().dns(host.at(53)).config_toml(&entry));
        let ready = || http::get(&format!("{}/readyz", guide.operator_url())).status;
        host.run(|| until(ready, |status| *status == 200));
        let reply = host.dig(&["A", ZONE, &format!("@{}", host.v4())]);
        assert_eq!(reply.to_string(), format!("NOERROR {}", host.v4()));
        let asked = gateway.metric("open_registry_http_requests_total", &[("route", "peer")]);
        assert!(asked < 0.5, "a connection was made");
    });
}

#[test]
fn what_is_no_gateway_passes_for_none() {
    in_own_network("what_is_no_gateway_passes_for_none", &[], || {
        let scene = Scene::new();
        let id = id_of(&scene.gateway());
        let page = ok("<html>");
        for (name, answer, words) in [
            ("page", page.as_bytes(), "no proof came"),
            ("bytes", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n\xff.a.b", "no proof came"),
            (
                "missing",
                b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
                "it answered with status 404",
            ),
            ("noise", b"SSH-2.0-OpenSSH_9.2\r\n", "no connection"),
            ("nothing", b"", "no connection"),
        ] {
            let (host, answer) = (scene.internet.host(name), answer.to_vec());
            serve(&host, 80, move |_, stream| {
                let _ = stream.write_all(&answer);
            });
            let outcome = scene.asker.outcome(id, host.v4());
            assert!(outcome.to_string().starts_with(words) && !outcome.is_deceit(), "{name}: {outcome:?}");
        }
        let nobody = scene.internet.host("nobody");
        assert_eq!(scene.asker.outcome(id, nobody.v4()), Outcome::Refused("nobody listens there".into()));
    });
}
