//! Declared networks: who serves them, and how wide an answer for one address may be remembered.
//!
//! A binary trie for each family. A client is matched as the network that is known of it (a /24, say), so that all
//! of that network get the same answer: a longer network that lies within it does not count.

use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use ipnet::IpNet;

/// Networks, each with the numbers of those who serve it.
#[derive(Debug, Clone)]
pub struct Networks {
    nodes: Vec<Node>,
}

/// A bit of a prefix: what follows after a 0 and after a 1 (0: nothing), and who serves the network that ends here.
#[derive(Debug, Clone, Default)]
struct Node {
    next: [u32; 2],
    servers: Vec<u32>,
}

/// What lies on the way to a client's network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matches<'a> {
    /// The declared networks that contain it, the longest first: their prefix lengths, and who serves them.
    pub found: Vec<(u8, &'a [u32])>,
    /// The length of the shortest prefix of the address that nothing is declared within: all of it is treated alike. It may be
    /// longer than what is known of the client.
    pub alike: u8,
}

impl Default for Networks {
    fn default() -> Self {
        // The roots of IPv4 and IPv6.
        Self { nodes: vec![Node::default(); 2] }
    }
}

impl Networks {
    /// Whoever has this number serves this network. Numbers come in their order.
    pub fn declare(&mut self, network: IpNet, server: u32) {
        let node = self.node(network);
        if self.nodes[node].servers.last() != Some(&server) {
            self.nodes[node].servers.push(server);
        }
    }

    /// This network is told from those around it, whoever serves it.
    pub fn split(&mut self, network: IpNet) {
        self.node(network);
    }

    fn node(&mut self, network: IpNet) -> usize {
        let mut at = root(network.addr());
        for depth in 0..network.prefix_len() {
            let bit = bit(network.addr(), depth);
            if self.nodes[at].next[bit] == 0 {
                self.nodes[at].next[bit] = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
                self.nodes.push(Node::default());
            }
            at = self.nodes[at].next[bit] as usize;
        }
        at
    }

    /// The declared networks that a client's network lies in.
    #[must_use]
    pub fn matches(&self, network: IpNet) -> Matches<'_> {
        let (address, length) = (network.addr(), network.prefix_len());
        let mut matches = Matches::default();
        let mut at = root(address);
        for depth in 0..=network.max_prefix_len() {
            let node = &self.nodes[at];
            if depth <= length && !node.servers.is_empty() {
                matches.found.insert(0, (depth, &node.servers));
            }
            matches.alike = depth;
            if depth == network.max_prefix_len() || node.next == [0, 0] {
                break;
            }
            match node.next[bit(address, depth)] {
                0 => {
                    matches.alike = depth + 1;
                    break;
                }
                next => at = next as usize,
            }
        }
        matches
    }
}

fn root(address: IpAddr) -> usize {
    usize::from(address.is_ipv6())
}

/// Bit `depth` of an address, the highest first.
fn bit(address: IpAddr, depth: u8) -> usize {
    let set = match address {
        IpAddr::V4(v4) => v4.to_bits() >> (31 - u32::from(depth)) & 1 == 1,
        IpAddr::V6(v6) => v6.to_bits() >> (127 - u32::from(depth)) & 1 == 1,
    };
    usize::from(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn networks(declared: &[(&str, u32)]) -> Networks {
        let mut networks = Networks::default();
        for (network, server) in declared {
            networks.declare(network.parse().unwrap(), *server);
        }
        networks
    }

    fn found(networks: &Networks, network: &str) -> Vec<(u8, Vec<u32>)> {
        let matches = networks.matches(network.parse().unwrap());
        matches.found.into_iter().map(|(length, servers)| (length, servers.to_vec())).collect()
    }

    #[test]
    fn the_longest_network_comes_first() {
        let networks =
            networks(&[("10.0.0.0/8", 1), ("10.1.0.0/16", 2), ("10.1.0.0/16", 3), ("0.0.0.0/0", 4)]);
        assert_eq!(found(&networks, "10.1.2.0/24"), [(16, vec![2, 3]), (8, vec![1]), (0, vec![4])]);
        assert_eq!(found(&networks, "10.2.2.0/24"), [(8, vec![1]), (0, vec![4])]);
        assert_eq!(found(&networks, "2001:db8::/56"), []);
    }

    #[test]
    fn what_is_narrower_than_the_client_is_known_does_not_count() {
        let networks = networks(&[("10.1.2.128/25", 1), ("10.1.2.0/24", 2)]);
        assert_eq!(found(&networks, "10.1.2.0/24"), [(24, vec![2])]);
        assert_eq!(found(&networks, "10.1.2.200/32"), [(25, vec![1]), (24, vec![2])]);
    }

    fn network() -> impl Strategy<Value = IpNet> {
        // Few bits that differ, so that networks meet.
        (0u32..64, 0u8..=8, any::<bool>()).prop_map(|(bits, length, v6)| {
            let (address, length) = match v6 {
                false => (IpAddr::V4((bits << 26).into()), length),
                true => (IpAddr::V6((u128::from(bits) << 122).into()), length),
            };
            IpNet::new(address, length).unwrap().trunc()
        })
    }

    proptest! {
        #[test]
        fn the_trie_is_the_list_that_it_stands_for(declared in proptest::collection::vec(network(), 0..20), asked in network()) {
            let mut networks = Networks::default();
            declared.iter().zip(0..).for_each(|(network, server)| networks.declare(*network, server));
            let matches = networks.matches(asked);
            let mut lengths: Vec<u8> =
                declared.iter().filter(|network| network.contains(&asked)).map(IpNet::prefix_len).collect();
            lengths.sort_unstable();
            lengths.dedup();
            lengths.reverse();
            prop_assert_eq!(matches.found.iter().map(|(length, _)| *length).collect::<Vec<_>>(), lengths);
            for (length, servers) in &matches.found {
                for server in *servers {
                    let network = declared[*server as usize];
                    prop_assert!(network.contains(&asked) && network.prefix_len() == *length);
                }
            }
        }

        #[test]
        fn whatever_is_alike_has_the_same_servers(declared in proptest::collection::vec(network(), 0..20), asked in network(), other in network()) {
            let mut networks = Networks::default();
            declared.iter().zip(0..).for_each(|(network, server)| networks.declare(*network, server));
            let host = |net: IpNet| IpNet::new(net.addr(), net.max_prefix_len()).unwrap();
            let (asked, other) = (host(asked), host(other));
            let matches = networks.matches(asked);
            let alike = IpNet::new(asked.addr(), matches.alike).unwrap().trunc();
            if alike.contains(&other) {
                prop_assert_eq!(networks.matches(other), matches);
            }
        }
    }
}
