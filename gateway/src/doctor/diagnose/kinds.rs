//! Which resolver it is, by what it says of itself.

use super::super::facts::Asked;

/// Which form of a recipe mends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The resolver answers by itself.
    Own,
    /// The resolver asks the gateway, with the exceptions that this takes.
    Forward,
}

/// The beginnings of what resolvers say of themselves, and their recipes. BIND says its version alone; where it asks the
/// gateway, its exceptions would have to go into options that are there already, so it is always given a zone of its own.
const KINDS: [(&str, &str, &str); 5] = [
    ("dnsmasq-pi-hole", "pihole", "dnsmasq-forward"),
    ("dnsmasq", "dnsmasq", "dnsmasq-forward"),
    ("unbound", "unbound", "unbound-forward"),
    ("microsoft", "windows-dns", "windows-dns-forward"),
    ("9.", "bind", "bind"),
];

/// Whether it is BIND, as far as it says so.
pub(super) fn is_bind(asked: &Asked) -> bool {
    recipe_of(asked, Form::Own) == Some("bind")
}

/// The name of the recipe that makes it lead to the gateway, if it can be seen what it is.
pub(super) fn recipe_of(asked: &Asked, form: Form) -> Option<&'static str> {
    let software = asked.software.as_deref()?.to_ascii_lowercase();
    let (_, own, forward) = KINDS.iter().find(|(beginning, ..)| software.starts_with(beginning))?;
    Some(if form == Form::Own { own } else { forward })
}
