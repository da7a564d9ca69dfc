//! Every recipe that exists, and the names that it goes by.

use super::recipe::Recipe;

/// A recipe, and what there is to know about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its name, then its other names.
    pub names: &'static [&'static str],
    /// Who uses it.
    pub audience: Audience,
    /// What it needs of the gateway.
    pub needs: Needs,
    /// What is to be filled in.
    pub recipe: Recipe,
}

/// Who uses a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Who runs a network's resolver or DHCP server.
    Network,
    /// Who runs one computer.
    Computer,
    /// Who runs a client of the registry.
    Client,
    /// Who runs the computer that the gateway is on.
    Gateway,
}

/// What a recipe needs of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Needs {
    /// That it is reached by its URL.
    Url,
    /// That it has been started once, and has peers.
    Peers,
    /// An address that does not change.
    Address,
    /// That it answers DNS.
    Dns,
    /// That it answers DNS for all names.
    Forward,
}

/// A name that no recipe has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no recipe for {name:?}{}; open-registry setup --list shows all", .nearest.map(|name| format!("; did you mean {name:?}?")).unwrap_or_default())]
pub struct Unknown {
    name: String,
    nearest: Option<&'static str>,
}

macro_rules! entry {
    ($names:expr, $audience:ident, $needs:ident, $file:literal) => {
        Entry {
            names: &$names,
            audience: Audience::$audience,
            needs: Needs::$needs,
            recipe: Recipe(include_str!(concat!("../../../config/recipes/", $file))),
        }
    };
}

/// All recipes, in the order in which they are listed.
pub const CATALOGUE: [Entry; 35] = [
    entry!(["dnsmasq"], Network, Address, "dnsmasq.conf"),
    entry!(["dnsmasq-forward"], Network, Dns, "dnsmasq-forward.conf"),
    entry!(["pihole"], Network, Address, "pihole.conf"),
    entry!(["openwrt"], Network, Address, "openwrt.sh"),
    entry!(["openwrt-forward"], Network, Dns, "openwrt-forward.sh"),
    entry!(["unbound", "opnsense", "pfsense"], Network, Address, "unbound.conf"),
    entry!(["unbound-forward", "opnsense-forward", "pfsense-forward"], Network, Dns, "unbound-forward.conf"),
    entry!(["bind"], Network, Address, "bind.conf"),
    entry!(["bind-zone"], Network, Address, "bind-zone.db"),
    entry!(["bind-forward"], Network, Dns, "bind-forward.conf"),
    entry!(["adguardhome"], Network, Address, "adguardhome.txt"),
    entry!(["adguardhome-forward"], Network, Dns, "adguardhome-forward.txt"),
    entry!(["technitium"], Network, Address, "technitium.sh"),
    entry!(["windows-dns"], Network, Address, "windows-dns.ps1"),
    entry!(["windows-dns-forward"], Network, Dns, "windows-dns-forward.ps1"),
    entry!(["routeros"], Network, Dns, "routeros.rsc"),
    entry!(["dhcp-dnsmasq"], Network, Forward, "dhcp-dnsmasq.conf"),
    entry!(["dhcp-openwrt"], Network, Forward, "dhcp-openwrt.sh"),
    entry!(["dhcp-isc"], Network, Forward, "dhcp-isc.conf"),
    entry!(["dhcp-kea"], Network, Forward, "dhcp-kea.json"),
    entry!(["dhcp-routeros"], Network, Forward, "dhcp-routeros.rsc"),
    entry!(["hosts"], Computer, Address, "hosts"),
    entry!(["systemd-resolved"], Computer, Dns, "systemd-resolved.sh"),
    entry!(["networkmanager"], Computer, Address, "networkmanager.conf"),
    entry!(["windows-client"], Computer, Dns, "windows-client.ps1"),
    entry!(["npm"], Client, Url, "clients/npm.npmrc"),
    entry!(["pnpm"], Client, Url, "clients/pnpm.npmrc"),
    entry!(["yarn1"], Client, Url, "clients/yarn1.npmrc"),
    entry!(["yarn", "berry"], Client, Url, "clients/yarn.yarnrc.yml"),
    entry!(["bun"], Client, Url, "clients/bun.npmrc"),
    entry!(["deno"], Client, Url, "clients/deno.npmrc"),
    entry!(["vlt"], Client, Url, "clients/vlt.sh"),
    entry!(["utoo"], Client, Url, "clients/utoo.npmrc"),
    entry!(["avahi"], Gateway, Peers, "avahi.xml"),
    entry!(["resolved-dnssd"], Gateway, Peers, "resolved.dnssd"),
];

/// The recipe of this name.
///
/// # Errors
/// When there is none; the error names the nearest.
pub fn find(name: &str) -> Result<&'static Entry, Unknown> {
    let wanted = name.to_ascii_lowercase();
    CATALOGUE.iter().find(|entry| entry.names.contains(&wanted.as_str())).ok_or_else(|| {
        let names = CATALOGUE.iter().flat_map(|entry| entry.names);
        let nearest = names
            .map(|known| (strsim::damerau_levenshtein(&wanted, known), *known))
            .filter(|(distance, known)| *distance <= known.len().div_ceil(3))
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, known)| known);
        Unknown { name: name.to_owned(), nearest }
    })
}
