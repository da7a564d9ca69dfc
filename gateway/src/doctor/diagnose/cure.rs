//! The recipe for a resolver, as far as it can be seen which one it is.

use std::net::IpAddr;

use super::super::facts::Asked;
use super::kinds::{Form, is_stub, recipe_of};
use super::view::{View, list};
use crate::setup::find;

/// `192.168.7.1 (dnsmasq-2.90)`
pub(super) fn name_of(asked: &Asked) -> String {
    let port =
        if asked.server.port() == 53 { String::new() } else { format!(" port {}", asked.server.port()) };
    let stub = is_stub(asked).then_some("systemd-resolved");
    let software = asked.software.as_deref().filter(|text| !text.is_empty()).or(stub);
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
    let zone_file = if recipe == "bind" { find("bind-zone").ok() } else { None };
    let mut fix = Vec::new();
    for entry in [Some(entry), zone_file].into_iter().flatten() {
        fix.push(format!("on {place}, {}", entry.recipe.label("Where", &values).unwrap_or_default()));
        fix.extend(entry.recipe.lines(&values));
    }
    fix.push(format!("(open-registry setup {recipe} --address {}{also})", first(&list(&values.gateways))));
    fix
}

fn first(addresses: &str) -> String {
    addresses.replace(", ", " --address ")
}

/// The lines that put a computer's own file of names right.
pub(super) fn hosts_lines(zone: &str, wrong: &[IpAddr]) -> Vec<String> {
    let mut lines = vec!["remove from /etc/hosts:".to_owned()];
    lines.extend(wrong.iter().map(|ip| format!("{ip} {zone}")));
    lines
}
