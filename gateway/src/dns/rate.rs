//! How many answers a network gets by datagram (response rate limiting): questions under a victim's address would
//! otherwise bury it in answers.
//!
//! A token bucket for each /24 of IPv4 and /56 of IPv6, kept as the time at which it is full again (the generic cell
//! rate algorithm): so a bucket that has been left alone is the same as none, and the table needs no clearing.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use resolver::links::Class;

/// Networks that are told apart at once: 4096 times 8, in 800 KB. With more the fullest buckets stay, for whoever
/// floods is among them.
const SETS: usize = 4096;
const WAYS: usize = 8;
/// A bucket holds what a second brings.
const CAPACITY: Duration = Duration::from_secs(1);
/// Of the answers that are refused, one of so many says TC: a real client then asks by connection.
const SLIP: u32 = 2;
/// Says of a key that it is IPv6's.
const IS_V6: u64 = 1 << 63;
/// Says of a key that it is IPv4's; 0 is nobody's.
const IS_V4: u64 = 1 << 62;

/// What a network may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allowance {
    /// An answer.
    Answer,
    /// That it should ask by connection.
    Truncated,
    /// Nothing.
    Silence,
}

/// The buckets of all networks.
pub(super) struct Rates {
    /// What one answer costs.
    each: Duration,
    sets: Box<[Mutex<[Bucket; WAYS]>]>,
    hasher: RandomState,
}

#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    network: u64,
    /// When it is full again.
    full: Duration,
    /// How many have been refused.
    refused: u32,
}

impl Rates {
    /// So many answers a second for each network; `None` for 0: as many as are asked for.
    pub(super) fn new(each_second: u32) -> Option<Self> {
        let each = CAPACITY.checked_div(each_second)?;
        let sets = (0..SETS).map(|_| Mutex::default()).collect();
        Some(Self { each, sets, hasher: RandomState::new() })
    }

    /// Whether a client is limited at all. Private networks are not: they are no crowd, and hold no victims of
    /// strangers.
    pub(super) fn concern(client: IpAddr) -> bool {
        Class::of(client) == Class::Public
    }

    /// What is said to a question of `client`'s at `now`, from any time in the past.
    pub(super) fn take(&self, client: IpAddr, now: Duration) -> Allowance {
        let network = network(client);
        let hash = self.hasher.hash_one(network);
        let set = usize::try_from(hash % SETS as u64).unwrap_or_default();
        let mut set = self.sets[set].lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = bucket(&mut set, network, now);
        let after = bucket.full.max(now) + self.each;
        if after <= now + CAPACITY {
            bucket.full = after;
            return Allowance::Answer;
        }
        bucket.refused = bucket.refused.wrapping_add(1);
        if bucket.refused.is_multiple_of(SLIP) { Allowance::Truncated } else { Allowance::Silence }
    }
}

/// The network's bucket, or the emptied one of that of which least is known: the one that is full first.
fn bucket(set: &mut [Bucket; WAYS], network: u64, now: Duration) -> &mut Bucket {
    let own = set.iter().position(|bucket| bucket.network == network);
    let place = own.unwrap_or_else(|| {
        let idlest = (0..WAYS).min_by_key(|place| set[*place].full).unwrap_or_default();
        set[idlest] = Bucket { network, full: now, refused: 0 };
        idlest
    });
    &mut set[place]
}

fn network(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(v4) => IS_V4 | u64::from(v4.to_bits() >> 8),
        // The upper half without its last octet.
        IpAddr::V6(v6) => IS_V6 | (u64::try_from(v6.to_bits() >> 72).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn answers(rates: &Rates, client: IpAddr, now: Duration, questions: usize) -> usize {
        (0..questions).filter(|_| rates.take(client, now) == Allowance::Answer).count()
    }

    #[test]
    fn a_network_gets_so_many_answers_a_second_and_no_more() {
        let rates = Rates::new(200).unwrap();
        assert_eq!(answers(&rates, ip("9.9.9.1"), seconds(0.0), 1000), 200, "what a second brings");
        assert_eq!(
            answers(&rates, ip("9.9.9.2"), seconds(0.0), 1000),
            0,
            "its neighbour is the same network"
        );
        assert_eq!(answers(&rates, ip("9.9.8.1"), seconds(0.0), 1000), 200);
        assert_eq!(answers(&rates, ip("9.9.9.3"), seconds(0.1), 1000), 20, "what a tenth of it brings");
        assert_eq!(answers(&rates, ip("9.9.9.3"), seconds(7.0), 1000), 200, "and never more than a second's");
        let mut all = 0;
        for step in 0..1000 {
            all += answers(&rates, ip("2a00:1:2:3400::1"), seconds(f64::from(step) / 100.0), 10);
        }
        assert_eq!(all, 200 + 1998, "ten seconds of a thousand questions each");
        assert_eq!(answers(&rates, ip("2a00:1:2:34ff::1"), seconds(9.99), 10), 0);
        assert_eq!(answers(&rates, ip("2a00:1:2:3500::1"), seconds(9.99), 10), 10);
    }

    #[test]
    fn every_second_answer_that_is_refused_says_to_ask_by_connection() {
        let rates = Rates::new(1).unwrap();
        let said: Vec<_> = (0..5).map(|_| rates.take(ip("9.9.9.9"), seconds(1.0))).collect();
        use Allowance::{Answer, Silence, Truncated};
        assert_eq!(said, [Answer, Silence, Truncated, Silence, Truncated]);
    }

    #[test]
    fn a_private_network_is_not_limited_and_nobody_is_where_that_is_not_wanted() {
        for client in ["192.168.7.20", "fd00::1", "127.0.0.1", "::1", "fe80::1"] {
            assert!(!Rates::concern(ip(client)), "{client}");
        }
        for client in ["9.9.9.9", "2a00::1", "100.64.0.1"] {
            assert!(Rates::concern(ip(client)), "{client}");
        }
        assert!(Rates::new(0).is_none());
    }

    #[test]
    fn whoever_floods_is_remembered_among_more_networks_than_there_is_room_for() {
        let rates = Rates::new(200).unwrap();
        let flooding = ip("9.9.9.9");
        answers(&rates, flooding, seconds(0.0), 1000);
        let others = u32::try_from(SETS * WAYS * 4).unwrap();
        for number in 0..others {
            let client = IpAddr::V4(Ipv4Addr::from_bits((11 << 24) + (number << 8)));
            assert_eq!(rates.take(client, seconds(0.0)), Allowance::Answer);
        }
        assert_eq!(answers(&rates, flooding, seconds(0.0), 10), 0);
    }

    #[test]
    fn networks_are_told_apart_by_their_prefix() {
        let v6 = |bits: u128| network(IpAddr::V6(Ipv6Addr::from_bits(bits)));
        assert_eq!(v6(1 << 71), v6(0));
        assert_ne!(v6(1 << 72), v6(0));
        assert_ne!(v6(1 << 127), v6(0));
        assert_ne!(network(ip("0.0.0.0")), v6(0));
        assert_eq!(network(ip("::ffff:9.9.9.9")), network(ip("9.9.9.1")));
    }
}
