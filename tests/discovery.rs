//! Promise: gateways in the same network find each other within 3 s of a start, whatever addresses the network has, and one that
//! is gone is gone within 10 s.
//!
//! Hosts on a switch, with the real program and nothing configured but where it listens.

#![allow(clippy::unwrap_used, reason = "in a test, also outside of its function, a panic is a failure")]

use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness::lan::{Host, Lan};
use harness::mdns::announce_nobodies;
use harness::network::ip;
use harness::{Gateway, GatewayBuilder, in_own_network, until};

/// What is promised, once a gateway listens.
const FOUND: Duration = Duration::from_secs(3);
const GONE: Duration = Duration::from_secs(10);

/// Where gateways listen for each other unless configured otherwise.
const EVERYWHERE: &str = "0.0.0.0:6738,[::]:6738";

fn builder(host: &Host) -> GatewayBuilder {
    Gateway::builder().listen(host.at(6736)).peers_at(EVERYWHERE)
}

fn start(host: &Host) -> Gateway {
    host.run(|| builder(host).start())
}

/// Takes one family away.
fn without(host: &Host, family: &str) {
    host.run(|| match family {
        "v4" => ip(&["-4", "address", "flush", "dev", "office"]),
        _ => ip(&["-6", "address", "flush", "dev", "office"]),
    });
}

/// Both see each other; says how long that took.
fn meet(older: &Gateway, newer: &Gateway) -> Duration {
    let start = Instant::now();
    let (older_id, newer_id) = (older.id(), newer.id());
    until(|| newer.connected(), |connected| connected.contains(&older_id));
    until(|| older.connected(), |connected| connected.contains(&newer_id));
    start.elapsed()
}

#[expect(clippy::print_stdout, reason = "a figure for whoever asks for it with --nocapture")]
fn assert_soon(what: &str, took: Duration) {
    println!("{what}: {took:.2?}");
    assert!(took <= FOUND, "{what} took {took:?}");
}

#[test]
fn two_hosts_find_each_other_and_one_that_is_killed_is_gone() {
    in_own_network("two_hosts_find_each_other_and_one_that_is_killed_is_gone", &[], || {
        let lan = Lan::new("office", 7);
        let hosts = [lan.host("one"), lan.host("two")];
        let (older, mut newer) = (start(&hosts[0]), start(&hosts[1]));
        assert_soon("both families", meet(&older, &newer));
        let seen = &older.status()["connected"][0];
        assert_eq!(seen["near"], true);

        let killed = Instant::now();
        newer.kill();
        until(|| older.connected(), Vec::is_empty);
        assert!(killed.elapsed() <= GONE, "it took {:?}", killed.elapsed());

        newer.restart();
        assert_soon("one that is back", meet(&older, &newer));
        let cut = Instant::now();
        hosts[1].on(&lan).cut();
        until(|| older.connected(), Vec::is_empty);
        assert!(cut.elapsed() <= GONE, "it took {:?}", cut.elapsed());
    });
}

#[test]
fn a_network_of_one_family_will_do() {
    in_own_network("a_network_of_one_family_will_do", &[], || {
        for missing in ["v6", "v4"] {
            let lan = Lan::new("office", 7);
            let hosts = [lan.host("one"), lan.host("two")];
            hosts.iter().for_each(|host| without(host, missing));
            let start = |host: &Host| {
                let at = if missing == "v4" { host.at_v6(6736) } else { host.at(6736) };
                host.run(|| Gateway::builder().listen(at).peers_at(EVERYWHERE).start())
            };
            let (older, newer) = (start(&hosts[0]), start(&hosts[1]));
            assert_soon(&format!("without {missing}"), meet(&older, &newer));
        }
    });
}

#[test]
fn a_host_in_two_networks_is_found_in_both() {
    in_own_network("a_host_in_two_networks_is_found_in_both", &[], || {
        let (left, right) = (Lan::new("left", 7), Lan::new("right", 8));
        let between = left.router(&right);
        let hosts = [left.host("one"), right.host("two")];
        let middle = between.run(|| Gateway::builder().listen(between.at(6736)).peers_at(EVERYWHERE).start());
        for host in &hosts {
            let other = start(host);
            assert_soon("from one side", meet(&middle, &other));
        }
    });
}

#[test]
fn an_interface_that_appears_later_is_looked_at() {
    in_own_network("an_interface_that_appears_later_is_looked_at", &[], || {
        let lan = Lan::new("office", 7);
        let hosts = [lan.host("one"), lan.host("two")];
        let [older, newer] = &hosts;
        newer.run(|| ip(&["link", "set", "office", "down"]));
        let at = newer.v6();
        let (older, late) = (
            start(older),
            newer.run(|| {
                let here = "127.0.0.1:6736".parse().unwrap();
                Gateway::builder().listen(here).peers_at(EVERYWHERE).start()
            }),
        );
        assert!(late.connected().is_empty());
        newer.run(|| {
            ip(&["link", "set", "office", "up"]);
            // What a host gets by itself comes back when its cable does; what was given to it does not.
            ip(&["-6", "address", "replace", &format!("{at}/64"), "dev", "office", "nodad"]);
        });
        let appeared = Instant::now();
        meet(&older, &late);
        assert_soon("an interface that appeared", appeared.elapsed());
    });
}

#[test]
fn a_gateway_that_shares_nothing_finds_others_and_does_not_say_that_it_is_there() {
    in_own_network(
        "a_gateway_that_shares_nothing_finds_others_and_does_not_say_that_it_is_there",
        &[],
        || {
            let lan = Lan::new("office", 7);
            let hosts = [lan.host("one"), lan.host("two"), lan.host("three")];
            let silent = |host: &Host| host.run(|| builder(host).flag("--share").flag("false").start());
            let (one, two) = (silent(&hosts[0]), silent(&hosts[1]));
            let open = start(&hosts[2]);
            meet(&open, &one);
            meet(&open, &two);
            let said: Vec<String> = [&one, &two].iter().flat_map(|gateway| gateway.log()).collect();
            assert!(!said.iter().any(|line| line.contains("announce")), "{said:?}");
        },
    );
}

#[test]
fn networks_of_containers_are_left_out() {
    in_own_network("networks_of_containers_are_left_out", &[], || {
        let (containers, lan) = (Lan::new("docker0", 8), Lan::new("office", 7));
        let hosts = [containers.host("one"), containers.host("two")];
        let ear = containers.host("ear");
        let overheard = ear.run(|| {
            let socket = UdpSocket::bind("0.0.0.0:5353").expect("a port for multicast DNS");
            socket.join_multicast_v4(&Ipv4Addr::new(224, 0, 0, 251), &ear.v4()).expect("the group");
            socket.set_nonblocking(true).map(|()| socket).expect("a socket that does not wait")
        });
        let start_at = |host: &Host, lines: &str| {
            host.run(|| builder(host).config_toml(&format!("[federation]\n{lines}\n")).start())
        };
        let (one, two) = (start_at(&hosts[0], ""), start_at(&hosts[1], ""));
        // As long as others need to be found, and twice that.
        let others = [lan.host("three"), lan.host("four")];
        let (three, four) = (start(&others[0]), start(&others[1]));
        meet(&three, &four);
        let fifth = lan.host("five");
        meet(&three, &start(&fifth));
        assert!(one.connected().is_empty() && two.connected().is_empty());
        let word = overheard.recv(&mut [0; 1500]);
        assert!(word.is_err(), "something was said where nothing is to be said: {word:?}");
        drop((one, two));
        let named = "interfaces = [\"docker0\"]";
        let (one, two) = (start_at(&hosts[0], named), start_at(&hosts[1], named));
        assert_soon("a network that is named", meet(&one, &two));
        assert!(overheard.recv(&mut [0; 1500]).is_ok(), "nothing would have been heard");
    });
}

#[test]
fn srv_records_lead_across_routers() {
    in_own_network("srv_records_lead_across_routers", &[], || {
        let (left, right) = (Lan::new("left", 7), Lan::new("right", 8));
        let router = left.router(&right);
        let (here, there) = (left.host("here"), right.host_at("there", 20));
        let lines = "srv-host=_open-registry._tcp.office.example,there.office.example,6738\n\
            host-record=there.office.example,192.168.8.20\n";
        let _resolver = harness::lan::NameServer::dnsmasq(&router, lines);
        let far = start(&there);
        here.run(|| {
            std::fs::write(
                "/etc/resolv.conf",
                format!("nameserver {}\nsearch office.example\n", router.v4()),
            )
            .unwrap();
        });
        let near = start(&here);
        meet(&far, &near);
    });
}

#[test]
fn whoever_is_led_to_one_peer_finds_the_others() {
    in_own_network("whoever_is_led_to_one_peer_finds_the_others", &[], || {
        let internet = Lan::internet();
        let hosts = [internet.host("one"), internet.host("two"), internet.host("three")];
        let start = |host: &Host, lines: &str| {
            let config = format!("[federation]\ndiscover = false\n{lines}\n");
            host.run(|| builder(host).config_toml(&config).start())
        };
        let first = start(&hosts[0], "");
        let line = format!("bootstrap = [\"{}\"]", first.contact());
        let (second, third) = (start(&hosts[1], &line), start(&hosts[2], &line));
        meet(&second, &third);
    });
}

#[test]
fn gateways_find_each_other_beside_avahi() {
    in_own_network("gateways_find_each_other_beside_avahi", &[], || {
        let lan = Lan::new("office", 7);
        let hosts = [lan.host("one"), lan.host("two")];
        let _avahi = Avahi::start(&hosts[0], "");
        let (older, newer) = (start(&hosts[0]), start(&hosts[1]));
        assert_soon("beside avahi", meet(&older, &newer));
    });
}

#[test]
fn where_avahi_has_the_port_alone_it_announces_the_gateway_by_a_file() {
    in_own_network("where_avahi_has_the_port_alone_it_announces_the_gateway_by_a_file", &[], || {
        let lan = Lan::new("office", 7);
        let hosts = [lan.host("one"), lan.host("two")];
        let avahi = Avahi::start(&hosts[0], "disallow-other-stacks=yes\n");
        let alone = start(&hosts[0]);
        let said = |line: &str| line.contains("port 5353") && line.contains("setup avahi");
        assert!(alone.wait_for_log(said, Duration::from_secs(20)), "{}", alone.log().join("\n"));
        let diagnosis = alone.ask(&["doctor", "--json"]).stdout;
        assert!(diagnosis.contains("avahi-daemon has port 5353"), "{diagnosis}");
        assert!(diagnosis.contains("open-registry setup avahi"), "{diagnosis}");
        let service =
            alone.ask(&["--data", alone.data().to_str().unwrap(), "setup", "avahi"]).expect_success().stdout;
        avahi.announce(&service);
        let other = start(&hosts[1]);
        meet(&alone, &other);
    });
}

/// avahi-daemon on a host, with files of its own.
struct Avahi {
    child: Child,
    host: String,
}

impl Avahi {
    /// `lines` go into its `[server]`.
    fn start(host: &Host, lines: &str) -> Self {
        let name = host.name().to_owned();
        let child = host.run(|| {
            // Of this test alone: the mount namespace is its own.
            for folder in ["/etc/avahi", "/run"] {
                let mounted = Command::new("mount").args(["-t", "tmpfs", "none", folder]).status().unwrap();
                assert!(mounted.success());
            }
            std::fs::create_dir_all("/etc/avahi/services").unwrap();
            std::fs::create_dir_all("/run/avahi-daemon").unwrap();
            let config = format!(
                "[server]\nhost-name={name}\nenable-dbus=no\n{lines}[wide-area]\nenable-wide-area=no\n[rlimits]\n"
            );
            std::fs::write("/etc/avahi/avahi-daemon.conf", config).unwrap();
            let mut command = Command::new("avahi-daemon");
            command.args(["--no-drop-root", "--no-chroot", "--no-rlimits"]);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").spawn().unwrap()
        });
        let avahi = Self { child, host: name };
        let bound = || host.output("ss", &["-lun"]).stdout;
        until(bound, |said| said.contains(":5353"));
        avahi
    }

    fn announce(&self, service: &str) {
        // Whole at once: avahi reads what it sees as soon as it sees it.
        let folder = format!("/proc/{}/root/etc/avahi", self.child.id());
        let (written, place) =
            (format!("{folder}/unfinished"), format!("{folder}/services/open-registry.service"));
        let placed = std::fs::write(&written, service).and_then(|()| std::fs::rename(&written, &place));
        placed.unwrap_or_else(|error| panic!("{}: {error}", self.host));
    }
}

impl Drop for Avahi {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_crowd_that_is_not_there_keeps_no_neighbour_out() {
    in_own_network("a_crowd_that_is_not_there_keeps_no_neighbour_out", &[], || {
        let lan = Lan::new("office", 7);
        let hosts = [lan.host("one"), lan.host("two"), lan.host("three"), lan.host("four")];
        let (older, early) = (start(&hosts[0]), start(&hosts[1]));
        meet(&older, &early);
        let before = older.peak_memory();
        hosts[2].run(|| announce_nobodies(hosts[2].v4(), 5000));
        let newer = start(&hosts[3]);
        meet(&older, &newer);
        assert!(older.connected().contains(&early.id()));
        let grown = older.peak_memory() - before;
        assert!(grown < 64 << 20, "{grown} bytes for 5000 announcements");
    });
}
