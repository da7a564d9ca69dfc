//! The gateway's own host: who has its ports, and whether there is room for what it keeps.
//!
//! "All addresses" are one socket for clients, and for DNS a socket for each address of this machine: there, who has
//! an address of its own, as the stub of systemd-resolved does, takes nothing from the gateway.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, eaccess};
use resolver::links::Links;

use super::super::facts::{Disk, Holder, Peers, Port};
use crate::config::{Config, data_dir};
use crate::interfaces;
use crate::swarm;

/// What systemd keeps for this program when it is a service.
const STATE: &str = "/var/lib/open-registry";
/// How this program is called, and who holds its sockets for it.
const OURS: [&str; 2] = ["open-registry", "systemd"];
/// In the table of TCP sockets: listening (`include/net/tcp_states.h`); for UDP, not connected.
const LISTENING: [&str; 2] = ["0A", "07"];

/// A socket of `/proc/net/{tcp,udp}{,6}` that takes what comes from anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Socket {
    address: SocketAddr,
    inode: String,
}

/// Every address that the gateway is configured to listen on, and who has it.
///
/// # Errors
/// When the system does not say which addresses there are.
pub(super) fn ports(config: &Config) -> io::Result<Vec<Port>> {
    let (holders, links) = (Holders::read(), interfaces::now()?);
    let mut wanted: Vec<(&'static str, SocketAddr, &'static str)> = Vec::new();
    wanted.extend(config.http.listen.iter().map(|address| ("http.listen", *address, "tcp")));
    wanted.extend(config.http.tls_listen.iter().map(|address| ("http.tls_listen", *address, "tcp")));
    wanted.extend(config.dns.tls_listen.iter().map(|address| ("dns.tls_listen", *address, "tcp")));
    for address in &config.dns.listen {
        wanted.extend([("dns.listen", *address, "udp"), ("dns.listen", *address, "tcp")]);
    }
    wanted.extend(config.operator.listen.iter().map(|address| ("operator.listen", *address, "tcp")));
    if !config.offline {
        let has_v6 = links.own(false).next().is_some();
        let peers = config.federation.listen.iter().filter(|address| address.is_ipv4() || has_v6);
        wanted
            .extend(peers.flat_map(|address| {
                ["tcp", "udp"].map(|protocol| ("federation.listen", *address, protocol))
            }));
    }
    let ports = wanted.into_iter().flat_map(|(key, address, protocol)| {
        let one_by_one = key == "dns.listen" && address.ip().is_unspecified();
        let addresses = if one_by_one { expand(address, &links) } else { vec![address] };
        let held = by_holder(&addresses, |address| {
            holders.of(protocol, address).unwrap_or_else(|| try_to_bind(protocol, address))
        });
        held.into_iter().map(move |(holder, addresses)| Port { key, addresses, one_by_one, protocol, holder })
    });
    Ok(ports.collect())
}

/// The addresses that the gateway's DNS binds for all of one family.
fn expand(wildcard: SocketAddr, links: &Links) -> Vec<SocketAddr> {
    links.own(wildcard.is_ipv4()).map(|ip| SocketAddr::new(ip, wildcard.port())).collect()
}

/// The same addresses, together where one has them, in the order in which they were met.
fn by_holder(
    addresses: &[SocketAddr],
    holder_of: impl Fn(SocketAddr) -> Holder,
) -> Vec<(Holder, Vec<SocketAddr>)> {
    let mut held: Vec<(Holder, Vec<SocketAddr>)> = Vec::new();
    for &address in addresses {
        let holder = holder_of(address);
        match held.iter_mut().find(|(known, _)| *known == holder) {
            Some((_, addresses)) => addresses.push(address),
            None => held.push((holder, vec![address])),
        }
    }
    held
}

/// What the gateway of this host has to do with peers, of whom so many are connected.
pub(super) fn peers(config: &Config, connected: usize) -> Option<Peers> {
    let federation = &config.federation;
    if config.offline || federation.listen.is_empty() {
        return None;
    }
    let configured = config.peer.len() + federation.bootstrap.len() + usize::from(federation.home.is_some());
    let multicast = federation.discover.then(multicast_holder).flatten();
    Some(Peers { shares: config.share.enabled, configured, connected, multicast })
}

/// Who has the port of multicast DNS and lets nobody else in.
fn multicast_holder() -> Option<Holder> {
    swarm::share_port().err()?;
    let port = SocketAddr::from((Ipv4Addr::UNSPECIFIED, swarm::MULTICAST_PORT));
    Some(Holders::read().of("udp", port).unwrap_or(Holder::Other(None)))
}

/// The data directory: as configured, else a service's, else this user's.
pub(super) fn disk(config: &Config) -> Option<Disk> {
    let service = Path::new(STATE);
    let dir = match &config.store.dir {
        None if service.exists() => service.to_owned(),
        _ => data_dir(config).ok()?,
    };
    let exists = dir.exists();
    let nearest: PathBuf = dir.ancestors().find(|dir| dir.exists())?.to_owned();
    let room = statvfs(&nearest).ok()?;
    let writable = eaccess(&nearest, AccessFlags::W_OK | AccessFlags::X_OK).is_ok();
    let free = room.blocks_available().saturating_mul(room.fragment_size());
    Some(Disk { dir, exists, writable, free })
}

/// Who has which socket.
struct Holders {
    sockets: BTreeMap<&'static str, Vec<Socket>>,
    /// The program's name for each socket that can be seen.
    programs: BTreeMap<String, String>,
}

impl Holders {
    fn read() -> Self {
        let table = |files: [&str; 2]| files.iter().flat_map(|file| listening(&read(file))).collect();
        let sockets = [
            ("tcp", table(["/proc/net/tcp", "/proc/net/tcp6"])),
            ("udp", table(["/proc/net/udp", "/proc/net/udp6"])),
        ];
        Self { sockets: sockets.into(), programs: programs() }
    }

    /// Who has it, the gateway before anybody else.
    fn of(&self, protocol: &str, address: SocketAddr) -> Option<Holder> {
        let sockets = self.sockets.get(protocol)?.iter();
        let colliding = sockets.filter(|socket| collide(socket.address, address));
        let mut holders: Vec<Holder> = colliding.map(|socket| self.holder(&socket.inode)).collect();
        holders.sort_by_key(|holder| *holder != Holder::Ours);
        holders.into_iter().next()
    }

    fn holder(&self, inode: &str) -> Holder {
        match self.programs.get(inode) {
            Some(name) if OURS.contains(&name.as_str()) => Holder::Ours,
            program => Holder::Other(program.cloned()),
        }
    }
}

/// Whether one of them keeps the other from being listened on.
fn collide(held: SocketAddr, wanted: SocketAddr) -> bool {
    let everywhere = held.ip().is_unspecified() || wanted.ip().is_unspecified();
    // A socket for all of IPv6 may have all of IPv4 as well.
    let both = held.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) || held.is_ipv4() == wanted.is_ipv4();
    held.port() == wanted.port() && (held.ip() == wanted.ip() || (everywhere && both))
}

/// The tables have one line per socket: number, local address, remote address, state, and the inode tenth.
fn listening(table: &str) -> Vec<Socket> {
    let of_line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
        let address = socket_address(local)?;
        LISTENING.contains(state).then(|| Socket { address, inode: (*inode).to_owned() })
    };
    table.lines().filter_map(of_line).collect()
}

/// `0100007F:0035`: the address as 32-bit words in the machine's byte order, and the port.
fn socket_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let words: Vec<u8> = (0..address.len() / 8)
        .map(|word| u32::from_str_radix(address.get(word * 8..word * 8 + 8)?, 16).ok())
        .collect::<Option<Vec<u32>>>()?
        .into_iter()
        .flat_map(u32::to_ne_bytes)
        .collect();
    let ip = match words.len() {
        4 => IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(words).ok()?)),
        _ => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?)),
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// The names of all programs by the sockets that they hold, as far as this user may look.
fn programs() -> BTreeMap<String, String> {
    let mut programs = BTreeMap::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        let name = read(process.path().join("comm")).trim().to_owned();
        for descriptor in descriptors.flatten() {
            let Ok(target) = fs::read_link(descriptor.path()) else { continue };
            let target = target.to_string_lossy();
            if let Some(inode) = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) {
                // Where systemd holds a socket for a program, the program has it as well, and is who listens.
                let known = programs.entry(inode.to_owned()).or_insert_with(|| name.clone());
                if known == "systemd" {
                    known.clone_from(&name);
                }
            }
        }
    }
    programs
}

fn try_to_bind(protocol: &str, address: SocketAddr) -> Holder {
    let bound = match protocol {
        "udp" => UdpSocket::bind(address).map(drop),
        _ => TcpListener::bind(address).map(drop),
    };
    match bound.map_err(|error| error.kind()) {
        Ok(()) => Holder::Free,
        Err(io::ErrorKind::PermissionDenied) => Holder::Forbidden,
        Err(io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported) => Holder::Absent,
        Err(_) => Holder::Other(None),
    }
}

fn read(file: impl AsRef<Path>) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use resolver::links::Link;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn sockets_that_listen_are_read_from_the_kernels_tables() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = UdpSocket::bind("[::1]:0").unwrap();
        let held = |file: &str, wanted: SocketAddr| {
            listening(&fs::read_to_string(file).unwrap()).iter().any(|socket| socket.address == wanted)
        };
        assert!(held("/proc/net/tcp", listener.local_addr().unwrap()));
        assert!(held("/proc/net/udp6", socket.local_addr().unwrap()));
    }

    #[test]
    fn the_program_that_holds_a_socket_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = Holders::read().of("tcp", listener.local_addr().unwrap());
        assert!(matches!(holder, Some(Holder::Other(Some(_)))), "{holder:?}");
    }

    fn machine(addresses: &[&str]) -> Links {
        let networks = addresses.iter().map(|network| network.parse().unwrap()).collect();
        Links(vec![Link { index: 1, networks }])
    }

    #[test]
    fn all_addresses_are_for_dns_those_of_this_machine_that_can_be_bound() {
        let links = machine(&["127.0.0.1/8", "192.168.7.9/24", "::1/128", "fd00::9/64", "fe80::9/64"]);
        let expanded = |wildcard: &str| expand(address(wildcard), &links);
        assert_eq!(expanded("0.0.0.0:53"), ["127.0.0.1:53", "192.168.7.9:53"].map(address));
        assert_eq!(expanded("[::]:5353"), ["[::1]:5353", "[fd00::9]:5353"].map(address));
    }

    #[test]
    fn a_stub_resolver_takes_nothing_from_dns_on_all_addresses() {
        let wanted = expand(address("0.0.0.0:53"), &machine(&["127.0.0.1/8", "192.168.7.9/24"]));
        let held = |sockets: &[(&str, &str)]| {
            let socket =
                |(held, inode): &(&str, &str)| Socket { address: address(held), inode: (*inode).into() };
            let holders = Holders {
                sockets: [("udp", sockets.iter().map(socket).collect())].into(),
                programs: [("1".into(), "systemd-resolve".into()), ("2".into(), "open-registry".into())]
                    .into(),
            };
            by_holder(&wanted, |address| holders.of("udp", address).unwrap_or(Holder::Free))
        };
        let stub = ("127.0.0.53:53", "1");
        let (loopback, lan) = (vec![wanted[0]], vec![wanted[1]]);
        let taken = Holder::Other(Some("systemd-resolve".into()));
        assert_eq!(held(&[stub]), [(Holder::Free, wanted.clone())]);
        assert_eq!(
            held(&[stub, ("192.168.7.9:53", "2")]),
            [(Holder::Free, loopback.clone()), (Holder::Ours, lan.clone())]
        );
        assert_eq!(held(&[("127.0.0.1:53", "1")]), [(taken.clone(), loopback), (Holder::Free, lan)]);
        assert_eq!(held(&[("0.0.0.0:53", "1")]), [(taken, wanted.clone())]);
    }

    #[test]
    fn addresses_collide_when_one_is_everywhere() {
        assert!(collide(address("0.0.0.0:53"), address("192.168.7.9:53")));
        assert!(collide(address("127.0.0.53:53"), address("0.0.0.0:53")));
        assert!(collide(address("[::]:80"), address("192.168.7.9:80")));
        assert!(!collide(address("127.0.0.53:53"), address("192.168.7.9:53")));
        assert!(!collide(address("0.0.0.0:53"), address("[fd00::9]:53")));
        assert!(!collide(address("0.0.0.0:54"), address("0.0.0.0:53")));
    }
}
