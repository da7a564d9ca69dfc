//! Which resolver it is, by what it says of itself.

use std::net::{IpAddr, Ipv4Addr};

use super::super::facts::Asked;

/// The servers behind systemd-resolved's stub are named by a file of its own.
const BEHIND_STUB: &str = "/run/systemd/resolve/";
/// systemd-resolved's own addresses (systemd-resolved.service(8)).
const STUB: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 0, 53), Ipv4Addr::new(127, 0, 0, 54)];

/// Which form of a recipe mends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The resolver answers by itself.
    Own,
    /// The resolver asks the gateway, with the exceptions that this takes.
    Forward,
}

/// The beginnings of what resolvers say of themselves, and their recipes. BIND says its version alone; where it asks the
/// gateway, its exceptions would have to go into options that are there already, so it is always given a zone of
/// its own.
const KINDS: [(&str, &str, &str); 5] = [
    ("dnsmasq-pi-hole", "pihole", "dnsmasq-forward"),
    ("dnsmasq", "dnsmasq", "dnsmasq-forward"),
    ("unbound", "unbound", "unbound-forward"),
    ("microsoft", "windows-dns", "windows-dns-forward"),
    ("9.", "bind", "bind"),
];

/// Whether it is systemd-resolved, which does not say what it is, but has addresses of its own.
pub(super) fn is_stub(asked: &Asked) -> bool {
    STUB.into_iter().any(|stub| asked.server.ip() == IpAddr::V4(stub))
}

/// Whether systemd-resolved asks it, for this host.
pub(super) fn is_behind_stub(asked: &Asked) -> bool {
    asked.origin.starts_with(BEHIND_STUB)
}

/// Whether it is BIND, as far as it says so.
pub(super) fn is_bind(asked: &Asked) -> bool {
    recipe_of(asked, Form::Own) == Some("bind")
}

/// The name of the recipe that makes it lead to the gateway, if it can be seen what it is.
pub(super) fn recipe_of(asked: &Asked, form: Form) -> Option<&'static str> {
    if is_stub(asked) {
        return Some("systemd-resolved");
    }
    let software = asked.software.as_deref()?.to_ascii_lowercase();
    let (_, own, forward) = KINDS.iter().find(|(beginning, ..)| software.starts_with(beginning))?;
    Some(if form == Form::Own { own } else { forward })
}
