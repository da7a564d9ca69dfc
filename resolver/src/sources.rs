//! Which peers are asked for a tarball, in which order; and who of several gateways fetches what none of them has.
//!
//! Both are rendezvous (see `rank`): every tarball has an order of its own among all peers, so that they share the work, and
//! whoever comes or goes moves no tarball but his own.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::net::IpAddr;

use crate::integrity::Integrity;
use crate::links::Class;
use crate::peer::PeerId;
use crate::peers::Target;
use crate::rank;
use crate::rank::Snapshot;
use crate::rank::table::THIS;

/// Peers that are asked for one tarball, at most: when three have failed, upstream is a better guess than the fourth.
pub const MOST: usize = 3;

/// A peer that is connected, as it is known at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub id: PeerId,
    /// It is on a network of ours.
    pub near: bool,
    /// It serves peers, as it says.
    pub shares: bool,
    /// Upstream answers it, as it says.
    pub online: bool,
    /// It has said that it holds the tarball.
    pub holds: bool,
    /// No address of it is known to fail.
    pub well: bool,
    /// It is not struck out.
    pub fit: bool,
    /// It has been asked for something else and keeps us waiting, or is asked for enough already.
    pub busy: bool,
}

/// What is known of a peer's addresses, besides that it is connected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Where it serves HTTP, has proved who it is and answers: how `peers` calls it, and the address itself.
    pub address: Option<(Target, String)>,
    /// Addresses are known, and none of them answers.
    pub ails: bool,
    /// It is in quarantine.
    pub caught: bool,
}

/// Who may have the tarball, the best to ask first: near before far, well before failing, and then everybody's turn.
#[must_use]
pub fn holders(candidates: &[Candidate], integrity: &Integrity) -> Vec<PeerId> {
    let mut holders: Vec<_> = candidates.iter().filter(|one| one.may_be_asked()).collect();
    let key = rank::key(integrity.as_bytes());
    holders.sort_by(|a, b| {
        let place = |one: &Candidate| (!one.near, !one.well);
        place(a).cmp(&place(b)).then_with(|| by_turn(&a.id, &b.id, key))
    });
    holders.into_iter().take(MOST).map(|one| one.id).collect()
}

/// Who of the gateways on this network fetches the tarball from upstream for all of them: this one (`own`, which is `None`
/// while upstream does not answer it or it shares nothing), or a peer. `None`: nobody can.
///
/// A peer counts unless it is struck out: if a single strike were enough, gateways that have seen different things would
/// often not agree, and each disagreement is a second download.
#[must_use]
pub fn owner(own: Option<PeerId>, candidates: &[Candidate], integrity: &Integrity) -> Option<PeerId> {
    let can = |one: &&Candidate| one.near && one.shares && one.online && one.fit;
    let key = rank::key(integrity.as_bytes());
    let peers = candidates.iter().filter(can).map(|one| one.id);
    peers.chain(own).min_by(|a, b| by_turn(a, b, key))
}

impl Candidate {
    fn may_be_asked(&self) -> bool {
        self.holds && self.shares && self.fit && !self.busy
    }
}

/// What the snapshot of all peers has about one that is `near` or not.
#[must_use]
pub fn known(snapshot: &Snapshot, id: &PeerId, near: bool) -> Known {
    let number = snapshot.table.candidates().iter().position(|one| one.id.as_ref() == Some(id));
    let Some(number) = number.filter(|number| *number != THIS as usize) else {
        return Known::default();
    };
    let (candidate, standing) = (&snapshot.table.candidates()[number], &snapshot.standings[number]);
    let answers = |mask: u8, nth: usize| mask >> nth & 1 == 1;
    let urls = candidate.urls.iter().enumerate().filter(|(nth, _)| answers(standing.urls, *nth));
    let urls = urls.map(|(_, url)| (Target::Url(url.clone()), url.clone()));
    let endpoints = candidate.endpoints.iter().enumerate();
    let endpoints =
        endpoints.filter(|(nth, _)| answers(standing.endpoints, *nth)).map(|(_, one)| one.address);
    // A private address means nothing but where it is.
    let endpoints = endpoints.filter(|address| near || Class::of(*address) == Class::Public);
    let endpoints = endpoints.map(|address| (Target::Address(address), base(address)));
    let address = urls.chain(endpoints).next();
    let ails = address.is_none() && !(candidate.urls.is_empty() && candidate.endpoints.is_empty());
    Known { address, ails, caught: standing.quarantined_s.is_some() }
}

fn base(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => format!("http://{v4}"),
        IpAddr::V6(v6) => format!("http://[{v6}]"),
    }
}

fn by_turn(a: &PeerId, b: &PeerId, key: u64) -> Ordering {
    let draw = |id: &PeerId| rank::draw(rank::key(id.key()), key);
    draw(b).total_cmp(&draw(a)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::Whereabouts;
    use crate::health::State;
    use crate::links::Links;
    use crate::peer::{Endpoint, Peer};
    use crate::rank::Table;
    use crate::rank::table::{Standing, This};
    use alloc::collections::BTreeMap;
    use alloc::sync::Arc;
    use alloc::vec;
    use proptest::prelude::*;

    fn id(number: u8) -> PeerId {
        PeerId::of_key([number; 32])
    }

    fn peer(number: u8) -> Candidate {
        let (yes, busy) = (true, false);
        Candidate {
            id: id(number),
            near: yes,
            shares: yes,
            online: yes,
            holds: yes,
            well: yes,
            fit: yes,
            busy,
        }
    }

    fn tarball(number: u32) -> Integrity {
        Integrity::of(&number.to_be_bytes())
    }

    fn any_peer() -> impl Strategy<Value = Candidate> {
        (0u8..40, any::<[bool; 7]>()).prop_map(|(number, [near, shares, online, holds, well, fit, busy])| {
            Candidate { near, shares, online, holds, well, fit, busy, ..peer(number) }
        })
    }

    fn any_peers() -> impl Strategy<Value = Vec<Candidate>> {
        proptest::collection::vec(any_peer(), 0..20).prop_map(|peers| {
            peers.into_iter().map(|one| (one.id, one)).collect::<BTreeMap<_, _>>().into_values().collect()
        })
    }

    #[test]
    fn who_is_near_and_well_comes_first() {
        let far = Candidate { near: false, ..peer(1) };
        let failing = Candidate { well: false, ..peer(2) };
        for number in 0..20 {
            assert_eq!(holders(&[far, failing, peer(3)], &tarball(number)), [id(3), id(2), id(1)]);
        }
    }

    #[test]
    fn gateways_share_the_work_and_who_has_most_of_it_has_little_more_than_his_part() {
        let peers: Vec<_> = (1..5).map(peer).collect();
        let mut shares = BTreeMap::<_, u32>::new();
        for number in 0..1000 {
            *shares.entry(owner(Some(id(0)), &peers, &tarball(number)).unwrap()).or_default() += 1;
        }
        assert_eq!(shares.len(), 5);
        assert!(shares.values().all(|share| (150..250).contains(share)), "{shares:?}");
    }

    #[test]
    fn nobody_fetches_for_others_who_is_far_or_offline_or_keeps_to_himself() {
        let unable = vec![
            Candidate { near: false, ..peer(1) },
            Candidate { online: false, ..peer(2) },
            Candidate { shares: false, ..peer(3) },
            Candidate { fit: false, ..peer(4) },
        ];
        assert_eq!(owner(None, &unable, &tarball(0)), None);
        assert_eq!(owner(Some(id(9)), &unable, &tarball(0)), Some(id(9)));
    }

    fn snapshot(state: State, urls: &[&str], endpoints: &[&str], told: u8) -> Snapshot {
        let peer = Peer {
            id: id(1),
            endpoints: endpoints
                .iter()
                .map(|address| Endpoint { address: address.parse().unwrap(), https: false })
                .collect(),
            urls: urls.iter().map(|url| (*url).into()).collect(),
            whereabouts: Whereabouts::default(),
            networks: Vec::new(),
            capacity: 1.0,
            admitted: false,
        };
        let table = Table::new(&This::default(), [peer], &Links::default());
        let standing = Standing { state, urls: told, endpoints: told, ..Standing::own(true, 0.0) };
        Snapshot::new(Arc::new(table), vec![Standing::own(true, 0.0), standing], true)
    }

    #[test]
    fn a_peer_is_asked_at_an_address_where_it_answers_and_otherwise_by_its_connection() {
        let (urls, endpoints) = (["http://a:6736", "http://b:6736"], ["192.168.7.9"]);
        let url = |url: &str| Some((Target::Url(url.into()), url.into()));
        let both = snapshot(State::Up, &urls, &endpoints, 0b11);
        assert_eq!(known(&both, &id(1), true), Known { address: url(urls[0]), ails: false, caught: false });
        let second = snapshot(State::Up, &urls, &endpoints, 0b10);
        assert_eq!(known(&second, &id(1), true).address, url(urls[1]));
        let none = snapshot(State::Down, &urls, &endpoints, 0);
        assert_eq!(known(&none, &id(1), true), Known { ails: true, ..Known::default() });
        assert_eq!(known(&both, &id(2), true), Known::default());
        let private = snapshot(State::Up, &[], &endpoints, 1);
        let address = endpoints[0].parse().unwrap();
        assert_eq!(
            known(&private, &id(1), true).address,
            Some((Target::Address(address), "http://192.168.7.9".into()))
        );
        assert_eq!(known(&private, &id(1), false).address, None);
    }

    proptest! {
        #[test]
        fn only_fit_peers_that_share_and_say_they_hold_it_are_asked_and_each_once(
            peers in any_peers(),
            number: u32,
        ) {
            let asked = holders(&peers, &tarball(number));
            prop_assert!(asked.len() <= MOST);
            for id in &asked {
                let one = peers.iter().find(|one| one.id == *id).unwrap();
                prop_assert!(one.holds && one.shares && one.fit && !one.busy);
                prop_assert_eq!(asked.iter().filter(|other| *other == id).count(), 1);
            }
            let able = peers.iter().filter(|one| one.holds && one.shares && one.fit && !one.busy).count();
            prop_assert_eq!(asked.len(), able.min(MOST));
        }

        #[test]
        fn who_leaves_moves_no_tarball_but_his_own(peers in any_peers(), number: u32, left in 0usize..20) {
            let before = owner(Some(id(99)), &peers, &tarball(number));
            let mut after = peers;
            let left = (left < after.len()).then(|| after.remove(left).id);
            if left != before {
                prop_assert_eq!(owner(Some(id(99)), &after, &tarball(number)), before);
            }
        }

        /// Whoever they are themselves, and in whatever order they know the others.
        #[test]
        fn gateways_that_know_each_other_agree(numbers in proptest::collection::btree_set(0u8..40, 1..8), of: u32) {
            let views = numbers.iter().map(|own| {
                let mut others: Vec<_> = numbers.iter().filter(|one| *one != own).map(|one| peer(*one)).collect();
                others.reverse();
                owner(Some(id(*own)), &others, &tarball(of))
            });
            let views: Vec<_> = views.collect();
            prop_assert!(views.iter().all(|view| view.is_some() && *view == views[0]));
        }
    }
}
