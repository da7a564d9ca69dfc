//! IPv4 inside IPv6: the address that somebody behind a translator or a tunnel really has.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The shortest prefix of an IPv4 address that says anything: registries give no larger networks.
const LEAST_V4: u8 = 8;
/// What of a public address decides: all of a site, and nobody's own machine (as public resolvers send it).
const SITE_V4: u8 = 24;
/// The same for IPv6.
const SITE_V6: u8 = 56;

/// Special-purpose networks of IPv4 (RFC 6890 and its registry): nobody is found by an address in them.
const SPECIAL_V4: [(Ipv4Addr, u8); 14] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];
/// All that is given out of IPv6 (RFC 4291), and what of that is for other purposes: the IETF's (RFC 2928),
/// documentation (RFC 3849, RFC 9637), and tunnels whose IPv4 address says nothing (RFC 3056).
const GIVEN_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
const SPECIAL_V6: [(Ipv6Addr, u8); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// How IPv4 addresses stand in IPv6 ones.
struct Form {
    network: (Ipv6Addr, u8),
    /// How many bits stand before the IPv4 address.
    before: u8,
    /// Its bits are inverted.
    inverted: bool,
}

/// IPv4-mapped (RFC 4291, section 2.5.5.2), IPv4-translated (RFC 7915), NAT64's well-known prefix (RFC 6052), Teredo
/// (RFC 4380) and 6to4 (RFC 3056).
const FORMS: [Form; 5] = [
    Form { network: (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96), before: 96, inverted: false },
    Form { network: (Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96), before: 96, inverted: false },
    Form { network: (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96), before: 96, inverted: false },
    Form { network: (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32), before: 96, inverted: true },
    Form { network: (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), before: 16, inverted: false },
];

/// A network, and how many bits stood before it where it was found inside another: 0, unless it is IPv4 in IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Folded {
    /// The network in its own family.
    pub network: IpNet,
    /// The bits of IPv6 before it: a prefix of `n` bits here is one of `before + n` there.
    pub before: u8,
}

impl Folded {
    /// The IPv4 network inside an IPv6 one, where there is one that is public or plainly the same (IPv4-mapped);
    /// otherwise the network as it is. A forged tunnel so never makes anybody private.
    #[must_use]
    pub fn of(network: IpNet) -> Self {
        let IpNet::V6(v6) = network else { return Self { network, before: 0 } };
        FORMS.iter().find_map(|form| form.unfold(v6)).unwrap_or(Self { network, before: 0 })
    }
}

impl Form {
    fn unfold(&self, v6: Ipv6Net) -> Option<Folded> {
        let prefix = v6.prefix_len();
        if !contains_v6(self.network, v6.addr()) || prefix < self.before + LEAST_V4 {
            return None;
        }
        let shifted = v6.addr().to_bits() >> (128 - 32 - u32::from(self.before));
        let bits = u32::try_from(shifted & u128::from(u32::MAX)).ok()?;
        let address = Ipv4Addr::from_bits(if self.inverted { !bits } else { bits });
        let network = Ipv4Net::new(address, (prefix - self.before).min(32)).ok()?;
        let mapped = v6.addr().to_ipv4_mapped().is_some();
        let network = if prefix == 128 { network } else { network.trunc() };
        (mapped || is_global(IpAddr::V4(network.addr())))
            .then_some(Folded { network: IpNet::V4(network), before: self.before })
    }
}

/// Whether an address is somebody's in all of the Internet. Private, carriers', loopback, link-local, documentation,
/// multicast and reserved ones are not.
#[must_use]
pub fn is_global(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => !SPECIAL_V4.iter().any(|network| contains_v4(*network, v4)),
        IpAddr::V6(v6) => {
            contains_v6(GIVEN_V6, v6) && !SPECIAL_V6.iter().any(|network| contains_v6(*network, v6))
        }
    }
}

/// Whether the addresses of an IPv6 network stand for public IPv4 ones, so that nobody is ever met in it: they are counted
/// in the IPv4 network, which [`Folded::of`] finds if it is one.
#[must_use]
pub fn stands_for_v4(network: IpNet) -> bool {
    let IpNet::V6(v6) = network else { return false };
    let holds_many = |form: &Form| {
        contains_v6(form.network, v6.addr())
            && (form.network.1..form.before + LEAST_V4).contains(&v6.prefix_len())
    };
    Folded::of(network).before > 0 || FORMS.iter().any(holds_many)
}

/// The networks at whose borders [`is_global`] changes: addresses on both sides are not alike.
pub(crate) fn special() -> impl Iterator<Item = IpNet> {
    let v4 = SPECIAL_V4.into_iter().map(|(address, prefix)| (IpAddr::V4(address), prefix));
    let v6 = SPECIAL_V6.into_iter().chain([GIVEN_V6]).map(|(address, prefix)| (IpAddr::V6(address), prefix));
    v4.chain(v6).filter_map(|(address, prefix)| IpNet::new(address, prefix).ok())
}

/// What of a network decides: of a global one, no more than its /24 or /56.
#[must_use]
pub fn site(network: IpNet) -> IpNet {
    let most = if network.addr().is_ipv4() { SITE_V4 } else { SITE_V6 };
    if !is_global(network.addr()) || network.prefix_len() <= most {
        return network;
    }
    IpNet::new(network.addr(), most).map_or(network, |site| site.trunc())
}

fn contains_v4((network, prefix): (Ipv4Addr, u8), address: Ipv4Addr) -> bool {
    (network.to_bits() ^ address.to_bits()).leading_zeros() >= u32::from(prefix)
}

fn contains_v6((network, prefix): (Ipv6Addr, u8), address: Ipv6Addr) -> bool {
    (network.to_bits() ^ address.to_bits()).leading_zeros() >= u32::from(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn ipv4_inside_ipv6_is_found() {
        let folded = |text: &str| {
            let Folded { network, before } = Folded::of(net(text));
            (network.to_string(), before)
        };
        let v4 = |text: &str, before| (text.to_string(), before);
        assert_eq!(folded("::ffff:192.0.32.7/128"), v4("192.0.32.7/32", 96));
        assert_eq!(folded("::ffff:0:192.0.32.7/128"), v4("192.0.32.7/32", 96));
        assert_eq!(folded("64:ff9b::192.0.32.7/128"), v4("192.0.32.7/32", 96));
        assert_eq!(folded("64:ff9b::192.0.32.0/120"), v4("192.0.32.0/24", 96));
        assert_eq!(folded("2002:c000:2007::1/128"), v4("192.0.32.7/32", 16));
        assert_eq!(folded("2002:c000:2000::/40"), v4("192.0.32.0/24", 16));
        // The example of RFC 4380, section 5.2.9, with another client behind the NAT.
        assert_eq!(folded("2001:0:4136:e378:8000:63bf:3fff:dff8/128"), v4("192.0.32.7/32", 96));
        assert_eq!(folded("2001:0:4136:e378:8000:63bf:3fff:df00/120"), v4("192.0.32.0/24", 96));
        assert_eq!(folded("::ffff:10.0.0.1/128"), v4("10.0.0.1/32", 96), "plainly the same address");
    }

    #[test]
    fn what_says_nothing_stays_as_it_is() {
        for text in [
            "2001:4860::/32",
            "2002:c000:2000::/20",
            "2001::/56",
            "64:ff9b::/96",
            "2002:a00:1::/48",
            "64:ff9b::10.0.0.1/128",
            "192.0.32.7/32",
        ] {
            assert_eq!(Folded::of(net(text)), Folded { network: net(text), before: 0 }, "{text}");
        }
    }

    #[test]
    fn nobody_is_met_in_what_stands_for_ipv4() {
        for text in
            ["::ffff:9.9.9.0/120", "::ffff:0:0/96", "2002:808::/32", "2002::/16", "64:ff9b::/96", "2001::/32"]
        {
            assert!(stands_for_v4(net(text)), "{text}");
        }
        for text in
            ["9.9.9.0/24", "2002:a00::/24", "64:ff9b::10.0.0.0/104", "2000::/3", "2001::/16", "2a00::/16"]
        {
            assert!(!stands_for_v4(net(text)), "{text}");
        }
    }

    #[test]
    fn addresses_of_special_purpose_are_nobodys() {
        for text in
            ["8.8.8.8", "100.128.0.1", "172.32.0.1", "192.0.1.1", "2001:4860::1", "2a00::1", "2001:200::1"]
        {
            assert!(is_global(text.parse().unwrap()), "{text}");
        }
        for text in [
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.1.1",
            "172.31.0.1",
            "192.168.7.9",
            "192.0.2.1",
            "198.51.100.1",
            "203.0.113.1",
            "198.19.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fd00::1",
            "2001:db8::1",
            "3fff::1",
            "2001::1",
            "ff02::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(!is_global(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn of_a_public_address_its_site_decides_and_of_a_private_one_all() {
        for (text, expected) in [
            ("192.0.32.7/32", "192.0.32.0/24"),
            ("192.0.0.0/10", "192.0.0.0/10"),
            ("8.8.0.0/16", "8.8.0.0/16"),
            ("2a00:1:2:3456::1/128", "2a00:1:2:3400::/56"),
            ("192.168.7.20/32", "192.168.7.20/32"),
            ("100.64.0.1/32", "100.64.0.1/32"),
            ("fd00::7/128", "fd00::7/128"),
        ] {
            assert_eq!(site(net(text)), net(expected), "{text}");
        }
    }
}
