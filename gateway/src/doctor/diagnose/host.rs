//! The gateway's own host: its ports and its disk.

use std::net::{IpAddr, SocketAddr};

use super::super::facts::{Behind, Disk, Holder, Port};
use super::view::View;
use super::{Finding, Level};

const DNS_PORT: u16 = 53;
const MIB: u64 = 1024 * 1024;
/// A large project is half a gigabyte of tarballs.
const LITTLE: u64 = 1024 * MIB;
/// Less than the largest packuments and tarballs take while they come.
const TOO_LITTLE: u64 = 256 * MIB;

pub(super) fn findings(view: &View<'_>) -> Vec<Finding> {
    let running = view.facts.ports.iter().any(|port| is_ours(view, port));
    let ports = view.facts.ports.iter().map(|port| of_port(view, port, running));
    ports.chain(view.facts.disk.as_ref().map(of_disk)).collect()
}

/// Whether this program listens there: seen by its name, or by its answer.
fn is_ours(view: &View<'_>, port: &Port) -> bool {
    let answers = view.facts.doors.iter().any(|door| {
        let gateway = matches!(door.behind, Behind::Gateway { .. }) && port.is_number(door.address.port());
        gateway || door.instead.is_some_and(|instead| port.is_number(instead))
    });
    port.holder == Holder::Ours
        || (port.holder == Holder::Other(None) && port.key == "http.listen" && answers)
}

/// Whether the gateway is reached although nobody has the address that is configured: the sockets that systemd hands
/// over replace those of the configuration.
fn is_served(view: &View<'_>, key: &str) -> bool {
    let by_http = || view.facts.doors.iter().any(|door| matches!(door.behind, Behind::Gateway { .. }));
    (key.starts_with("http.") && by_http()) || (key == "dns.listen" && !view.facts.authorities.is_empty())
}

fn of_port(view: &View<'_>, port: &Port, running: bool) -> Finding {
    let addresses: Vec<String> = port.addresses.iter().map(ToString::to_string).collect();
    let place = format!("{} ({}, {})", addresses.join(", "), port.protocol, port.key);
    if is_ours(view, port) {
        return Finding::ok("port", format!("the gateway of this host listens on {place}"));
    }
    match &port.holder {
        Holder::Ours => Finding::ok("port", format!("the gateway of this host listens on {place}")),
        Holder::Other(Some(program)) => taken(view, port, program, &place),
        Holder::Other(None) => Finding::left_out(
            "port",
            format!("who listens on {place}: only root can see that; run this as root"),
        ),
        Holder::Free if running && is_served(view, port.key) => Finding::ok(
            "port",
            format!("nothing listens on {place}, and nothing needs to: other sockets serve it"),
        ),
        Holder::Free if running => Finding::problem(
            "not-listening",
            format!("the gateway of this host runs, but nothing listens on {place}"),
        )
        .because("it was started with another configuration, or with sockets that systemd handed over")
        .fix(["systemctl restart open-registry, and look into its log: journalctl -u open-registry"]),
        Holder::Free => Finding::ok("port", format!("{place} is free for the gateway")),
        Holder::Forbidden => {
            Finding::warning("port-forbidden", format!("this user may not listen on {place}"))
                .because("ports below 1024 are for root, and for programs that systemd hands them to")
                .fix(["start the gateway as a service, with \
                open-registry-http.socket and open-registry-dns@.socket"])
        }
        Holder::Absent => {
            Finding::problem("address-missing", format!("this host does not have the address of {place}"))
                .because("it changed, or the interface is down")
                .fix([format!("give the host that address for good, or correct {}", port.key)])
        }
    }
}

fn taken(view: &View<'_>, port: &Port, program: &str, place: &str) -> Finding {
    let spares = spares(view, port);
    let worst = if spares { Level::Warning } else { Level::Problem };
    let finding = Finding::problem("port-conflict", format!("{program} has {place}")).at_most(worst);
    // The kernel cuts names off after 15 letters.
    if program.starts_with("systemd-resolve") {
        return finding
            .because("it is one of its stub's own, or DNSStubListenerExtra= in resolved.conf names it")
            .fix([
                "name this host's own addresses in [dns], and leave the stub as it is:".to_owned(),
                listen(view),
            ]);
    }
    if spares {
        return finding
            .because("the gateway answers DNS at this host's other addresses only")
            .fix(["if that is as it should be, name those in [dns]:".to_owned(), listen(view)]);
    }
    finding
        .because("two programs cannot listen on one address")
        .fix([format!("stop {program}, have it listen on another address, or change {}", port.key)])
}

/// Whether who has it leaves the gateway the addresses that it is known by.
fn spares(view: &View<'_>, port: &Port) -> bool {
    let known = |ip: IpAddr| view.gateways.is_empty() || view.gateways.contains(&ip);
    let lost = |address: &SocketAddr| !address.ip().is_loopback() && known(address.ip());
    port.one_by_one && !port.addresses.iter().any(lost)
}

/// The key as it is to be written, with this gateway's own addresses.
fn listen(view: &View<'_>) -> String {
    let own = view.gateways.iter().filter(|ip| !ip.is_loopback());
    let listed: Vec<String> = own.map(|ip| format!("\"{}\"", SocketAddr::new(*ip, DNS_PORT))).collect();
    format!("listen = [{}]", listed.join(", "))
}

fn of_disk(disk: &Disk) -> Finding {
    let dir = disk.dir.display();
    let free = disk.free / MIB;
    if disk.free < TOO_LITTLE {
        return Finding::problem("disk", format!("{free} MiB are free for {dir}"))
            .because("what does not fit is not kept, and comes from upstream each time")
            .fix(["make room, or name a larger disk: dir in [store]"]);
    }
    if !disk.writable {
        return Finding::warning("disk", format!("this user may not write to {dir}"))
            .because("it belongs to the user that the gateway runs as, or to nobody yet")
            .fix(["run this as root or as the gateway's user to be sure"]);
    }
    if disk.free < LITTLE {
        return Finding::warning("disk", format!("only {free} MiB are free for {dir}"))
            .because("a large project takes half a gigabyte")
            .fix(["make room, or name a larger disk: dir in [store]"]);
    }
    let state = if disk.exists { "" } else { ", which is not there yet" };
    Finding::ok("disk", format!("{free} MiB are free for {dir}{state}"))
}
