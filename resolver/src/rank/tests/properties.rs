//! Promises that hold in whatever world: private and public networks of both families, with links of this machine among them.

use core::net::Ipv6Addr;

use proptest::prelude::*;

use super::*;
use crate::links::{Class, Link};

/// The first octets of addresses in networks that are partly private.
const FIRST: [u8; 9] = [0, 8, 10, 100, 150, 169, 172, 192, 198];

/// The address whose first 32 bits behind those of all these networks are `bits`.
fn address(v6: bool, bits: u32) -> IpAddr {
    match v6 {
        false => Ipv4Addr::from(bits).into(),
        // Some of these networks are special (2001::/23), and others are not.
        true => Ipv6Addr::from(0x2001 << 112 | u128::from(bits) << 80).into(),
    }
}

/// The bits of [`address`].
fn bits(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(v4) => v4.to_bits(),
        IpAddr::V6(v6) => u32::try_from(v6.to_bits() >> 80 & u128::from(u32::MAX)).unwrap(),
    }
}

/// So many bits of the address stand before [`bits`].
fn before(v6: bool) -> u8 {
    if v6 { 16 } else { 0 }
}

/// Where an address is, in a world whose places are as large as a /8, a /10 or a /16.
fn located(address: IpAddr) -> Whereabouts {
    let bits = bits(address);
    let length = [8_u8, 10, 16][(bits >> 24) as usize % 3];
    let block = u16::try_from(bits >> 16 & u32::MAX << (16 - length)).unwrap();
    let place = Place {
        latitude: f32::from(block % 17) * 10.0 - 80.0,
        longitude: f32::from(block % 35) * 10.0 - 170.0,
        accuracy_km: 10,
    };
    Whereabouts {
        place: (block % 5 != 0).then_some(place),
        country: Code::parse(["CH", "FR", "JP"][usize::from(block % 3)]).filter(|_| block % 7 != 0),
        continent: Code::parse(["EU", "EU", "AS"][usize::from(block % 3)]).filter(|_| block % 7 != 0),
        asn: (block % 4 == 0).then_some(u32::from(block % 7)),
        prefix: length + before(address.is_ipv6()),
    }
}

/// The second octet is often one at which private space begins or ends.
fn drawn_bits() -> impl Strategy<Value = u32> {
    let second = prop_oneof![any::<u8>(), prop::sample::select(vec![0, 13, 16, 31, 51, 64, 127, 168, 254])];
    let third = prop_oneof![any::<u8>(), prop::sample::select(vec![0, 2, 100])];
    (prop::sample::select(FIRST.to_vec()), second, third, any::<u8>())
        .prop_map(|(first, second, third, fourth)| u32::from_be_bytes([first, second, third, fourth]))
}

fn network(lengths: core::ops::RangeInclusive<u8>) -> impl Strategy<Value = IpNet> {
    (any::<bool>(), drawn_bits(), lengths)
        .prop_map(|(v6, bits, length)| IpNet::new(address(v6, bits), length + before(v6)).unwrap().trunc())
}

/// A machine on some networks, with peers of which some are on them too.
#[derive(Debug, Clone)]
struct World {
    links: Links,
    this: Whereabouts,
    peers: Vec<(Peer, Standing)>,
}

impl World {
    fn snapshot(&self) -> Snapshot {
        let this = This { whereabouts: self.this, ..This::default() };
        snapshot_of(&this, &self.peers, &self.links)
    }

    fn with(&self, nth: usize, standing: Standing) -> Self {
        let mut other = self.clone();
        other.peers[nth].1 = standing;
        other
    }

    /// A client of which so many bits are known: whoever is known by his own packet is known to be a neighbour.
    fn client(&self, address: IpAddr, known: u8) -> Client {
        let network = IpNet::new(address, known).unwrap().trunc();
        let neighbour =
            known == network.max_prefix_len() && self.links.networks().any(|link| link.contains(&address));
        let network = if neighbour { network } else { crate::fold::site(network) };
        let at_home = Class::of(address) < Class::Public;
        Client::new(network, at_home, located(network.addr()))
    }
}

fn standing_of(state: u8, load: f32) -> Standing {
    match state {
        0 => down(),
        1 => Standing { load, ..suspect() },
        2 => Standing { state: State::Recovering, weight: 0.3, load, changes_in_s: Some(0), ..up() },
        3 => Standing { quarantined_s: Some(60), load, ..up() },
        _ => Standing { load, ..up() },
    }
}

fn world() -> impl Strategy<Value = World> {
    let links = proptest::collection::vec(network(18..=30), 0..3);
    let networks = proptest::collection::vec(network(8..=24), 0..3);
    let here = (any::<bool>(), drawn_bits(), any::<prop::sample::Index>(), 0u8..4);
    let one = (networks, here, (0u8..10, 0.0f32..1.0, 0.1f32..4.0), prop::bool::weighted(0.9));
    (links, proptest::option::of(drawn_bits()), proptest::collection::vec(one, 0..30)).prop_map(
        |(links, this, drawn)| {
            let mut peers = Vec::new();
            for (nth, (networks, (v6, from, link, kind), (state, load, capacity), admitted)) in
                (1_u8..).zip(drawn)
            {
                let at = match kind {
                    0 if !links.is_empty() => link.get(&links).addr(),
                    1 => Ipv4Addr::new(10, 0, 0, nth).into(),
                    _ => Ipv4Addr::new(198, 18, 0, nth).into(),
                };
                let whereabouts = Whereabouts { prefix: 0, ..located(address(v6, from)) };
                let mut peer = peer_at(nth, &alloc::format!("{at}"), whereabouts);
                (peer.networks, peer.capacity, peer.admitted) = (networks, capacity, admitted);
                peers.push((peer, standing_of(state, load)));
            }
            let this = this.map_or(Whereabouts::default(), |bits| Whereabouts {
                prefix: 0,
                ..located(address(false, bits))
            });
            World { links: Links(vec![Link { index: 1, networks: links }]), this, peers }
        },
    )
}

/// An address, and how many bits of it are known.
fn anybody() -> impl Strategy<Value = (IpAddr, u8)> {
    let known = prop_oneof![8u8..=32, Just(24), Just(32)];
    (any::<bool>(), drawn_bits(), known).prop_map(|(v6, bits, known)| {
        let known = if v6 && known == 32 { 128 } else { known + before(v6) };
        (address(v6, bits), known)
    })
}

proptest! {
    #[test]
    fn looking_at_few_finds_what_looking_at_all_does(world in world(), (address, known) in anybody()) {
        let (snapshot, client) = (world.snapshot(), world.client(address, known));
        let redirects = [false, true].map(|https| Purpose::Redirect { https });
        let families = [false, true].map(|v4| Purpose::OneFamily { v4 });
        for purpose in [Purpose::Answer].into_iter().chain(redirects).chain(families) {
            let all = snapshot.explain(&client, purpose);
            let best: Vec<_> = all.iter().filter_map(|one| one.verdict.ok()).take(MOST_RANKED).collect();
            prop_assert!(!best.is_empty(), "this gateway is always left");
            prop_assert_eq!(snapshot.decide(&client, purpose).ranked, best);
        }
    }

    #[test]
    fn the_nearest_is_never_skipped(world in world(), (address, known) in anybody()) {
        let (snapshot, client) = (world.snapshot(), world.client(address, known));
        let decision = snapshot.decide(&client, Purpose::Answer);
        let first = decision.ranked[0];
        for other in snapshot.explain(&client, Purpose::Answer).iter().filter_map(|one| one.verdict.ok()) {
            let as_good = (other.tier, other.prefix, other.suspect) == (first.tier, first.prefix, first.suspect);
            // Nobody who is told costs more than 1.41 times (and the 5 ms that all cost) what the cheapest does.
            prop_assert!(!as_good || first.cost.total() < other.cost.total().max(5.0) * 1.415);
            prop_assert!(other.tier >= first.tier);
        }
    }

    #[test]
    fn who_goes_takes_only_his_own_clients_along(world in world(), gone: prop::sample::Index, clients in proptest::collection::vec(anybody(), 20)) {
        prop_assume!(!world.peers.is_empty());
        let gone = gone.index(world.peers.len());
        let (before, after) = (world.snapshot(), world.with(gone, down()).snapshot());
        for client in clients.into_iter().map(|(address, known)| world.client(address, known)) {
            let (was, is) = (told(&before, &client), told(&after, &client));
            if was[0] as usize != gone + 1 {
                prop_assert_eq!(was[0], is[0]);
            }
            let left: Vec<u32> = was.iter().copied().filter(|number| *number as usize != gone + 1).collect();
            prop_assert_eq!(&is[..left.len().min(is.len())], &left[..left.len().min(is.len())]);
        }
    }

    /// Whoever comes after the third while he is well may fare as he likes: who is told, for how long and for whom stays.
    #[test]
    fn health_outside_of_the_best_changes_nothing(world in world(), flipped: prop::sample::Index, (address, known) in anybody(), load in 0.0f32..1.0) {
        let client = world.client(address, known);
        // How all is told while this one is well, if he comes after the third then.
        let behind = |nth: usize| {
            let well = world.with(nth, up()).snapshot();
            let decision = well.decide(&client, Purpose::Answer);
            let rank = well.rank_of(&client, Purpose::Answer, u32::try_from(nth).unwrap() + 1);
            let third = decision.ranked.get(MOST_RANKED - 1).copied();
            let is_behind = rank.is_none_or(|rank| third.is_some_and(|third| rank.order(&third).is_gt()));
            is_behind.then_some((nth, decision))
        };
        let count = world.peers.len();
        let found = (0..count).map(|more| (flipped.index(count) + more) % count).find_map(behind);
        let Some((nth, before)) = found else { return Ok(()) };
        for state in 0..5 {
            // More load makes nobody nearer.
            let after = world.with(nth, standing_of(state, load)).snapshot().decide(&client, Purpose::Answer);
            prop_assert_eq!(&after, &before, "{}", state);
        }
    }

    #[test]
    fn a_scope_holds_for_everybody_in_it_and_health_does_not_change_it(world in world(), (address, known) in anybody(), other in any::<u128>()) {
        let (snapshot, client) = (world.snapshot(), world.client(address, known));
        let decision = snapshot.decide(&client, Purpose::Answer);
        let mut well = world.clone();
        well.peers.iter_mut().for_each(|(_, standing)| *standing = up());
        prop_assert_eq!(well.snapshot().decide(&client, Purpose::Answer).scope, decision.scope);
        let (longest, least, site) = if address.is_ipv4() { (32, 8, 24) } else { (128, 16, 56) };
        let neighbour = client.network().prefix_len() == longest;
        let most = if crate::fold::is_global(address) && !neighbour { site } else { longest };
        prop_assert!((least..=most).contains(&decision.scope), "{}", decision.scope);
        if client.network().prefix_len() < decision.scope {
            // What is known of such a client is less than the scope says: it holds for those who are known as well.
            return Ok(());
        }
        let scope = IpNet::new(client.address(), decision.scope).unwrap().trunc();
        let within = other.checked_shr(128 - u32::from(longest - decision.scope)).unwrap_or(0);
        let theirs = match scope.addr() {
            IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from(v4.to_bits() | u32::try_from(within).unwrap())),
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(v6.to_bits() | within)),
        };
        prop_assert!(scope.contains(&theirs));
        // Known as well as the one whose answer is remembered: a neighbour by his own packet, others by as much as counts.
        let known = if neighbour { longest } else { client.network().prefix_len().max(decision.scope) };
        let them = world.client(theirs, known);
        let told = snapshot.decide(&them, Purpose::Answer);
        prop_assert_eq!(told.scope, decision.scope);
        prop_assert_eq!(numbers(&told), numbers(&decision));
    }
}
