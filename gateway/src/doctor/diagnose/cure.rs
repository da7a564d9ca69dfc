//! The recipe for a resolver, as far as it can be seen which one it is.

use std::net::IpAddr;

use super::super::facts::Asked;
use super::kinds::{Form, is_stub, recipe_of};
use super::view::View;
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
    let ip = asked.server.ip();
    let flags = view.values().map_or(" --address ADDRESS".to_owned(), |values| flags(&values.gateways));
    let Some(recipe) = recipe_of(asked, form) else { return likely(ip, &flags) };
    let place = if ip.is_loopback() { "this host".to_owned() } else { ip.to_string() };
    let is_dnsmasq = recipe.starts_with("dnsmasq");
    let also = if is_dnsmasq { "; if it is OpenWrt: open-registry setup openwrt" } else { "" };
    let command = format!("open-registry setup {recipe}{flags}{also}");
    let Some(values) = view.values() else { return vec![format!("on {place}: {command}")] };
    let zone_file = (recipe == "bind").then_some("bind-zone");
    let mut fix = Vec::new();
    for entry in [Some(recipe), zone_file].into_iter().flatten().filter_map(|name| find(name).ok()) {
        fix.push(format!("on {place}, {}", entry.recipe.label("Where", &values).unwrap_or_default()));
        fix.extend(entry.recipe.lines(&values));
    }
    fix.push(format!("({command})"));
    fix
}

/// What to try where the resolver does not say what it is.
fn likely(ip: IpAddr, flags: &str) -> Vec<String> {
    vec![
        format!("which resolver {ip} is cannot be seen; what mends it is one of these:"),
        format!("open-registry setup openwrt{flags}"),
        "likewise pihole, unbound (pfSense, OPNsense), adguardhome, windows-dns".to_owned(),
        "all: open-registry setup --list".to_owned(),
    ]
}

/// ` --address 192.168.7.9 --address fd00::9`
fn flags(addresses: &[IpAddr]) -> String {
    addresses.iter().map(|address| format!(" --address {address}")).collect()
}

/// The lines that put a computer's own file of names right.
pub(super) fn hosts_lines(zone: &str, wrong: &[IpAddr]) -> Vec<String> {
    let mut lines = vec!["remove from /etc/hosts:".to_owned()];
    lines.extend(wrong.iter().map(|ip| format!("{ip} {zone}")));
    lines
}
