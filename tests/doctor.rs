//! Promise: where the name does not lead to the gateway, `open-registry doctor` names the cause, and its fix mends it.

#![allow(clippy::unwrap_used, reason = "in a test, also outside of its function, a panic is a failure")]

use std::fs;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use harness::lan::{Host, Lan, NameServer, Office, PublicDns, Publication, ZONE};
use harness::{Ca, Gateway, Identity, binary, in_own_network};
use serde_json::Value;

/// What the issue allows where nobody answers, and room for a machine that is busy with other tests.
const AT_MOST: Duration = Duration::from_secs(15);

/// No argument: what a user types.
const NOTHING: &[&str] = &[];

/// What was found, as `--json` prints it.
struct Findings(Value);

/// Looks from this host.
fn look<S: AsRef<str>>(host: &Host, arguments: &[S]) -> Findings {
    let program = binary();
    // Of the test's own environment, it would complain or be misled.
    let alone = ["-i", "HOME=/nonexistent", program.to_str().unwrap(), "doctor", "--json"];
    let arguments = arguments.iter().map(AsRef::as_ref);
    let said = host.output("env", &alone.into_iter().chain(arguments).collect::<Vec<_>>());
    let findings: Value =
        serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    assert_eq!(said.success, findings["problems"] == 0, "{findings:#}");
    Findings(findings)
}

impl Findings {
    /// The topics of all problems, in order.
    fn problems(&self) -> Vec<&str> {
        let list = self.0["findings"].as_array().unwrap().iter();
        list.filter(|finding| finding["level"] == "problem")
            .map(|one| one["topic"].as_str().unwrap())
            .collect()
    }

    fn has(&self, level: &str, topic: &str) -> bool {
        self.0["findings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["level"] == level && one["topic"] == topic)
    }

    /// The lines that mend the problem of this topic: what stands between where they go and how to get them.
    fn fix(&self, topic: &str) -> String {
        let list = self.0["findings"].as_array().unwrap();
        let finding = list.iter().find(|one| one["topic"] == topic && one["level"] == "problem").unwrap();
        let lines = finding["fix"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
        let lines = lines.filter(|line| !line.starts_with("on ") && !line.starts_with('('));
        lines.fold(String::new(), |text, line| text + line + "\n")
    }
}

/// A gateway that answers DNS and plain http at its first address.
fn gateway(host: &Host) -> Gateway {
    let toml = format!("[dns]\nlisten = [\"{}\"]\n", host.at(53));
    // A registry that is not there: nobody asks for packages.
    let builder = Gateway::builder().upstream("http://127.0.0.1:9").config_toml(&toml).listen(host.at(80));
    host.run(|| builder.start())
}

/// A gateway that serves https alone, with a certificate for this name.
fn https(host: &Host, ca: &Ca, name: &str, folder: &Path) -> Gateway {
    let (cert, key) = ca.leaf(&[name]).write(folder);
    let files = format!("[tls]\ncert = \"{}\"\nkey = \"{}\"\n", cert.display(), key.display());
    let toml = format!("[http]\ntls_listen = [\"{}\"]\n{files}", host.at(443));
    host.run(|| Gateway::builder().upstream("http://127.0.0.1:9").config_toml(&toml).start())
}

fn to_gateway(office: &Office) -> [String; 2] {
    ["--gateway".to_owned(), office.server.v4().to_string()]
}

#[test]
fn each_cause_is_named_and_mended_with_dnsmasq() {
    in_own_network("each_cause_is_named_and_mended_with_dnsmasq", &[], || {
        let office = Office::new(&[]);
        let _gateway = gateway(&office.server);
        let own = office.server.v4();
        let filter = "stop-dns-rebind\n";
        let forward = format!("server=/{ZONE}/{own}\n");
        let leak = format!("address=/{ZONE}/{own}\naddress=/{ZONE}/2606:2800:220:1::1\n");
        // What stays when it is mended, what goes, and what that is called.
        for (stays, goes, topic) in [
            ("", "", "forwarder-missing"),
            (filter, "", "forwarder-missing"),
            (filter, &*forward, "rebinding-filter"),
            ("", &leak, "aaaa-leak"),
        ] {
            let stays = format!("{}{stays}", office.public_dns.for_dnsmasq(false));
            let resolver = NameServer::dnsmasq(&office.router, &format!("{stays}{goes}"));
            assert!(look(&office.laptop, NOTHING).problems().contains(&"name"), "{stays}{goes}");
            let found = look(&office.laptop, &to_gateway(&office));
            assert_eq!(found.problems(), [topic, "name"], "{stays}{goes}: {:#}", found.0);
            drop(resolver);

            let mended = format!("{stays}{}", found.fix(topic));
            let _resolver = NameServer::dnsmasq(&office.router, &mended);
            for arguments in [&to_gateway(&office)[..], &[]] {
                let found = look(&office.laptop, arguments);
                assert_eq!(found.problems(), [""; 0], "{mended}: {:#}", found.0);
            }
        }
    });
}

/// An office in a world where the name is part of a signed zone, so that whatever differs from what is published is
/// bogus; a gateway, and a laptop that asks the router.
struct SignedWorld {
    public_dns: PublicDns,
    router: Host,
    server: Host,
    laptop: Host,
    _internet: Lan,
    _lan: Lan,
}

impl SignedWorld {
    fn new() -> Self {
        let internet = Lan::internet();
        let public_dns = PublicDns::new(&internet, Publication::Signed, &[]);
        let lan = Lan::new("office", 7);
        let router = lan.router(&internet);
        let (server, laptop) = (lan.host_at("server", 9), lan.host("laptop"));
        Self { public_dns, router, server, laptop, _internet: internet, _lan: lan }
    }

    fn look(&self) -> Findings {
        look(&self.laptop, &["--gateway", &self.server.v4().to_string()])
    }

    /// The cause is named with the first configuration, and nothing is left of it with the second.
    fn is_named_and_mended(
        &self,
        topic: &str,
        broken: impl FnOnce() -> NameServer,
        mended: impl FnOnce(&Findings) -> NameServer,
    ) {
        let resolver = broken();
        let found = self.look();
        assert_eq!(found.problems(), [topic, "name"], "{:#}", found.0);
        drop(resolver);
        let _resolver = mended(&found);
        let after = self.look();
        assert_eq!(after.problems(), [""; 0], "{:#} after {:#}", after.0, found.0);
    }
}

#[test]
fn filters_and_validation_are_named_and_mended_with_unbound() {
    in_own_network("filters_and_validation_are_named_and_mended_with_unbound", &[], || {
        let world = SignedWorld::new();
        let _gateway = gateway(&world.server);
        let forward = format!("forward-zone:\n  name: \"{ZONE}.\"\n  forward-addr: {}\n", world.server.v4());
        let filter = "server:\n  private-address: 192.168.0.0/16\n";
        for (validating, filter, topic) in
            [(false, filter, "rebinding-filter"), (true, "", "dnssec"), (true, filter, "dnssec")]
        {
            let stays = format!("{}{filter}", world.public_dns.for_unbound(validating));
            let start = |lines: &str| NameServer::unbound(&world.router, &format!("{stays}{lines}"));
            world.is_named_and_mended(topic, || start(&forward), |found| start(&found.fix(topic)));
        }
    });
}

#[test]
fn filters_and_validation_are_named_and_mended_with_bind() {
    in_own_network("filters_and_validation_are_named_and_mended_with_bind", &[], || {
        let world = SignedWorld::new();
        let _gateway = gateway(&world.server);
        let own = world.server.v4();
        let forward =
            format!("zone \"{ZONE}\" {{ type forward; forward only; forwarders {{ {own}; }}; }};\n");
        let filter = "deny-answer-addresses { 192.168.0.0/16; };\n";
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("db.open-registry");
        for (validating, filter, forward, topic) in [
            (false, "", "", "forwarder-missing"),
            (false, filter, &*forward, "rebinding-filter"),
            (true, "", &forward, "dnssec"),
            (true, filter, &forward, "rebinding-filter"),
        ] {
            let (options, statements) = world.public_dns.for_bind(validating);
            let options = format!("{options}\n{filter}");
            let start =
                |lines: &str| NameServer::bind(&world.router, &options, &format!("{statements}\n{lines}"));
            let mended = |found: &Findings| {
                // Two files: the statement, and the zone that it names.
                let fix = found.fix(topic);
                let (statement, zone) = fix.split_at(fix.find("$ORIGIN").unwrap());
                fs::write(&file, zone).unwrap();
                start(&statement.replace("/etc/bind/db.open-registry", file.to_str().unwrap()))
            };
            world.is_named_and_mended(topic, || start(forward), mended);
        }
    });
}

#[test]
fn a_second_resolver_is_named_whichever_the_first_is() {
    in_own_network("a_second_resolver_is_named_whichever_the_first_is", &[], || {
        let office = Office::new(&[]);
        let _gateway = gateway(&office.server);
        let config = format!(
            "{}host-record={ZONE},{}\nlocal=/{ZONE}/\n",
            office.public_dns.for_dnsmasq(false),
            office.server.v4()
        );
        let _resolver = NameServer::dnsmasq(&office.router, &config);
        let both: [IpAddr; 2] = [office.router.v4().into(), office.public_dns.address()];
        office.laptop.use_name_servers(&both);
        let found = look(&office.laptop, NOTHING);
        assert_eq!(found.problems(), ["public-resolver", "second-resolver"], "{:#}", found.0);

        office.laptop.use_name_servers(&[both[1], both[0]]);
        let found = look(&office.laptop, NOTHING);
        let expected = ["public-resolver", "second-resolver", "bypass"];
        assert_eq!(found.problems(), expected, "{:#}", found.0);

        office.laptop.use_name_servers(&both[..1]);
        let found = look(&office.laptop, NOTHING);
        assert_eq!(found.problems(), [""; 0], "{:#}", found.0);
        assert!(
            found.has("ok", "name") && found.has("ok", "gateway") && found.has("ok", "clock"),
            "{:#}",
            found.0
        );
        // The gateway's upstream is not there, and the gateway says so itself.
        assert!(found.has("warning", "upstream"), "{:#}", found.0);
    });
}

#[test]
fn a_gateway_that_is_the_only_resolver_has_to_forward() {
    in_own_network("a_gateway_that_is_the_only_resolver_has_to_forward", &[], || {
        let office = Office::new(&[]);
        let _router = NameServer::dnsmasq(&office.router, &office.public_dns.for_dnsmasq(false));
        let gateway = gateway(&office.server);
        office.laptop.use_name_servers(&[office.server.v4().into()]);
        assert_eq!(look(&office.laptop, NOTHING).problems(), ["forward-missing"]);
        drop(gateway);

        let toml = format!(
            "[dns]\nlisten = [\"{}\"]\nforward = [\"{}\"]\n",
            office.server.at(53),
            office.router.v4()
        );
        let builder = Gateway::builder().upstream("http://127.0.0.1:9").config_toml(&toml);
        let _gateway = office.server.run(|| builder.listen(office.server.at(80)).start());
        assert_eq!(look(&office.laptop, NOTHING).problems(), [""; 0]);
    });
}

#[test]
fn a_gateway_on_another_port_or_not_running_is_told_apart() {
    in_own_network("a_gateway_on_another_port_or_not_running_is_told_apart", &[], || {
        let office = Office::new(&[]);
        let config = format!("host-record={ZONE},{}\nlocal=/{ZONE}/\n", office.server.v4());
        let _resolver = NameServer::dnsmasq(&office.router, &config);
        let elsewhere = Gateway::builder().upstream("http://127.0.0.1:9").listen(office.server.at(6736));
        let gateway = office.server.run(|| elsewhere.start());
        let found = look(&office.laptop, NOTHING);
        assert_eq!(found.problems(), ["port-missing"], "{:#}", found.0);
        let with_port = format!("http://{ZONE}:6736");
        assert_eq!(look(&office.laptop, &["--url", &with_port]).problems(), [""; 0]);

        drop(gateway);
        assert_eq!(look(&office.laptop, NOTHING).problems(), ["gateway-down"]);
    });
}

#[test]
fn it_ends_in_time_where_nobody_answers() {
    in_own_network("it_ends_in_time_where_nobody_answers", &[], || {
        let lan = Lan::new("office", 7);
        let laptop = lan.host("laptop");
        let nobody: Vec<IpAddr> = (200..203).map(|last| IpAddr::from([192, 168, 7, last])).collect();
        laptop.use_name_servers(&nobody);
        let begun = Instant::now();
        let found =
            look(&laptop, &["--gateway", "192.168.7.99", "--here", "--upstream", "http://192.168.7.98"]);
        assert!(begun.elapsed() < AT_MOST, "{:?}", begun.elapsed());
        for topic in ["resolver-silent", "name", "gateway-down", "upstream"] {
            assert!(found.problems().contains(&topic), "{:#}", found.0);
        }
    });
}

#[test]
fn what_has_the_gateways_port_is_named_on_its_own_host() {
    in_own_network("what_has_the_gateways_port_is_named_on_its_own_host", &[], || {
        let lan = Lan::new("office", 7);
        let server = lan.host_at("server", 9);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("open-registry.toml");
        let data = folder.path().join("data");
        let toml = format!(
            "[http]\nlisten = [\"{}\", \"10.9.9.9:80\"]\n[dns]\nlisten = [\"{}\"]\n[store]\ndir = \"{}\"\n",
            server.at(80),
            server.at(53),
            data.display()
        );
        fs::write(&file, toml).unwrap();
        let squatter = server.run(|| TcpListener::bind(server.at(80)).unwrap());

        let found = look(&server, &["--config", file.to_str().unwrap()]);
        assert!(
            found.has("problem", "port-conflict") && found.has("problem", "address-missing"),
            "{:#}",
            found.0
        );
        let told = found.0.to_string();
        assert!(told.contains(&format!(" has {} (tcp, http.listen)", server.at(80))), "{told}");
        assert!(told.contains(&format!("{} (udp, dns.listen) is free", server.at(53))), "{told}");
        assert!(told.contains(&format!("MiB are free for {}", data.display())), "{told}");
        drop(squatter);
    });
}

#[test]
fn what_keeps_a_gateway_from_its_peers_is_named_on_its_own_host() {
    in_own_network("what_keeps_a_gateway_from_its_peers_is_named_on_its_own_host", &[], || {
        let lan = Lan::new("office", 7);
        let server = lan.host_at("server", 9);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("open-registry.toml");
        let data = folder.path().join("data");
        let start = format!(
            "[http]\nlisten = [\"{}\"]\n[store]\ndir = \"{}\"\n[upstream]\nurl = \"http://127.0.0.1:9\"\n",
            server.at(80),
            data.display()
        );
        let look = |lines: &str| {
            fs::write(&file, format!("{start}{lines}")).unwrap();
            look(&server, &["--config", file.to_str().unwrap()])
        };
        let free = look("");
        for topic in ["port-conflict", "multicast-port", "sharing"] {
            assert!(!free.has("problem", topic) && !free.has("warning", topic), "{:#}", free.0);
        }
        assert!(free.0.to_string().contains("0.0.0.0:6738 (udp, federation.listen) is free"), "{:#}", free.0);

        // Neither of them shares what it has.
        let _multicast = server.run(|| UdpSocket::bind("0.0.0.0:5353").unwrap());
        let _squatter = server.run(|| TcpListener::bind("0.0.0.0:6738").unwrap());
        let found = look("");
        assert!(
            found.has("warning", "multicast-port") && found.has("problem", "port-conflict"),
            "{:#}",
            found.0
        );
        let told = found.0.to_string();
        assert!(told.contains("has 0.0.0.0:6738 (tcp, federation.listen)"), "{told}");
        assert!(!look("[federation]\ndiscover = false\n").has("warning", "multicast-port"));

        let contact = format!("/ip4/192.168.7.1/tcp/6738/p2p/{}", Identity::new().id());
        let lonely = "[share]\nenabled = false\n";
        assert!(!look(lonely).has("warning", "sharing"));
        let named = format!("{lonely}[federation]\nbootstrap = [\"{contact}\"]\n");
        assert!(look(&named).has("warning", "sharing"));
    });
}

#[test]
fn a_stub_resolver_beside_dns_on_all_addresses_is_no_problem() {
    in_own_network("a_stub_resolver_beside_dns_on_all_addresses_is_no_problem", &[], || {
        let lan = Lan::new("office", 7);
        let server = lan.host_at("server", 9);
        let _stub = server.run(|| {
            ["127.0.0.53:53", "127.0.0.54:53"]
                .map(|at| (UdpSocket::bind(at).unwrap(), TcpListener::bind(at).unwrap()))
        });
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("open-registry.toml");
        let dns = "[dns]\nlisten = [\"0.0.0.0:53\", \"[::]:53\"]\n";
        let (listen, data) = (server.at(80), folder.path().join("data"));
        let toml = format!("[http]\nlisten = [\"{listen}\"]\n{dns}[store]\ndir = \"{}\"\n", data.display());
        fs::write(&file, toml).unwrap();
        let look = || look(&server, &["--offline", "--config", file.to_str().unwrap()]);
        let ports = |found: &Findings| {
            let list = found.0["findings"].as_array().unwrap().iter();
            let ports = list.filter(|one| one["what"].to_string().contains(", dns.listen)"));
            ports.map(|one| format!("{} {}", one["level"], one["what"])).collect::<Vec<_>>()
        };
        let has = |ports: &[String], level: &str, words: &str| {
            ports.iter().any(|port| port.contains(level) && port.contains(words))
        };

        let free = ports(&look());
        assert!(
            free.len() == 4 && free.iter().all(|port| port.ends_with("is free for the gateway\"")),
            "{free:#?}"
        );
        assert!(has(&free, "ok", &format!("{} (udp", server.at(53))), "{free:#?}");

        let builder = Gateway::builder().upstream("http://127.0.0.1:9").config_toml(dns).listen(listen);
        let gateway = server.run(|| builder.start());
        let found = look();
        let served = ports(&found);
        assert!(served.iter().all(|port| port.contains("listens on")), "{:#}", found.0);
        assert!(!found.has("problem", "port-conflict"), "{:#}", found.0);
        drop(gateway);

        let squatter = server.run(|| UdpSocket::bind(server.at(53)).unwrap());
        let taken = ports(&look());
        assert!(has(&taken, "problem", &format!(" has {} (udp", server.at(53))), "{taken:#?}");
        drop(squatter);
        let _spared = server.run(|| UdpSocket::bind("127.0.0.1:53").unwrap());
        assert!(has(&ports(&look()), "warning", " has 127.0.0.1:53 (udp"), "{:#?}", ports(&look()));
    });
}

#[test]
fn a_certificate_is_judged_as_clients_would() {
    in_own_network("a_certificate_is_judged_as_clients_would", &[], || {
        let lan = Lan::new("office", 7);
        let (server, laptop) = (lan.host_at("server", 9), lan.host("laptop"));
        let config = format!("host-record={ZONE},{}\nlocal=/{ZONE}/\n", server.v4());
        let _resolver = NameServer::dnsmasq(&server, &config);
        laptop.use_name_servers(&[server.v4().into()]);
        let ca = Ca::new();
        let files = tempfile::tempdir().unwrap();
        let root = files.path().join("ca.pem");
        ca.write_pem(&root);
        let url = format!("https://{ZONE}");
        let look_with = |ca: Option<&str>| match ca {
            Some(file) => look(&laptop, &["--url", &url, "--ca", file]),
            None => look(&laptop, &["--url", &url]),
        };
        for (name, trusted, problems) in [
            (ZONE, true, &[][..]),
            (ZONE, false, &["certificate"]),
            ("other.example", true, &["certificate"]),
        ] {
            let gateway = https(&server, &ca, name, files.path());
            let found = look_with(trusted.then(|| root.to_str().unwrap()));
            assert_eq!(found.problems(), problems, "{name}: {:#}", found.0);
            drop(gateway);
        }
    });
}
