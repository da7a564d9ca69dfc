//! The recipe for a resolver, as far as it can be seen which one it is.

use std::net::IpAddr;

use super::super::facts::Asked;
use super::view::{View, list};
use crate::setup::find;

/// Which form of a recipe mends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The resolver answers by itself.
    Own,
    /// The resolver asks the gateway, with the exceptions that this takes.
    Forward,
}

/// The beginnings of what resolvers say of themselves, and their recipes. BIND says its version alone.
const KINDS: [(&str, &str, &str); 5] = [
    ("dnsmasq-pi-hole", "pihole", "dnsmasq-forward"),
    ("dnsmasq", "dnsmasq", "dnsmasq-forward"),
    ("unbound", "unbound", "unbound-forward"),
    ("microsoft", "windows-dns", "windows-dns-forward"),
    ("9.", "bind", "bind-forward"),
];

/// `192.168.7.1 (dnsmasq-2.90)`
pub(super) fn name_of(asked: &Asked) -> String {
    let port =
        if asked.server.port() == 53 { String::new() } else { format!(" port {}", asked.server.port()) };
    let software = asked.software.as_deref().filter(|text| !text.is_empty());
    let software = software.map(|software| format!(" ({software})")).unwrap_or_default();
    format!("{}{port}{software}", asked.server.ip())
}

/// The lines that make this resolver lead to the gateway.
pub(super) fn cure(view: &View<'_>, asked: &Asked, form: Form) -> Vec<String> {
    let Some(recipe) = recipe_of(asked, form) else {
        let address = view.values().map_or("ADDRESS".to_owned(), |values| list(&values.gateways));
        return vec![
            format!("which resolver {} is cannot be seen; what mends it is one of these:", asked.server.ip()),
            format!("open-registry setup openwrt --address {}", first(&address)),
            "likewise pihole, unbound (pfSense, OPNsense), adguardhome, \
                windows-dns; all: open-registry setup --list"
                .into(),
        ];
    };
    let place =
        if asked.server.ip().is_loopback() { "this host".into() } else { asked.server.ip().to_string() };
    let also =
        if recipe.starts_with("dnsmasq") { "; if it is OpenWrt: open-registry setup openwrt" } else { "" };
    let (Some(values), Ok(entry)) = (view.values(), find(recipe)) else {
        return vec![format!(
            "on {place}: open-registry setup {recipe} --address ADDRESS (the gateway's){also}"
        )];
    };
    let place = format!("on {place}, {}", entry.recipe.label("Where", &values).unwrap_or_default());
    let same =
        vec![format!("(open-registry setup {recipe} --address {}{also})", first(&list(&values.gateways)))];
    [vec![place], entry.recipe.lines(&values), same].concat()
}

fn first(addresses: &str) -> String {
    addresses.replace(", ", " --address ")
}

fn recipe_of(asked: &Asked, form: Form) -> Option<&'static str> {
    let software = asked.software.as_deref()?.to_ascii_lowercase();
    let (_, own, forward) = KINDS.iter().find(|(beginning, ..)| software.starts_with(beginning))?;
    Some(if form == Form::Own { own } else { forward })
}

/// The lines that put a computer's own file of names right.
pub(super) fn hosts_lines(zone: &str, wrong: &[IpAddr]) -> Vec<String> {
    let mut lines = vec!["remove from /etc/hosts:".to_owned()];
    lines.extend(wrong.iter().map(|ip| format!("{ip} {zone}")));
    lines
}
