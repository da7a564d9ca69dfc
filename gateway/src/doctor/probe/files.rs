//! The files that say how this host looks names up.

use std::fs;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::path::{Path, PathBuf};

use nix::net::if_::if_nametoindex;

use super::super::facts::Resolved;

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// The servers behind systemd-resolved's stub.
const BEHIND_STUB: &str = "/run/systemd/resolve/resolv.conf";
/// Where systemd-resolved's own socket is while it runs.
const RESOLVED: &str = "/run/systemd/resolve";
const RESOLVED_CONF: &str = "/etc/systemd/resolved.conf";
const RESOLVED_DROP_INS: [&str; 3] =
    ["/usr/lib/systemd/resolved.conf.d", "/etc/systemd/resolved.conf.d", "/run/systemd/resolved.conf.d"];
const DNS_PORT: u16 = 53;

/// The resolvers of this host, each with the file that names it: those of resolv.conf, and where that names
/// systemd-resolved's stub, those behind it as well.
pub(super) fn resolvers(most: usize) -> Vec<(SocketAddr, String)> {
    let mut found = name_servers(&read(RESOLV_CONF), RESOLV_CONF);
    if found.iter().any(|(server, _)| is_stub(server.ip())) {
        found.extend(name_servers(&read(BEHIND_STUB), BEHIND_STUB));
    }
    let mut seen = Vec::new();
    found.retain(|(server, _)| {
        !seen.contains(server) && {
            seen.push(*server);
            true
        }
    });
    found.truncate(most);
    found
}

/// The addresses of systemd-resolved's stub (systemd-resolved.service(8)).
fn is_stub(ip: IpAddr) -> bool {
    ip == IpAddr::from([127, 0, 0, 53]) || ip == IpAddr::from([127, 0, 0, 54])
}

/// The addresses that `/etc/hosts` has for a name.
pub(super) fn hosts(zone: &str) -> Vec<IpAddr> {
    entries(&read("/etc/hosts"), zone)
}

/// The services of `hosts:` in `/etc/nsswitch.conf`.
pub(super) fn services() -> Vec<String> {
    services_in(&read("/etc/nsswitch.conf"))
}

/// systemd-resolved's configuration, where it runs.
pub(super) fn resolved() -> Option<Resolved> {
    if !Path::new(RESOLVED).exists() {
        return None;
    }
    let mut texts = vec![read(RESOLVED_CONF)];
    for folder in RESOLVED_DROP_INS {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        files.sort();
        texts.extend(files.iter().filter(|file| file.extension().is_some_and(|end| end == "conf")).map(read));
    }
    Some(resolved_in(&texts))
}

/// What cannot be read says nothing.
fn read(file: impl AsRef<Path>) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

fn name_servers(text: &str, origin: &str) -> Vec<(SocketAddr, String)> {
    let addresses = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then(|| words.next()).flatten()
    });
    addresses.filter_map(name_server).map(|server| (server, origin.to_owned())).collect()
}

/// An address, with its interface where it is a link-local one (`fe80::1%eth0`).
fn name_server(text: &str) -> Option<SocketAddr> {
    let (address, interface) = text.split_once('%').map_or((text, None), |(ip, name)| (ip, Some(name)));
    match address.parse().ok()? {
        IpAddr::V4(v4) => Some((v4, DNS_PORT).into()),
        IpAddr::V6(v6) => {
            let scope = interface.and_then(|name| name.parse().ok().or_else(|| if_nametoindex(name).ok()));
            Some(SocketAddrV6::new(v6, DNS_PORT, 0, scope.unwrap_or(0)).into())
        }
    }
}

fn entries(hosts: &str, zone: &str) -> Vec<IpAddr> {
    let of_line = |line: &str| {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let address: IpAddr = words.next()?.parse().ok()?;
        words.any(|name| name.eq_ignore_ascii_case(zone)).then_some(address)
    };
    hosts.lines().filter_map(of_line).collect()
}

fn services_in(nsswitch: &str) -> Vec<String> {
    let line = nsswitch.lines().find_map(|line| line.trim_start().strip_prefix("hosts:")).unwrap_or_default();
    let words = line.split('#').next().unwrap_or_default().split_whitespace();
    words.filter(|word| !word.starts_with('[')).map(str::to_owned).collect()
}

/// A later text wins over an earlier one; an empty `DNS=` forgets those before it (resolved.conf(5)).
fn resolved_in(texts: &[String]) -> Resolved {
    let mut resolved = Resolved::default();
    for line in texts.iter().flat_map(|text| text.lines()) {
        let Some((key, value)) = line.split_once('=') else { continue };
        let value = value.trim();
        match key.trim() {
            "DNS" if value.is_empty() => resolved.dns.clear(),
            "DNS" => resolved.dns.extend(value.split_whitespace().map(str::to_owned)),
            "DNSOverTLS" => resolved.dns_over_tls = Some(value.to_owned()),
            "DNSSEC" => resolved.dnssec = Some(value.to_owned()),
            _ => {}
        }
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_servers_of_resolv_conf_are_found() {
        let text = "# nameserver 10.0.0.1\nsearch lan\nnameserver \
            192.168.7.1\nnameserver fd00::1\nnameserver fe80::1%1\nnameserver router\n";
        let servers: Vec<String> =
            name_servers(text, "file").into_iter().map(|(server, _)| server.to_string()).collect();
        assert_eq!(servers, ["192.168.7.1:53", "[fd00::1]:53", "[fe80::1%1]:53"]);
    }

    #[test]
    fn the_entries_of_hosts_are_those_of_the_whole_name() {
        let text = "127.0.0.1 localhost\n192.168.7.9 Registry.example.com # ours\n#10.0.0.1 registry.example.com\n\
                    10.0.0.2 registry.example.com.evil\nfd00::9 other registry.example.com\n";
        assert_eq!(
            entries(text, "registry.example.com"),
            ["192.168.7.9".parse::<IpAddr>().unwrap(), "fd00::9".parse().unwrap()]
        );
    }

    #[test]
    fn the_services_are_those_of_hosts_without_their_conditions() {
        let text = "passwd: files\nhosts: files mdns4_minimal [NOTFOUND=return] dns # as usual\n";
        assert_eq!(services_in(text), ["files", "mdns4_minimal", "dns"]);
        assert!(services_in("passwd: files\n").is_empty());
    }

    #[test]
    fn the_last_word_of_resolveds_configuration_counts() {
        let texts = [
            "[Resolve]\nDNS=1.1.1.1#one 8.8.8.8\n#DNSSEC=no\nDNSOverTLS=no\n",
            "[Resolve]\nDNS=\nDNS=9.9.9.9\nDNSOverTLS = yes\n",
        ]
        .map(str::to_owned);
        let resolved = resolved_in(&texts);
        assert_eq!(resolved.dns, ["9.9.9.9"]);
        assert_eq!((resolved.dns_over_tls.as_deref(), resolved.dnssec), (Some("yes"), None));
    }
}
