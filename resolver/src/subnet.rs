//! EDNS Client Subnet (RFC 7871): the network that a resolver asks for, read strictly, and written back with a scope.
//!
//! Whoever sends what the RFC forbids is told so (FORMERR): a resolver that is wrong about its clients would keep the
//! answer for others.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// FAMILY, SOURCE PREFIX-LENGTH and SCOPE PREFIX-LENGTH.
const BEFORE_ADDRESS: usize = 4;

/// The option's content, as it stood in a query that follows the RFC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subnet {
    family: Family,
    /// SOURCE PREFIX-LENGTH.
    source: u8,
    /// ADDRESS from its first octet; zero beyond SOURCE.
    address: [u8; 16],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Family {
    V4,
    V6,
}

/// What is wrong with an option's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Less than the four octets before the address.
    #[error("shorter than its fixed part")]
    Short,
    /// Neither IPv4 (1) nor IPv6 (2).
    #[error("of a family that is neither IPv4 nor IPv6")]
    Family,
    /// Longer than an address of the family.
    #[error("its prefix is longer than an address")]
    Source,
    /// A query's scope is 0 (section 7.1.2).
    #[error("a query has no scope")]
    Scope,
    /// ADDRESS has not just the octets that SOURCE needs (section 6).
    #[error("its address is not as long as its prefix")]
    Length,
    /// Bits of ADDRESS beyond SOURCE are set (section 6).
    #[error("bits beyond its prefix are set")]
    Dirty,
}

impl Subnet {
    /// Reads what stands in a query's option 8, behind OPTION-LENGTH.
    ///
    /// # Errors
    /// Whatever RFC 7871, sections 6 and 7.1.2, forbids in a query.
    pub fn read(octets: &[u8]) -> Result<Self, Malformed> {
        let (fixed, given) = octets.split_at_checked(BEFORE_ADDRESS).ok_or(Malformed::Short)?;
        let (family, longest) = match fixed {
            [0, 1, ..] => (Family::V4, 32),
            [0, 2, ..] => (Family::V6, 128),
            _ => return Err(Malformed::Family),
        };
        let (source, scope) = (fixed[2], fixed[3]);
        if source > longest {
            return Err(Malformed::Source);
        }
        if scope != 0 {
            return Err(Malformed::Scope);
        }
        if given.len() != usize::from(source.div_ceil(8)) {
            return Err(Malformed::Length);
        }
        let beyond = given.last().filter(|_| source % 8 != 0).map_or(0, |last| last << (source % 8));
        if beyond != 0 {
            return Err(Malformed::Dirty);
        }
        let mut address = [0; 16];
        address[..given.len()].copy_from_slice(given);
        Ok(Self { family, source, address })
    }

    /// Appends the option's content for an answer: what the query said, and that it holds for `scope` bits of it.
    pub fn write(&self, scope: u8, octets: &mut Vec<u8>) {
        let family = if self.family == Family::V4 { 1 } else { 2 };
        octets.extend([0, family, self.source, scope]);
        octets.extend_from_slice(&self.address[..usize::from(self.source.div_ceil(8))]);
    }

    /// How many octets [`Subnet::write`] appends.
    #[must_use]
    pub fn written_len(&self) -> usize {
        BEFORE_ADDRESS + usize::from(self.source.div_ceil(8))
    }

    /// The network; `None`: the client does not want to be told apart (SOURCE 0, section 7.1.2).
    #[must_use]
    pub fn network(&self) -> Option<IpNet> {
        let address = match self.family {
            Family::V4 => {
                let [a, b, c, d, ..] = self.address;
                IpAddr::V4(Ipv4Addr::new(a, b, c, d))
            }
            Family::V6 => IpAddr::V6(Ipv6Addr::from(self.address)),
        };
        IpNet::new(address, self.source).ok().filter(|_| self.source > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::collection;
    use proptest::prelude::*;

    #[test]
    fn what_the_rfc_forbids_is_not_read() {
        for (octets, wrong) in [
            (&[][..], Malformed::Short),
            (&[0, 1, 24], Malformed::Short),
            (&[0, 0, 0, 0], Malformed::Family),
            (&[0, 3, 24, 0, 192, 0, 32], Malformed::Family),
            (&[1, 1, 24, 0, 192, 0, 32], Malformed::Family),
            (&[0, 1, 33, 0, 192, 0, 32, 0, 0], Malformed::Source),
            (&[0, 2, 129, 0, 0x2a], Malformed::Source),
            (&[0, 1, 24, 24, 192, 0, 32], Malformed::Scope),
            (&[0, 1, 0, 1], Malformed::Scope),
            (&[0, 1, 24, 0, 192, 0], Malformed::Length),
            (&[0, 1, 24, 0, 192, 0, 32, 0], Malformed::Length),
            (&[0, 1, 0, 0, 0], Malformed::Length),
            (&[0, 1, 24, 0], Malformed::Length),
            (&[0, 1, 20, 0, 192, 0, 33], Malformed::Dirty),
            (&[0, 2, 57, 0, 0x2a, 0, 0, 1, 0, 2, 0, 0x40], Malformed::Dirty),
        ] {
            assert_eq!(Subnet::read(octets), Err(wrong), "{octets:?}");
        }
    }

    #[test]
    fn a_network_is_read_in_either_family() {
        let network = |octets: &[u8]| Subnet::read(octets).unwrap().network().map(|net| net.to_string());
        assert_eq!(network(&[0, 1, 24, 0, 192, 0, 32]).unwrap(), "192.0.32.0/24");
        assert_eq!(network(&[0, 1, 20, 0, 192, 0, 32]).unwrap(), "192.0.32.0/20");
        assert_eq!(network(&[0, 1, 32, 0, 192, 0, 32, 7]).unwrap(), "192.0.32.7/32");
        assert_eq!(network(&[0, 2, 56, 0, 0x2a, 0, 0, 1, 0, 2, 0x34]).unwrap(), "2a00:1:2:3400::/56");
        assert_eq!(network(&[0, 1, 0, 0]), None);
        assert_eq!(network(&[0, 2, 0, 0]), None);
    }

    proptest! {
        #[test]
        fn what_was_read_is_written_as_it_was(
            octets in collection::vec(prop_oneof![Just(0_u8), Just(1), Just(2), any::<u8>()], 0..24),
            scope in any::<u8>(),
        ) {
            if let Ok(subnet) = Subnet::read(&octets) {
                let mut written = Vec::new();
                subnet.write(scope, &mut written);
                prop_assert_eq!(written.len(), subnet.written_len());
                prop_assert_eq!(written[3], scope);
                written[3] = 0;
                prop_assert_eq!(written, octets);
            }
        }

        #[test]
        fn every_clean_network_is_read(bits in any::<u128>(), v4 in any::<bool>(), source in 0_u8..=128) {
            let source = if v4 { source % 33 } else { source };
            let address = if v4 {
                IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits >> 96).unwrap()))
            } else {
                IpAddr::V6(Ipv6Addr::from_bits(bits))
            };
            let clean = IpNet::new(address, source).unwrap().trunc();
            let octets = match clean.addr() {
                IpAddr::V4(v4) => v4.octets().to_vec(),
                IpAddr::V6(v6) => v6.octets().to_vec(),
            };
            let length = usize::from(source.div_ceil(8));
            let option = [&[0, if v4 { 1 } else { 2 }, source, 0], &octets[..length]].concat();
            prop_assert_eq!(Subnet::read(&option).unwrap().network(), Some(clean).filter(|_| source > 0));
        }
    }
}
