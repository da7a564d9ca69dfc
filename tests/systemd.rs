//! Promise: the units work on a machine that is booted, hardening and all, and nobody notices a restart.
//!
//! Each test boots a container. Where that cannot be done it says what it leaves out; that the units are valid and
//! how exposed they are is checked in any case.

#![allow(clippy::unwrap_used, reason = "in a test, also outside of its function, a panic is a failure")]

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::http::{self, Request};
use harness::{Ca, Container, Leaf, Package, Registry, binary, dns};
use rustls::{ClientConnection, StreamOwned};

const SOON: Duration = Duration::from_secs(30);
const SERVICE: &str = "open-registry.service";
const HTTP: &str = "open-registry-http.socket";
const DNS: &str = "open-registry-dns@192.168.7.9.socket";
const ZONE: &str = "registry.open-registry.dev.";
const NAMES: &[&str] = &["192.168.7.9", "registry.open-registry.dev"];

fn units() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd")
}

fn example(name: &str) -> String {
    fs::read_to_string(units().join("examples").join(name)).unwrap()
}

/// Runs systemd/install with its destination here, and gives what it printed.
fn install(destination: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(units().join("install"));
    let output = command.args(arguments).env("DESTDIR", destination).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A container with the program and its units, one address, and no way out; `None` says what is left out.
#[expect(clippy::print_stderr, reason = "what is left out has to be seen")]
fn machine(left_out: &str) -> Option<Container> {
    let container = match Container::boot() {
        Ok(container) => container,
        Err(why) => {
            eprintln!("left out, for no container can be booted here ({why}): {left_out}");
            return None;
        }
    };
    install(&container.root(), &[binary().to_str().unwrap()]);
    container.write("/etc/open-registry/open-registry.toml", "offline = true\n");
    // A dummy would do, where the kernel has them.
    container.run(&["ip", "link", "add", "lan0", "type", "veth", "peer", "name", "lan1"]);
    container.run(&["ip", "address", "add", "192.168.7.9/24", "dev", "lan0"]);
    for link in ["lan0", "lan1"] {
        container.run(&["ip", "link", "set", link, "up"]);
    }
    container.systemctl(&["daemon-reload"]);
    Some(container)
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 168, 7, 9], port))
}

/// The address that the gateway's DNS gives for the zone.
fn resolved() -> Option<String> {
    let answer = dns::try_ask(at(53), &dns::question(ZONE, "A"), SOON)?;
    Some(answer.answers.first()?.data.ip_addr()?.to_string())
}

fn ping(within: Duration) -> bool {
    let asked = Request::get("http://192.168.7.9/-/ping").within(within).try_send();
    asked.is_ok_and(|reply| reply.status == 200)
}

/// The certificate that is shown on port 443.
fn shown(ca: &Ca) -> Vec<u8> {
    let tcp = TcpStream::connect(at(443)).unwrap();
    tcp.set_read_timeout(Some(SOON)).unwrap();
    let name = "registry.open-registry.dev".try_into().unwrap();
    let mut line = StreamOwned::new(ClientConnection::new(Arc::new(ca.client()), name).unwrap(), tcp);
    line.conn.complete_io(&mut line.sock).unwrap();
    line.conn.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn the_units_are_valid_and_exposed_as_little_as_they_say() {
    let folder = tempfile::tempdir().unwrap();
    install(folder.path(), &[binary().to_str().unwrap()]);
    let installed = folder.path().join("usr/local/lib/systemd/system");
    // For the check of its units the program is where it will be.
    let program = folder.path().join("usr/local/bin/open-registry");
    let service = installed.join(SERVICE);
    let text = fs::read_to_string(&service).unwrap();
    fs::write(&service, text.replace("/usr/local/bin/open-registry", program.to_str().unwrap())).unwrap();
    fs::copy(installed.join("open-registry-dns@.socket"), installed.join(DNS)).unwrap();
    let all =
        ["open-registry-http.socket", "open-registry-https.socket", "open-registry-dot.socket", DNS, SERVICE];
    let verify =
        Command::new("systemd-analyze").arg("verify").args(all.map(|unit| installed.join(unit))).output();
    let verify = verify.expect("systemd-analyze; run tests/install");
    let said = String::from_utf8_lossy(&verify.stderr).into_owned();
    assert!(verify.status.success() && said.is_empty(), "{said}");

    assert_eq!(exposure(&service), "1.1");
    // As systemd reads a drop-in: after the unit.
    let own_ports = [fs::read_to_string(&service).unwrap(), example("own-ports.conf")].join("\n");
    fs::write(&service, own_ports).unwrap();
    assert!(exposure(&service).parse::<f64>().unwrap() <= 1.5);
}

fn exposure(service: &Path) -> String {
    let mut command = Command::new("systemd-analyze");
    let output =
        command.args(["security", "--offline=true", "--threshold=15"]).arg(service).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    let (_, level) = said.rsplit_once("Overall exposure level for open-registry.service: ").unwrap();
    level.split(' ').next().unwrap().to_owned()
}

#[test]
fn uninstalling_leaves_configuration_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    install(folder.path(), &[binary().to_str().unwrap()]);
    let files = || {
        let found = Command::new("find").arg(folder.path()).args(["-type", "f"]).output().unwrap();
        String::from_utf8_lossy(&found.stdout).lines().count()
    };
    assert_eq!(files(), 6);
    install(folder.path(), &["--uninstall"]);
    assert_eq!(files(), 0);
    assert!(folder.path().join("etc/open-registry/conf.d").is_dir());
}

#[test]
fn uninstalling_stops_what_runs_and_leaves_no_link() {
    let Some(machine) = machine("removing a service that runs") else { return };
    machine.systemctl(&["enable", "--now", HTTP, DNS, SERVICE]);
    machine.write("/opt/install", &fs::read_to_string(units().join("install")).unwrap());
    machine.run(&["bash", "/opt/install", "--uninstall"]);
    assert_eq!(machine.run(&["find", "/etc/systemd", "/usr/local", "-name", "open-registry*"]), "");
    assert_eq!(machine.systemctl(&["list-units", "--no-legend", "open-registry*"]), "");
    assert!(machine.place().run(|| TcpStream::connect(at(80)).is_err()), "somebody still listens");
}

#[test]
fn the_lines_that_install_prints_start_the_service_as_they_stand() {
    let Some(machine) = machine("the lines that install prints") else { return };
    let folder = tempfile::tempdir().unwrap();
    let said = install(folder.path(), &[binary().to_str().unwrap()]);
    let lines: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    assert_eq!(lines.len(), 3, "{said}");
    // The second time over a service that runs.
    for _ in 0..2 {
        machine.run(&["bash", "-euc", &lines.join("\n")]);
        assert_eq!(machine.property(SERVICE, "ActiveState"), "active");
        assert_eq!(machine.place().run(resolved).as_deref(), Some("192.168.7.9"));
        assert!(machine.place().run(|| ping(SOON)));
    }
    for unit in [HTTP, DNS, SERVICE] {
        assert_eq!(machine.systemctl(&["is-enabled", unit]).trim(), "enabled");
    }
}

#[test]
fn the_first_query_and_the_first_request_start_the_gateway() {
    let Some(machine) = machine("activation by sockets, and the hardening at work") else { return };
    let active = |machine: &Container| machine.property(SERVICE, "ActiveState");
    for first in [|| resolved().as_deref() == Some("192.168.7.9"), || ping(SOON)] {
        machine.systemctl(&["start", HTTP, DNS]);
        assert_eq!(active(&machine), "inactive");
        assert!(machine.place().run(first), "the first one got no answer");
        assert!(machine.wait_until(|machine| active(machine) == "active", SOON));
        machine.systemctl(&["stop", HTTP, DNS, SERVICE]);
    }
    machine.systemctl(&["start", HTTP, DNS, SERVICE]);
    assert_eq!(machine.property(SERVICE, "StatusText"), "Serving");
    assert_eq!(machine.property(SERVICE, "NRestarts"), "0");
    let process = machine.property(SERVICE, "MainPID");
    let status = machine.run(&["cat", &format!("/proc/{process}/status")]);
    for line in ["CapBnd:\t0000000000000000", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(line), "{line} is not in\n{status}");
    }
    assert!(!status.contains("Uid:\t0\t"), "it runs as root");
    // Both families come through one socket, and the state is where systemd keeps it.
    assert!(machine.place().run(|| http::get("http://192.168.7.9:6736/").status == 200));
    assert!(machine.root().join("var/lib/private/open-registry").is_dir());
}

#[test]
fn the_default_configuration_starts_where_there_is_no_ipv6() {
    let Some(machine) = machine("a start without IPv6") else { return };
    // What a process sees of a kernel without IPv6.
    let without = "[Service]\nRestrictAddressFamilies=\nRestrictAddressFamilies=AF_INET AF_UNIX AF_NETLINK\n";
    machine.write("/etc/systemd/system/open-registry.service.d/no-ipv6.conf", without);
    machine.systemctl(&["daemon-reload"]);
    machine.systemctl(&["start", SERVICE]);
    assert!(machine.place().run(|| http::get("http://127.0.0.1:6736/-/ping").status == 200));
    let journal = machine.run(&["journalctl", "--no-pager", "--unit", SERVICE]);
    assert!(journal.contains("this machine has no IPv6; not listening there"), "{journal}");
}

#[test]
fn a_hardened_gateway_finds_checks_and_keeps_what_upstream_has() {
    let Some(machine) = machine("upstream by name and over TLS, behind the hardening") else { return };
    let ca = Ca::new();
    let left = Package::new("left").version("1.0.0", |v| v.size(300_000));
    let tls = ca.issue(&["upstream.example"]);
    let upstream = machine.place().run(|| {
        let registry = Registry::builder().package(left.clone()).public_url("https://upstream.example:8443");
        registry.start_tls(SocketAddr::from(([127, 0, 0, 1], 8443)), tls)
    });
    machine.write("/etc/hosts", "127.0.0.1 localhost upstream.example\n");
    machine.write("/etc/ssl/certs/ca-certificates.crt", &ca.pem());
    let config = "[upstream]\nurl = \"https://upstream.example:8443\"\n";
    machine.write("/etc/open-registry/open-registry.toml", config);
    machine.systemctl(&["start", HTTP, SERVICE]);
    assert!(upstream.requests().iter().any(|one| one.path == "/-/ping"), "ready, and upstream was not tried");
    let get = || machine.place().run(|| http::get("http://192.168.7.9/left/-/left-1.0.0.tgz"));
    assert!(get().body == left.at("1.0.0").tarball);
    upstream.switch_off();
    machine.systemctl(&["restart", SERVICE]);
    assert!(get().body == left.at("1.0.0").tarball, "it was not kept");
}

#[test]
fn a_gateway_that_stands_still_is_started_again_by_the_watchdog() {
    let Some(machine) = machine("the watchdog") else { return };
    machine.write("/etc/systemd/system/open-registry.service.d/quick.conf", "[Service]\nWatchdogSec=6\n");
    machine.systemctl(&["daemon-reload"]);
    machine.systemctl(&["start", HTTP, DNS, SERVICE]);
    let process = machine.property(SERVICE, "MainPID");
    machine.run(&["bash", "-c", &format!("kill -STOP {process}")]);
    // The signal is sent; until every thread has taken it, one of them may still take a connection, which ends with it.
    let threads = format!("cat /proc/{process}/task/*/stat | sed 's/.*) //' | cut -c1");
    let stands =
        |machine: &Container| machine.run(&["bash", "-c", &threads]).lines().all(|state| state == "T");
    assert!(machine.wait_until(stands, SOON), "it does not stand still");
    // Who asks meanwhile waits in the socket, which is systemd's.
    assert!(machine.place().run(|| ping(SOON)), "a request was lost");
    assert_ne!(machine.property(SERVICE, "MainPID"), process);
    assert_ne!(machine.property(SERVICE, "NRestarts"), "0");
    assert!(machine.place().run(resolved).is_some());
}

#[test]
fn a_certificate_comes_from_the_credential_store_and_a_renewed_one_by_a_reload() {
    let Some(machine) = machine("credentials, and a reload") else { return };
    let (ca, shows) = (Ca::new(), |machine: &Container, ca: &Ca| machine.place().run(|| shown(ca)));
    let (first, second, third) = (ca.leaf(NAMES), ca.leaf(NAMES), ca.leaf(NAMES));
    let put = |leaf: &Leaf, cert: &str, key: &str| {
        machine.write(cert, &leaf.cert);
        machine.write(key, &leaf.key);
    };
    let store = ["/etc/credstore/open-registry.tls.cert", "/etc/credstore/open-registry.tls.key"];
    machine.write(store[0], &first.cert);
    machine.systemctl(&["start", HTTP, "open-registry-https.socket", SERVICE]);
    assert!(machine.place().run(|| ping(SOON)), "half of a pair took http down");
    machine.systemctl(&["stop", HTTP, "open-registry-https.socket", SERVICE]);
    put(&first, store[0], store[1]);
    machine.run(&["chmod", "600", store[0], store[1]]);
    machine.systemctl(&["start", HTTP, "open-registry-https.socket", "open-registry-dot.socket", SERVICE]);
    assert_eq!(shows(&machine, &ca), first.der.to_vec());
    let status = machine.property(SERVICE, "StatusText");
    assert!(status.starts_with("Serving with a certificate for 192.168.7.9, registry."), "{status}");
    let over_tls = machine.place().run(|| {
        let mut connection = dns::Connection::open(at(853)).secure(ca.client(), "registry.open-registry.dev");
        connection.send(&dns::question(ZONE, "A"));
        connection.receive().expect("an answer").answers.len()
    });
    assert_eq!(over_tls, 1, "DNS over TLS");

    // Credentials are read when the service starts.
    put(&second, store[0], store[1]);
    machine.systemctl(&["restart", SERVICE]);
    assert_eq!(shows(&machine, &ca), second.der.to_vec());

    // Files that the service may read itself are read whenever it is told to.
    let files = ["/etc/open-registry/tls/cert.pem", "/etc/open-registry/tls/key.pem"];
    put(&second, files[0], files[1]);
    machine.run(&["groupadd", "--system", "ssl-cert"]);
    machine.run(&["chgrp", "-R", "ssl-cert", "/etc/open-registry/tls"]);
    machine.run(&["chmod", "640", files[0], files[1]]);
    machine.write("/etc/systemd/system/open-registry.service.d/tls-files.conf", &example("tls-files.conf"));
    machine.systemctl(&["daemon-reload"]);
    machine.systemctl(&["restart", SERVICE]);
    let process = machine.property(SERVICE, "MainPID");
    put(&third, files[0], files[1]);
    machine.systemctl(&["reload", SERVICE]);
    assert!(machine.wait_until(|machine| shows(machine, &ca) == third.der.to_vec(), SOON), "not taken");
    assert_eq!(machine.property(SERVICE, "MainPID"), process);
    assert_eq!(machine.property(SERVICE, "ActiveState"), "active");
}

#[test]
#[expect(clippy::print_stdout, reason = "figures for whoever asks for them with --nocapture")]
fn restarts_lose_no_query_and_no_request() {
    let Some(machine) = machine("restarts under queries and requests") else { return };
    machine.systemctl(&["start", HTTP, DNS, SERVICE]);
    let stop = AtomicBool::new(false);
    let counts = [(); 3].map(|()| AtomicUsize::new(0));
    let by_udp = || assert_eq!(resolved().as_deref(), Some("192.168.7.9"), "a query was lost");
    let by_tcp = || {
        let mut connection = dns::Connection::open(at(53));
        connection.send(&dns::question(ZONE, "A"));
        assert_eq!(connection.receive().expect("a query was lost").answers.len(), 1);
    };
    let by_http = || assert!(ping(SOON), "a request was lost");
    let kinds: [&(dyn Fn() + Sync); 3] = [&by_udp, &by_tcp, &by_http];
    let again_and_again = |kind: usize| {
        machine.place().run(|| {
            while !stop.load(Ordering::Relaxed) {
                kinds[kind]();
                counts[kind].fetch_add(1, Ordering::Relaxed);
            }
        });
    };
    let total = || counts.iter().map(|count| count.load(Ordering::Relaxed)).collect::<Vec<_>>();
    let took = thread::scope(|scope| {
        let clients: Vec<_> =
            [0, 0, 1, 2, 2].into_iter().map(|kind| scope.spawn(move || again_and_again(kind))).collect();
        let goes_on = || {
            let (before, start) = (total(), Instant::now());
            while total().iter().zip(&before).any(|(now, before)| now < &(before + 5)) {
                let failed = clients.iter().any(thread::ScopedJoinHandle::is_finished);
                if failed || start.elapsed() > SOON {
                    stop.store(true, Ordering::Relaxed);
                    panic!("a client has failed, or nobody is answered: {:?}", total());
                }
                thread::yield_now();
            }
        };
        let mut took = Vec::new();
        for _ in 0..10 {
            goes_on();
            let start = Instant::now();
            machine.systemctl(&["restart", SERVICE]);
            took.push(start.elapsed());
        }
        goes_on();
        stop.store(true, Ordering::Relaxed);
        took
    });
    assert_eq!(machine.property(SERVICE, "NRestarts"), "0");
    println!("answers by UDP, TCP and HTTP across 10 restarts: {:?}; restarts took {took:.1?}", total());
}

#[test]
fn the_hosts_own_resolver_asks_the_gateway_for_the_zone_and_for_nothing_else() {
    let Some(machine) = machine("the host's own resolver") else { return };
    machine.run(&["ip", "link", "add", "openreg0", "type", "veth", "peer", "name", "openreg1"]);
    machine.run(&["ip", "link", "set", "openreg1", "up"]);
    machine.write("/etc/systemd/network/openreg0.network", &example("openreg0.network"));
    machine.systemctl(&["start", HTTP, "open-registry-dns@192.0.0.8.socket"]);
    machine.systemctl(&["start", "systemd-networkd", "systemd-resolved"]);
    let knows_it = |machine: &Container| {
        let asked = machine.try_run(&["resolvectl", "query", "registry.open-registry.dev"]);
        String::from_utf8_lossy(&asked.stdout).contains("192.0.0.8")
    };
    assert!(machine.wait_until(knows_it, SOON), "{}", machine.run(&["resolvectl", "status"]));
    let other = machine.try_run(&["resolvectl", "query", "example.com"]);
    assert!(String::from_utf8_lossy(&other.stderr).contains("No appropriate name servers"), "{other:?}");
    assert!(machine.place().run(|| http::get("http://192.0.0.8/-/ping").status == 200));
}

#[test]
fn a_gateway_that_binds_its_ports_itself_lives_beside_the_hosts_own_resolver() {
    let Some(machine) = machine("ports of the gateway's own") else { return };
    machine.systemctl(&["start", "systemd-resolved"]);
    let config = "offline = true\n[http]\nlisten = [\"0.0.0.0:80\"]\n[dns]\nlisten = [\"0.0.0.0:53\"]\n";
    machine.write("/etc/open-registry/open-registry.toml", config);
    assert!(!machine.try_run(&["systemctl", "start", SERVICE]).status.success());
    let journal = machine.run(&["journalctl", "--no-pager", "--unit", SERVICE]);
    assert!(journal.contains("(open-registry-http.socket), or grant CAP_NET_BIND_SERVICE"), "{journal}");
    machine.systemctl(&["stop", SERVICE]);
    machine.write("/etc/systemd/system/open-registry.service.d/own-ports.conf", &example("own-ports.conf"));
    machine.systemctl(&["daemon-reload"]);
    machine.systemctl(&["start", SERVICE]);
    assert_eq!(machine.place().run(resolved).as_deref(), Some("192.168.7.9"));
    assert!(machine.place().run(|| ping(SOON)));
    assert_eq!(machine.property("systemd-resolved.service", "ActiveState"), "active");
}
