//! What was decided lately, kept by each thread that answers: most questions are asked again before anything changes.
//!
//! To look up where a client is and to rank the gateways for it takes longer than all the rest of an answer. So the
//! answer is kept with everything that it was decided from, and forgotten when the facts are others, and now and then
//! anyway, for where clients are can be learned anew.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use resolver::answer::{Answer, Facts, Kind};
use resolver::asker::{Asker, KnownBy};
use resolver::links::Arrival;
use resolver::zone::Location;

/// Answers that a thread keeps where gateways are ranked, in about 700 KB: the public resolvers that ask most, with the
/// networks they ask for. A newer one takes the place of an older.
const MOST: usize = 4096;
/// The same where this gateway is alone, and decides in no time.
const ALONE: usize = 256;

/// What one thread has decided lately.
#[derive(Default)]
pub(super) struct Decided {
    /// What the answers were decided from.
    facts: Option<Arc<Facts>>,
    /// Grows when the facts change: an answer of an earlier one is forgotten.
    generation: u64,
    /// Empty until the first decision: a socket that nobody asks costs nothing.
    answers: Vec<Option<Kept>>,
    hasher: RandomState,
}

struct Kept {
    generation: u64,
    asked: Asked,
    said: Said,
}

/// All that an answer depends on besides the facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked {
    location: Location,
    kind: Kind,
    arrival: Arrival,
    client: ipnet::IpNet,
    known_by: KnownBy,
}

/// What is said.
#[derive(Clone)]
pub(super) struct Said {
    pub(super) answer: Answer,
    /// Other names would be looked up for this client.
    pub(super) recursion_available: bool,
}

impl Decided {
    /// Nothing has been decided.
    pub(super) fn forget(&mut self) {
        self.facts = None;
    }

    /// What is said to this question, from before or by `decide`. An answer holds for everybody within its scope, so one that
    /// was decided for a neighbour is said too: `locate` costs less than to decide.
    pub(super) fn say(
        &mut self,
        facts: &Arc<Facts>,
        (location, kind): (Location, Kind),
        asker: &Asker,
        locate: impl FnOnce(Asker) -> Asker,
        decide: impl FnOnce(&Asker) -> Said,
    ) -> &Said {
        if !self.facts.as_ref().is_some_and(|known| Arc::ptr_eq(known, facts)) {
            self.facts = Some(Arc::clone(facts));
            self.generation += 1;
        }
        let room = if facts.peers.is_alone() { ALONE } else { MOST };
        if self.answers.len() < room {
            self.answers.resize_with(room, || None);
        }
        let Asker { arrival, client, known_by, .. } = *asker;
        let asked = Asked { location, kind, arrival, client, known_by };
        let place = self.place(&asked);
        if !self.is_kept(place, &asked) {
            let said = self.said_to_all_alike(facts, &asked, &locate(*asker), decide);
            self.keep(place, asked, said);
        }
        &self.answers[place].as_ref().expect("it has just been kept").said
    }

    /// What is said to everybody within the answer's scope, from before or by `decide`.
    fn said_to_all_alike(
        &mut self,
        facts: &Facts,
        asked: &Asked,
        asker: &Asker,
        decide: impl FnOnce(&Asker) -> Said,
    ) -> Said {
        let steered = asked.location == Location::Apex && !facts.peers.is_alone();
        let Some(client) = facts.alike(asker).filter(|_| steered) else {
            return decide(asker);
        };
        // What else counts of who brought the question is whether he is of a private network, and nobody here is.
        let arrival = Arrival { client: IpAddr::V4(Ipv4Addr::UNSPECIFIED), ..asked.arrival };
        let asked = Asked { arrival, client, ..*asked };
        let place = self.place(&asked);
        if !self.is_kept(place, &asked) {
            self.keep(place, asked, decide(asker));
        }
        self.answers[place].as_ref().expect("it has just been kept").said.clone()
    }

    fn place(&self, asked: &Asked) -> usize {
        let hash = self.hasher.hash_one((asked.client, asked.arrival.client, asked.kind == Kind::A));
        usize::try_from(hash % self.answers.len() as u64).unwrap_or_default()
    }

    fn is_kept(&self, place: usize, asked: &Asked) -> bool {
        let is = |kept: &Kept| kept.generation == self.generation && kept.asked == *asked;
        self.answers[place].as_ref().is_some_and(is)
    }

    fn keep(&mut self, place: usize, asked: Asked, said: Said) {
        self.answers[place] = Some(Kept { generation: self.generation, asked, said });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ipnet::IpNet;
    use proptest::prelude::*;
    use resolver::answer::answer;
    use resolver::geo::{Place, Whereabouts};
    use resolver::health::Outcome;
    use resolver::links::By;
    use resolver::peer::{Endpoint, Peer, PeerId};
    use resolver::peers::{Peers, Sighting, Target};
    use resolver::subnet::Subnet;

    use super::*;

    fn asker(client: &str) -> Asker {
        let (client, local) = (client.parse().unwrap(), "192.168.7.9".parse().unwrap());
        Facts::default().asker(&Arrival { client, local, by: By::Number(2) }, None)
    }

    fn no_data() -> Said {
        Said { answer: Answer::NoData, recursion_available: false }
    }

    #[test]
    fn what_was_decided_is_said_again_until_anything_that_it_was_decided_from_changes() {
        let mut decided = Decided::default();
        let mut facts = Arc::new(Facts::default());
        let mut decisions = 0;
        let mut say = |facts: &Arc<Facts>, location, kind, asker: &Asker| {
            let before = decisions;
            decided.say(
                facts,
                (location, kind),
                asker,
                |asker| asker,
                |_| {
                    decisions += 1;
                    no_data()
                },
            );
            decisions > before
        };
        let one = asker("9.9.9.9");
        assert!(say(&facts, Location::Apex, Kind::A, &one));
        assert!(!say(&facts, Location::Apex, Kind::A, &one));
        assert!(say(&facts, Location::Apex, Kind::Aaaa, &one));
        assert!(say(&facts, Location::Direct, Kind::Aaaa, &one));
        for mut other in [one; 4].into_iter().enumerate() {
            match other.0 {
                0 => other.1.arrival.local = "192.168.7.10".parse().unwrap(),
                1 => other.1.arrival.by = By::Number(3),
                2 => other.1.known_by = KnownBy::Subnet { before: 0 },
                _ => other.1.client = "9.9.0.0/16".parse().unwrap(),
            }
            assert!(say(&facts, Location::Direct, Kind::Aaaa, &other.1), "{other:?}");
        }
        facts = Arc::new(Facts::default());
        assert!(say(&facts, Location::Direct, Kind::Aaaa, &one));
        assert!(!say(&facts, Location::Direct, Kind::Aaaa, &one));
    }

    #[test]
    fn what_is_forgotten_is_decided_again() {
        let (mut decided, facts) = (Decided::default(), Arc::new(Facts::default()));
        let mut decisions = 0;
        for step in 0..3 {
            decided.say(
                &facts,
                (Location::Apex, Kind::A),
                &asker("9.9.9.9"),
                |asker| asker,
                |_| {
                    decisions += 1;
                    no_data()
                },
            );
            if step == 1 {
                decided.forget();
            }
        }
        assert_eq!(decisions, 2);
    }

    #[test]
    fn no_number_of_clients_takes_more_than_its_room() {
        let (mut decided, facts) = (Decided::default(), Arc::new(Facts::default()));
        for number in 0..3 * u32::try_from(ALONE).unwrap() {
            let address = std::net::Ipv4Addr::from_bits((9 << 24) + (number << 8));
            decided.say(
                &facts,
                (Location::Apex, Kind::A),
                &asker(&address.to_string()),
                |asker| asker,
                |_| no_data(),
            );
        }
        assert_eq!(decided.answers.len(), ALONE);
    }

    /// Peers in places as large as a /16, some with networks of their own within and beyond these.
    fn several() -> Facts {
        let peer = |nth: u8| Peer {
            id: PeerId::of_key([nth; 32]),
            endpoints: vec![Endpoint { address: [8, 8, nth, 8].into(), https: false }],
            urls: Vec::new(),
            whereabouts: place(nth),
            networks: [format!("9.{nth}.{nth}.0/{}", 18 + nth % 7), format!("9.{}.0.0/15", nth & !1)]
                .map(|network| network.parse::<IpNet>().unwrap().trunc())
                .into_iter()
                .take(usize::from(nth % 3))
                .collect(),
            capacity: 1.0,
            admitted: true,
        };
        let mut peers = Peers::new(Duration::ZERO);
        for nth in 1..=12 {
            let (peer, passed) = (peer(nth), Outcome::Passed { load: 0.0, accepting: true });
            let met = Sighting::Met(peer.id, Target::Address(peer.endpoints[0].address), passed);
            peers.learn(Sighting::Known(peer), Duration::ZERO);
            peers.learn(met, Duration::ZERO);
        }
        Facts { peers: Arc::new(peers.snapshot(Duration::ZERO)), ..Facts::default() }
    }

    fn place(nth: u8) -> Whereabouts {
        let place = Place { latitude: 0.0, longitude: f32::from(nth % 8) * 20.0, accuracy_km: 0 };
        Whereabouts { place: Some(place), prefix: 16, ..Whereabouts::default() }
    }

    fn located(asker: Asker) -> Asker {
        let IpAddr::V4(address) = asker.client.addr() else { unreachable!() };
        Asker { whereabouts: place(address.octets()[1]), ..asker }
    }

    proptest! {
        #[test]
        fn what_was_decided_for_a_neighbour_is_what_would_be_decided(asked in proptest::collection::vec((0u8..16, any::<u8>(), 9u8..=24, any::<bool>(), any::<bool>()), 1..60)) {
            let (facts, mut decided) = (Arc::new(several()), Decided::default());
            for (second, third, known, told, v4) in asked {
                let arrival = Arrival { client: [9, second, third, 7].into(), local: [8, 8, 4, 4].into(), by: By::Number(2) };
                let octets = [&[0, 1, 24, 0, 9, second, third][..], &[]].concat();
                let subnet = Subnet::read(&octets).unwrap();
                let mut asker = facts.asker(&arrival, told.then_some(&subnet));
                if told {
                    asker.client = IpNet::new(asker.client.addr(), known).unwrap().trunc();
                }
                let kind = if v4 { Kind::A } else { Kind::Aaaa };
                let said = decided.say(&facts, (Location::Apex, kind), &asker, located, |asker| Said {
                    answer: answer(Location::Apex, kind, asker, &facts),
                    recursion_available: false,
                });
                prop_assert_eq!(&said.answer, &answer(Location::Apex, kind, &located(asker), &facts));
            }
        }
    }
}
