use std::net::{IpAddr, SocketAddr};

use super::*;
use crate::doctor::facts::{
    Answer, Asked, Behind, Clients, Disk, Distrust, Door, Holder, Home, Lookup, Peers, Port, Resolved,
    Setting, Upstream,
};

const GATEWAY: &str = "192.168.7.9";
const STRANGER: &str = "93.184.216.34";
const STRANGER6: &str = "2606:2800:220:1::1";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn addresses(list: &[&str]) -> Answer {
    Answer::Addresses(list.iter().map(|address| ip(address)).collect())
}

fn asked(server: &str, software: Option<&str>, a: Answer, aaaa: Answer) -> Asked {
    Asked {
        server: SocketAddr::new(ip(server), 53),
        origin: "/etc/resolv.conf".into(),
        software: software.map(str::to_owned),
        a,
        aaaa,
        unchecked: None,
        other: Some(addresses(&["93.184.216.35"])),
    }
}

fn door(address: &str, behind: Behind) -> Door {
    let address = SocketAddr::new(ip(address), 80);
    Door { address, behind, ahead_s: Some(0), certificate_days: None, instead: None }
}

fn gateway() -> Behind {
    Behind::Gateway { version: "0.1.0".into(), upstream: "up".into() }
}

/// A host in a network whose dnsmasq leads to the gateway, and who said where that is.
fn healthy() -> Facts {
    Facts {
        zone: "registry.open-registry.dev".into(),
        url: "http://registry.open-registry.dev".parse().unwrap(),
        named: vec![ip(GATEWAY)],
        hosted: false,
        resolvers: vec![asked("192.168.7.1", Some("dnsmasq-2.90"), addresses(&[GATEWAY]), addresses(&[]))],
        authorities: vec![asked(GATEWAY, None, addresses(&[GATEWAY]), addresses(&[]))],
        system: Lookup::Found(vec![ip(GATEWAY)]),
        hosts: Vec::new(),
        services: vec!["files".into(), "dns".into()],
        resolved: None,
        doors: vec![
            door(GATEWAY, gateway()),
            door(STRANGER, Behind::Other("an HTTP server that answers 200".into())),
            door(STRANGER6, Behind::Nobody("no answer in time".into())),
        ],
        upstream: None,
        home: None,
        peers: None,
        ports: Vec::new(),
        disk: None,
        clients: Clients::default(),
        left_out: Vec::new(),
    }
}

fn with(change: impl FnOnce(&mut Facts)) -> Vec<Finding> {
    let mut facts = healthy();
    change(&mut facts);
    diagnose(&facts)
}

/// The findings that are worse than ok, by level and topic.
fn worst(findings: &[Finding]) -> Vec<(&'static str, &'static str)> {
    let bad = findings.iter().filter(|finding| finding.level >= Level::Warning);
    bad.map(|finding| (finding.level.word(), finding.topic)).collect()
}

/// The one problem of this topic.
fn problem<'a>(findings: &'a [Finding], topic: &str) -> &'a Finding {
    findings
        .iter()
        .find(|finding| finding.topic == topic && finding.level == Level::Problem)
        .unwrap_or_else(|| panic!("no problem {topic} in {findings:#?}"))
}

#[test]
fn where_all_is_well_nothing_is_found() {
    let findings = with(|_| {});
    assert_eq!(worst(&findings), []);
    for topic in ["name", "resolver", "gateway", "clock"] {
        assert!(findings.iter().any(|finding| finding.topic == topic), "{topic}");
    }
}

/// What one resolver says, and what that is called.
#[test]
fn each_answer_of_a_resolver_has_its_name() {
    let none = || addresses(&[]);
    let failed = || Answer::ServerFailure;
    let table = [
        ("rebinding-filter", none(), none(), None),
        ("forwarder-missing", Answer::NoSuchName, Answer::NoSuchName, None),
        ("forwarder-missing", addresses(&[STRANGER]), none(), None),
        ("aaaa-leak", addresses(&[GATEWAY]), addresses(&[STRANGER6]), None),
        ("other-addresses", addresses(&[GATEWAY, STRANGER]), none(), None),
        ("dnssec", failed(), failed(), Some(addresses(&[GATEWAY]))),
        ("resolver-fails", failed(), failed(), Some(failed())),
        ("resolver-refuses", Answer::Refused, Answer::Refused, None),
        ("resolver-refuses", Answer::Code("NOTIMP".into()), none(), None),
        ("resolver-silent", Answer::Silence("no answer in time".into()), none(), None),
    ];
    for (topic, a, aaaa, unchecked) in table {
        let findings = with(|facts| {
            facts.system = Lookup::Failed("no such name".into());
            let answers = asked("192.168.7.1", Some("unbound 1.17.1"), a, aaaa);
            facts.resolvers = vec![Asked { unchecked, ..answers }];
        });
        assert_eq!(worst(&findings), [("problem", topic), ("problem", "name")], "{findings:#?}");
        let finding = problem(&findings, topic);
        assert!(!finding.cause.is_empty() && !finding.fix.is_empty(), "{finding:#?}");
    }
}

#[test]
fn the_fix_is_the_recipe_of_the_resolver_that_was_recognised() {
    let fix = |software: &str, a: Answer| {
        let findings = with(|facts| {
            facts.resolvers = vec![asked("192.168.7.1", Some(software), a, addresses(&[]))];
        });
        findings.iter().find(|finding| finding.level == Level::Problem).unwrap().fix.join("\n")
    };
    let rebinding = fix("dnsmasq-2.90", addresses(&[]));
    assert!(rebinding.contains("\nrebind-domain-ok=/registry.open-registry.dev/"), "{rebinding}");
    assert!(rebinding.contains("\nserver=/registry.open-registry.dev/192.168.7.9"), "{rebinding}");
    assert!(rebinding.contains("on 192.168.7.1, /etc/dnsmasq.d/open-registry.conf"), "{rebinding}");
    let unbound = fix("unbound 1.17.1", addresses(&[]));
    assert!(unbound.contains("private-domain: \"registry.open-registry.dev.\""), "{unbound}");
    let missing = fix("dnsmasq-pi-hole-v2.91", Answer::NoSuchName);
    assert!(missing.contains("host-record=registry.open-registry.dev,192.168.7.9,30"), "{missing}");
    let bind = fix("9.18.49-1~deb12u3-Debian", Answer::NoSuchName);
    assert!(bind.contains("type primary;"), "{bind}");
    let unknown = fix("", addresses(&[]));
    assert!(unknown.contains("open-registry setup openwrt --address 192.168.7.9"), "{unknown}");
}

#[test]
fn a_bind_that_fails_while_the_gateway_answers_denies_private_addresses() {
    let failing = |software| {
        let failed = || Answer::ServerFailure;
        let asked = asked("192.168.7.1", Some(software), failed(), failed());
        with(|facts| facts.resolvers = vec![Asked { unchecked: Some(failed()), ..asked }])
    };
    let denied = failing("9.18.49-1~deb12u3-Debian");
    let fix = problem(&denied, "rebinding-filter").fix.join("\n");
    assert!(fix.contains("type primary;") && fix.contains("@       IN A    192.168.7.9"), "{fix}");
    assert_eq!(worst(&failing("unbound 1.17.1")), [("problem", "resolver-fails")]);
}

#[test]
fn without_the_gateways_address_the_fix_says_where_to_put_it() {
    let findings = with(|facts| {
        facts.named = Vec::new();
        facts.doors = Vec::new();
        facts.authorities = Vec::new();
        facts.system = Lookup::Failed("no such name".into());
        facts.resolvers = vec![asked("192.168.7.1", Some("dnsmasq-2.90"), addresses(&[]), addresses(&[]))];
    });
    let finding = problem(&findings, "rebinding-filter");
    assert!(finding.cause.starts_with("most likely"), "{finding:#?}");
    assert!(finding.fix[0].contains("open-registry setup dnsmasq --address ADDRESS"), "{finding:#?}");
}

#[test]
fn only_public_addresses_of_a_gateway_that_has_both_are_a_rebinding_filter() {
    let findings = with(|facts| {
        facts.authorities = vec![asked(GATEWAY, None, addresses(&[GATEWAY, STRANGER]), addresses(&[]))];
        facts.resolvers =
            vec![asked("192.168.7.1", Some("unbound 1.17.1"), addresses(&[STRANGER]), addresses(&[]))];
    });
    assert!(problem(&findings, "rebinding-filter").what.contains("only the public addresses"));
}

#[test]
fn a_second_resolver_that_says_something_else_is_named() {
    let findings = with(|facts| {
        facts.resolvers.push(asked("192.168.7.2", None, Answer::NoSuchName, Answer::NoSuchName));
    });
    let expected = [("problem", "forwarder-missing"), ("problem", "second-resolver")];
    assert_eq!(worst(&findings), expected, "{findings:#?}");
    assert!(problem(&findings, "second-resolver").what.contains("192.168.7.2"));
}

#[test]
fn a_second_resolver_that_is_silent_costs_time_only() {
    let silence = Answer::Silence("no answer in time".into());
    let findings =
        with(|facts| facts.resolvers.push(asked("192.168.7.2", None, silence.clone(), silence.clone())));
    assert_eq!(worst(&findings), [("warning", "resolver-silent")]);
}

#[test]
fn a_gateway_that_was_handed_out_and_forwards_nothing_is_named() {
    let only = |server: &str| {
        let asked = asked(server, None, addresses(&[GATEWAY]), addresses(&[]));
        with(|facts| facts.resolvers = vec![Asked { other: Some(Answer::Refused), ..asked }])
    };
    assert_eq!(worst(&only(GATEWAY)), [("problem", "forward-missing")]);
    assert_eq!(worst(&only("192.168.7.1")), []);
}

#[test]
fn a_public_resolver_is_told_from_the_networks_own() {
    let findings = with(|facts| {
        facts.resolvers = vec![asked("9.9.9.9", Some("Q9-U-9.9"), Answer::NoSuchName, Answer::NoSuchName)];
        facts.system = Lookup::Failed("no such name".into());
    });
    assert_eq!(worst(&findings), [("problem", "public-resolver"), ("problem", "name")]);
}

#[test]
fn dns_over_tls_past_the_network_is_named() {
    let findings = with(|facts| {
        let mut stub = asked("127.0.0.53", None, Answer::NoSuchName, Answer::NoSuchName);
        facts.resolvers = vec![stub.clone()];
        stub.server = SocketAddr::new(ip("9.9.9.9"), 53);
        stub.origin = "/run/systemd/resolve/resolv.conf".into();
        facts.resolvers.push(stub);
        facts.system = Lookup::Failed("no such name".into());
        facts.resolved = Some(Resolved { dns_over_tls: Some("yes".into()), ..Resolved::default() });
    });
    assert!(problem(&findings, "encrypted-dns").fix[0].contains("DNSOverTLS="));
}

#[test]
fn a_resolver_on_this_host_that_asks_elsewhere_is_named() {
    let findings = with(|facts| {
        facts.resolvers = vec![asked("127.0.0.1", None, addresses(&[STRANGER]), addresses(&[]))];
        facts.system = Lookup::Found(vec![ip(STRANGER)]);
    });
    assert_eq!(worst(&findings), [("problem", "local-stub"), ("problem", "name")]);
}

/// systemd-resolved's stub with this answer, and behind it a server that leads to the gateway.
fn behind_stub(facts: &mut Facts, stub: Answer, resolved: Resolved) {
    let mut behind = asked("192.168.7.1", None, addresses(&[GATEWAY]), addresses(&[]));
    behind.origin = "/run/systemd/resolve/resolv.conf".into();
    let stub = asked("127.0.0.53", None, stub.clone(), stub);
    facts.resolvers = vec![Asked { unchecked: Some(Answer::ServerFailure), ..stub }, behind];
    facts.system = Lookup::Failed("no such name".into());
    facts.resolved = Some(resolved);
}

#[test]
fn a_validating_resolved_is_given_its_own_recipe() {
    let findings = |setting: &str| {
        let resolved = Resolved { dnssec: Some(setting.into()), ..Resolved::default() };
        with(|facts| behind_stub(facts, Answer::ServerFailure, resolved))
    };
    let validating = findings("yes");
    let fix = problem(&validating, "dnssec").fix.join("\n");
    assert!(fix.contains("open-registry.negative") && fix.contains("\nDNS=192.168.7.9\n"), "{fix}");
    assert_eq!(problem(&findings("no"), "resolver-fails").level, Level::Problem);
}

#[test]
fn a_resolved_that_insists_on_tls_where_nobody_speaks_it_is_named() {
    let resolved = Resolved { dns_over_tls: Some("yes".into()), ..Resolved::default() };
    let findings = with(|facts| behind_stub(facts, Answer::Silence("no answer in time".into()), resolved));
    assert!(problem(&findings, "encrypted-dns").what.contains("over TLS alone"));
}

#[test]
fn what_resolved_sends_to_the_gateway_may_be_unknown_to_its_other_servers() {
    let findings = with(|facts| {
        facts.resolvers = vec![asked("127.0.0.53", None, addresses(&[GATEWAY]), addresses(&[]))];
        let mut other = asked("192.168.7.1", None, Answer::NoSuchName, Answer::NoSuchName);
        other.origin = "/run/systemd/resolve/resolv.conf".into();
        facts.resolvers.push(other);
    });
    assert_eq!(worst(&findings), [("warning", "forwarder-missing")]);
}

#[test]
fn what_stands_between_a_good_resolver_and_programs_is_named() {
    let hosts = with(|facts| {
        facts.hosts = vec![ip(STRANGER)];
        facts.system = Lookup::Found(vec![ip(STRANGER)]);
    });
    assert!(problem(&hosts, "hosts-file").fix.contains(&format!("{STRANGER} registry.open-registry.dev")));
    let services = with(|facts| {
        facts.services = vec!["files".into()];
        facts.system = Lookup::Failed("no such name".into());
    });
    assert_eq!(worst(&services), [("problem", "nsswitch")]);
    let unknown = with(|facts| facts.system = Lookup::Found(vec![ip(STRANGER)]));
    assert_eq!(worst(&unknown), [("problem", "bypass")]);
}

#[test]
fn with_the_name_in_the_file_of_names_resolvers_matter_less() {
    let findings = with(|facts| {
        facts.hosts = vec![ip(GATEWAY)];
        facts.resolvers = vec![asked("192.168.7.1", None, Answer::NoSuchName, Answer::NoSuchName)];
    });
    assert_eq!(worst(&findings), [("warning", "forwarder-missing")]);
}

#[test]
fn a_gateway_that_is_not_there_is_told_from_one_on_another_port() {
    let down = with(|facts| facts.doors = vec![door(GATEWAY, Behind::Nobody("no answer in time".into()))]);
    assert_eq!(worst(&down), [("problem", "gateway-down")]);
    let moved = with(|facts| {
        let closed = door(GATEWAY, Behind::Nobody("nobody listens there".into()));
        facts.doors = vec![Door { instead: Some(6736), ..closed }];
    });
    assert!(problem(&moved, "port-missing").what.contains("port 6736, not on 80"));
    let taken = with(|facts| facts.doors = vec![door(GATEWAY, Behind::Other("nginx".into()))]);
    assert_eq!(worst(&taken), [("problem", "port-taken")]);
}

#[test]
fn a_gateway_whose_address_nobody_named_is_found_by_its_answer() {
    let findings = with(|facts| {
        facts.named = Vec::new();
        facts.authorities = Vec::new();
    });
    assert_eq!(worst(&findings), []);
}

#[test]
fn each_fault_of_a_certificate_has_its_own_fix() {
    for (why, words) in [
        (Distrust::Issuer, "setup npm --ca"),
        (Distrust::Time, "new certificate"),
        (Distrust::Name, "have one made for registry.open-registry.dev"),
        (Distrust::Other("bad encoding".into()), "authority that clients trust"),
    ] {
        let findings = with(|facts| facts.doors = vec![door(GATEWAY, Behind::Untrusted(why.clone()))]);
        assert!(problem(&findings, "certificate").fix[0].contains(words), "{findings:#?}");
    }
    let ending = |days| with(|facts| facts.doors[0].certificate_days = Some(days));
    assert_eq!(worst(&ending(13)), [("warning", "certificate")]);
    assert_eq!(worst(&ending(14)), []);
}

#[test]
fn upstream_and_clock_are_judged() {
    let reached = |outcome| {
        let url = "https://npm.example.com".parse().unwrap();
        with(|facts| facts.upstream = Some(Upstream { url, outcome, ahead_s: Some(2) }))
    };
    assert_eq!(worst(&reached(Ok(()))), []);
    assert_eq!(worst(&reached(Err("no answer in time".into()))), [("problem", "upstream")]);
    let followed = |serves: Result<(), String>| {
        let (url, contact) = ("https://npm.example.com".parse().unwrap(), "/ip4/192.0.2.7".to_owned());
        with(|facts| {
            facts.upstream = Some(Upstream { url, outcome: Err("no answer".into()), ahead_s: None });
            facts.home = Some(Home { contact, outcome: serves });
        })
    };
    assert_eq!(worst(&followed(Ok(()))), [("warning", "upstream")]);
    let alone = [("problem", "upstream"), ("warning", "home")];
    assert_eq!(worst(&followed(Err("it is not connected".into()))), alone);
    let skewed = |ahead| with(|facts| facts.doors[0].ahead_s = Some(ahead));
    assert_eq!(worst(&skewed(300)), []);
    assert_eq!(worst(&skewed(-301)), [("problem", "clock")]);
    assert!(problem(&skewed(3600), "clock").what.contains("60 minutes behind"));
    let down = Behind::Gateway { version: "0.1.0".into(), upstream: "down".into() };
    assert_eq!(worst(&with(|facts| facts.doors[0].behind = down)), [("warning", "upstream")]);
}

fn port(number: u16, holder: Holder) -> Port {
    let key = if number == 53 { "dns.listen" } else { "http.listen" };
    let addresses = vec![SocketAddr::new(ip("0.0.0.0"), number)];
    Port { key, addresses, one_by_one: false, protocol: "tcp", holder }
}

#[test]
fn of_all_addresses_only_those_that_the_gateway_is_known_by_are_a_loss() {
    let taken = |addresses: &[&str]| {
        let addresses = addresses.iter().map(|address| SocketAddr::new(ip(address), 53)).collect();
        let holder = Holder::Other(Some("dnsmasq".into()));
        worst(&with(|facts| facts.ports = vec![Port { addresses, one_by_one: true, ..port(53, holder) }]))
    };
    for spared in [&["127.0.0.1"][..], &["192.168.122.1"], &["::1"]] {
        assert_eq!(taken(spared), [("warning", "port-conflict")], "{spared:?}");
    }
    assert_eq!(taken(&["127.0.0.1", GATEWAY]), [("problem", "port-conflict")]);
}

#[test]
fn a_gateway_that_a_stub_asks_beside_another_need_not_forward() {
    let behind = |server: &str, other: Answer| Asked {
        origin: "/run/systemd/resolve/resolv.conf".into(),
        other: Some(other),
        ..asked(server, None, addresses(&[GATEWAY]), addresses(&[]))
    };
    let look = |resolvers: Vec<Asked>| {
        worst(&with(|facts| {
            let stub = asked("127.0.0.53", None, addresses(&[GATEWAY]), addresses(&[]));
            facts.resolvers = [vec![stub], resolvers].concat();
        }))
    };
    let gateway = behind(GATEWAY, Answer::Refused);
    assert_eq!(look(vec![gateway.clone()]), [("problem", "forward-missing")]);
    assert_eq!(look(vec![gateway, behind("192.168.7.1", addresses(&["93.184.216.35"]))]), []);
}

#[test]
fn a_stub_without_servers_is_told_from_one_whose_servers_refuse() {
    let refusing = |server: &str| asked(server, None, Answer::Refused, Answer::Refused);
    let look = |behind: Vec<Asked>| {
        with(|facts| {
            facts.system = Lookup::Failed("no such name".into());
            facts.resolvers = [vec![refusing("127.0.0.53")], behind].concat();
        })
    };
    let alone = look(Vec::new());
    let finding = problem(&alone, "resolver-refuses");
    assert!(finding.what.contains("no servers to ask"), "{finding:#?}");
    assert!(finding.fix.iter().any(|line| line == "DNS=192.168.7.9"), "{finding:#?}");
    let origin = "/run/systemd/resolve/resolv.conf".to_owned();
    let behind = look(vec![Asked { origin, ..refusing("192.168.7.1") }]);
    assert!(problem(&behind, "resolver-refuses").cause.contains("other networks"), "{behind:#?}");
}

#[test]
fn ports_of_the_gateways_host_are_judged() {
    let findings = |holders: &[(u16, Holder)]| {
        with(|facts| {
            facts.hosted = true;
            facts.ports = holders.iter().map(|(number, holder)| port(*number, holder.clone())).collect();
        })
    };
    let by = |name: &str| Holder::Other(Some(name.into()));
    assert_eq!(worst(&findings(&[(80, Holder::Ours), (53, Holder::Ours)])), []);
    assert_eq!(worst(&findings(&[(53, Holder::Free)])), []);
    // Other sockets answer, as the facts say.
    assert_eq!(worst(&findings(&[(80, Holder::Ours), (53, Holder::Free)])), []);
    let silent = with(|facts| {
        facts.authorities = Vec::new();
        facts.ports = vec![port(80, Holder::Ours), port(53, Holder::Free)];
    });
    assert_eq!(worst(&silent), [("problem", "not-listening")]);
    assert_eq!(worst(&findings(&[(53, Holder::Forbidden)])), [("warning", "port-forbidden")]);
    assert_eq!(worst(&findings(&[(53, Holder::Absent)])), [("problem", "address-missing")]);
    let resolved = findings(&[(53, by("systemd-resolve"))]);
    assert!(problem(&resolved, "port-conflict").fix[1].contains("[\"192.168.7.9:53\"]"), "{resolved:#?}");
    assert!(problem(&findings(&[(53, by("dnsmasq"))]), "port-conflict").fix[0].contains("stop dnsmasq"));
    // Whoever cannot see the program sees its answer.
    assert_eq!(worst(&findings(&[(80, Holder::Other(None))])), []);
    let hidden = findings(&[(53, Holder::Other(None))]);
    assert!(hidden.iter().any(|finding| finding.level == Level::LeftOut && finding.what.contains("as root")));
}

#[test]
fn what_is_between_a_gateway_and_its_peers_is_named() {
    let by = |name: Option<&str>| Some(Holder::Other(name.map(str::to_owned)));
    let look = |shares, configured, connected, multicast| {
        with(|facts| facts.peers = Some(Peers { shares, configured, connected, multicast }))
    };
    assert_eq!(worst(&look(true, 3, 2, None)), []);
    assert_eq!(worst(&look(false, 0, 0, None)), [], "who has nobody withholds nothing");
    for (configured, connected, words) in [(0, 1, "1 of them connected"), (2, 0, "2 of them configured")] {
        let found = look(false, configured, connected, None);
        assert_eq!(worst(&found), [("warning", "sharing")]);
        assert!(found.iter().any(|finding| finding.what.ends_with(words)), "{found:#?}");
    }
    for (program, fix) in [
        (Some("avahi-daemon"), "setup avahi"),
        (Some("systemd-resolve"), "setup resolved-dnssd"),
        (Some("mdnsd"), "stop mdnsd"),
        (None, "as root"),
    ] {
        let found = look(true, 0, 0, by(program));
        assert_eq!(worst(&found), [("warning", "multicast-port")]);
        let lines: Vec<_> = found.iter().flat_map(|finding| &finding.fix).collect();
        assert!(lines.iter().any(|line| line.contains(fix)), "{lines:#?}");
    }
    let silent = look(false, 0, 0, by(Some("avahi-daemon")));
    assert!(!format!("{silent:?}").contains("setup avahi"), "who shares nothing is not announced");
}

#[test]
fn a_disk_is_judged_by_its_room() {
    let disk = |writable, mib: u64| {
        let dir = "/var/lib/open-registry".into();
        with(|facts| facts.disk = Some(Disk { dir, exists: true, writable, free: mib << 20 }))
    };
    assert_eq!(worst(&disk(true, 4096)), []);
    assert_eq!(worst(&disk(true, 900)), [("warning", "disk")]);
    assert_eq!(worst(&disk(true, 200)), [("problem", "disk")]);
    assert_eq!(worst(&disk(false, 4096)), [("warning", "disk")]);
}

#[test]
fn settings_that_send_clients_elsewhere_are_named_by_their_place() {
    let setting = |value: &str| Setting { place: "/home/me/.npmrc:3".into(), value: value.into() };
    let npm = |value: &str| with(|facts| facts.clients.npm = vec![setting(value)]);
    for ours in ["http://registry.open-registry.dev", "http://192.168.7.9:80/", "http://localhost:6736"] {
        assert_eq!(worst(&npm(ours)), [], "{ours}");
    }
    let elsewhere = npm("https://me:hunter2@npm.example.com/");
    assert_eq!(worst(&elsewhere), [("warning", "client")]);
    assert!(elsewhere[0].cause.contains(".npmrc:3") && !format!("{elsewhere:?}").contains("hunter2"));
    assert_eq!(worst(&npm("registry")), [("warning", "client")]);
    let yarn = |accepts| {
        with(|facts| {
            facts.clients.yarn = vec![setting("http://registry.open-registry.dev")];
            facts.clients.yarn_accepts_http = accepts;
        })
    };
    assert_eq!(worst(&yarn(true)), []);
    assert_eq!(worst(&yarn(false)), [("problem", "client")]);
    assert_eq!(worst(&with(|facts| facts.clients.proxy = Some(setting("")))), [("warning", "proxy")]);
}
