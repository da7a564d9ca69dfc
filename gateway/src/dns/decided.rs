//! What was decided lately, kept by each thread that answers: most questions are asked again before anything changes.
//!
//! To look up where a client is and to rank the gateways for it takes longer than all the rest of an answer. So the
//! answer is kept with everything that it was decided from, and forgotten when the facts are others, and now and then
//! anyway, for where clients are can be learned anew.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use resolver::answer::{Answer, Facts, Kind};
use resolver::asker::{Asker, KnownBy};
use resolver::links::Arrival;
use resolver::zone::Location;

/// Answers that a thread keeps, in about 700 KB: the public resolvers that ask most, with the networks they ask for.
/// A newer one takes the place of an older.
const MOST: usize = 4096;

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

    /// What is said to this question, from before or by `decide`.
    pub(super) fn say(
        &mut self,
        facts: &Arc<Facts>,
        (location, kind): (Location, Kind),
        asker: &Asker,
        decide: impl FnOnce() -> Said,
    ) -> &Said {
        if !self.facts.as_ref().is_some_and(|known| Arc::ptr_eq(known, facts)) {
            self.facts = Some(Arc::clone(facts));
            self.generation += 1;
        }
        if self.answers.is_empty() {
            self.answers.resize_with(MOST, || None);
        }
        let Asker { arrival, client, known_by, .. } = *asker;
        let asked = Asked { location, kind, arrival, client, known_by };
        let hash = self.hasher.hash_one((client, arrival.client, kind == Kind::A));
        let place = usize::try_from(hash % MOST as u64).unwrap_or_default();
        let kept = &mut self.answers[place];
        let stale = kept.take_if(|kept| kept.generation != self.generation || kept.asked != asked);
        drop(stale);
        let generation = self.generation;
        &kept.get_or_insert_with(|| Kept { generation, asked, said: decide() }).said
    }
}

#[cfg(test)]
mod tests {
    use resolver::links::By;

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
            decided.say(facts, (location, kind), asker, || {
                decisions += 1;
                no_data()
            });
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
            decided.say(&facts, (Location::Apex, Kind::A), &asker("9.9.9.9"), || {
                decisions += 1;
                no_data()
            });
            if step == 1 {
                decided.forget();
            }
        }
        assert_eq!(decisions, 2);
    }

    #[test]
    fn no_number_of_clients_takes_more_than_its_room() {
        let (mut decided, facts) = (Decided::default(), Arc::new(Facts::default()));
        for number in 0..3 * u32::try_from(MOST).unwrap() {
            let address = std::net::Ipv4Addr::from_bits((9 << 24) + (number << 8));
            decided.say(&facts, (Location::Apex, Kind::A), &asker(&address.to_string()), no_data);
        }
        assert_eq!(decided.answers.len(), MOST);
    }
}
