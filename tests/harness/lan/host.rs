//! A host: a place with addresses, and files of its own that say how names are looked up.

use std::fs::{self, Permissions};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use tempfile::TempDir;

use super::dig::{self, Reply};
use super::{Lan, Link};
use crate::network::{self, configure, ip, ip_batch};
use crate::place::Place;
use crate::program::{Said, finish};

/// What udhcpc runs when it has a lease.
const LEASED: &str = "#!/bin/sh\n\
    [ \"$1\" = bound ] || exit 0\n\
    for server in $dns; do echo \"nameserver $server\"; done > /etc/resolv.conf\n";

/// One machine in a LAN, or between several.
#[derive(Debug)]
pub struct Host {
    name: String,
    place: Place,
    links: Vec<Link>,
    files: TempDir,
}

impl Host {
    /// A machine without any link, and without name servers.
    pub(super) fn new(name: &str) -> Self {
        let files = tempfile::tempdir().expect("a temporary folder");
        let place = Place::apart();
        place.run(|| {
            ip(&["link", "set", "lo", "up"]);
            // Nobody else can have the address, and nobody wants to wait a second to know it.
            configure("net/ipv6/conf/default/accept_dad", "0");
            configure("net/ipv6/conf/default/accept_ra", "0");
            network::name_files(files.path(), &[(name, Ipv4Addr::new(127, 0, 1, 1).into())], "");
        });
        Self { name: name.to_owned(), place, links: Vec::new(), files }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address in its first LAN.
    pub fn v4(&self) -> Ipv4Addr {
        self.first_link().v4
    }

    /// Its IPv6 address in its first LAN.
    pub fn v6(&self) -> Ipv6Addr {
        self.first_link().v6
    }

    /// A port at [`Host::v4`].
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.v4().into(), port)
    }

    /// A port at [`Host::v6`].
    pub fn at_v6(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.v6().into(), port)
    }

    /// Its link to this LAN.
    ///
    /// # Panics
    /// When it has none.
    pub fn on(&self, lan: &Lan) -> &Link {
        let link = self.links.iter().find(|link| link.lan() == lan.name());
        link.unwrap_or_else(|| panic!("{} is not in the LAN {}", self.name, lan.name()))
    }

    /// Runs `body` on this host: what it starts, opens and looks up is of this host.
    pub fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        self.place.run(body)
    }

    /// Runs a program on this host to its end, in an environment that has a PATH and a HOME of the host's own.
    ///
    /// # Panics
    /// When there is no such program, or it takes more than a minute: then it is killed.
    pub fn output(&self, program: &str, arguments: &[&str]) -> Said {
        let mut command = Command::new(program);
        command.args(arguments).env_clear();
        command.env("PATH", network::search_path()).env("HOME", self.files.path());
        self.run(|| finish(command))
    }

    /// Asks with dig, which asks the host's name servers unless an argument is `@<address>`.
    pub fn dig(&self, arguments: &[&str]) -> Reply {
        dig::ask(self, arguments)
    }

    /// The addresses that this host's programs get for a name, IPv6 among them, or none.
    pub fn look_up(&self, name: &str) -> Vec<IpAddr> {
        let said = self.output("getent", &["ahosts", name]);
        let addresses = said.stdout.lines().filter_map(|line| line.split(' ').next()?.parse().ok());
        let mut addresses: Vec<IpAddr> = addresses.collect();
        addresses.sort();
        addresses.dedup();
        addresses
    }

    /// Lets it look up names there from now on.
    pub fn use_name_servers(&self, servers: &[IpAddr]) {
        let lines = servers.iter().map(|server| format!("nameserver {server}\n"));
        let text: String = lines.chain(["options timeout:2 attempts:2\n".to_owned()]).collect();
        fs::write(self.files.path().join("resolv.conf"), text).expect("a file of the host's own");
    }

    /// Asks the LAN's DHCP server for a lease, and uses the name servers that come with it. The addresses stay.
    pub fn renew_lease(&self, lan: &Lan) {
        let script = self.files.path().join("leased");
        fs::write(&script, LEASED).expect("a file of the host's own");
        fs::set_permissions(&script, Permissions::from_mode(0o755)).expect("a file of the host's own");
        let script = script.to_str().expect("a temporary folder with a plain name");
        let once = ["-i", lan.name(), "-n", "-q", "-f", "-s", script];
        self.output("udhcpc", &once).expect_success();
    }

    pub(super) fn join(&mut self, lan: &Lan, number: u8) {
        let link = lan.plug(&self.name, &self.place, number);
        let (name, v4, v6) = (lan.name(), link.v4, link.v6);
        self.run(|| {
            ip_batch(&format!(
                "link set {name} up\naddress add {v4}/24 dev {name}\naddress add {v6}/64 dev {name} nodad\n"
            ));
        });
        self.links.push(link);
    }

    fn first_link(&self) -> &Link {
        self.links.first().expect("a host is made with a link")
    }
}
