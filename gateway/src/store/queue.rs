//! SIEVE's queues, in the state: who is looked at next when room is needed.
//!
//! SIEVE keeps items in the order in which they came. A hand goes from the oldest to the newest and begins again:
//! an item that was used since the hand last passed stays where it is, the first that was not goes. LRU would have to
//! move an item at every hit, which here is a write for every read; S3-FIFO wants a second queue and a list of ghosts
//! for what SIEVE reaches with one queue, and on the web traces of the paper is no better. And a scan, such as one
//! install of a large project that never comes back, passes through: its items have no marks, and go before those
//! that are used every day.

use redb::{ReadableTable, WriteTransaction};
use resolver::eviction::Class;

use super::marks::Marks;
use super::tables::{Item, QUEUE, class_row};
use super::totals::{Counts, take};

/// Puts an item at the young end; says at which place.
pub(super) fn enqueue(
    write: &WriteTransaction,
    counts: &mut Counts,
    item: &Item,
) -> Result<u64, redb::Error> {
    counts.place += 1;
    let class = class_row(item.class());
    write.open_table(QUEUE)?.insert((class, counts.place), item.row().as_slice())?;
    counts.queued[usize::from(class)] += 1;
    Ok(counts.place)
}

/// Takes an item out; place 0 is none.
pub(super) fn dequeue(
    write: &WriteTransaction,
    counts: &mut Counts,
    class: Class,
    place: u64,
) -> Result<(), redb::Error> {
    let class = class_row(class);
    let mut queue = write.open_table(QUEUE)?;
    if place == 0 || queue.remove((class, place))?.is_none() {
        return Ok(());
    }
    take(&mut counts.queued[usize::from(class)], 1);
    let hand = &mut counts.hands[usize::from(class)];
    if queue.range((class, *hand)..=(class, u64::MAX))?.next().is_none() {
        *hand = 0;
    }
    Ok(())
}

/// Whom the hand stops at. It looks at no more items than `looks` says; then the next one it is, used or not.
pub(super) fn next_victim(
    write: &WriteTransaction,
    counts: &mut Counts,
    class: Class,
    marks: &Marks,
    looks: &mut u32,
) -> Result<Option<(u64, Option<Item>)>, redb::Error> {
    let row = class_row(class);
    let queue = write.open_table(QUEUE)?;
    let hand = &mut counts.hands[usize::from(row)];
    loop {
        let at = |from: u64| -> Result<_, redb::Error> {
            let next = queue.range((row, from)..=(row, u64::MAX))?.next().transpose()?;
            Ok(next.map(|(key, item)| (key.value().1, Item::read(item.value()))))
        };
        let Some((place, item)) = at(*hand)?.map_or_else(|| at(0), |found| Ok(Some(found)))? else {
            return Ok(None);
        };
        // Behind the newest comes the oldest, whoever joins meanwhile: a newcomer is not the next to go.
        *hand = if at(place + 1)?.is_some() { place + 1 } else { 0 };
        let used = item.as_ref().is_some_and(|item| marks.take(item.mark()));
        if !used || *looks == 0 {
            return Ok(Some((place, item)));
        }
        *looks -= 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use redb::Database;
    use redb::backends::InMemoryBackend;
    use resolver::package::PackageName;

    use super::*;

    /// SIEVE as the paper has it: a list, a hand, and a bit for each.
    #[derive(Default)]
    struct Model {
        /// The oldest comes first.
        list: Vec<(u32, bool)>,
        hand: Option<u32>,
    }

    impl Model {
        fn position(&self, who: u32) -> Option<usize> {
            self.list.iter().position(|(one, _)| *one == who)
        }

        fn remove(&mut self, who: u32) {
            let Some(at) = self.position(who) else { return };
            if self.hand == Some(who) {
                self.hand = self.list.get(at + 1).map(|(one, _)| *one);
            }
            self.list.remove(at);
        }

        fn victim(&mut self) -> Option<u32> {
            let mut at = self.hand.and_then(|hand| self.position(hand)).unwrap_or(0);
            while self.list.get(at)?.1 {
                self.list[at].1 = false;
                at = (at + 1) % self.list.len();
            }
            let who = self.list[at].0;
            self.hand = self.list.get(at + 1).map(|(one, _)| *one);
            self.list.remove(at);
            Some(who)
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Come(u32),
        Use(u32),
        Go(u32),
        Evict,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..40_u32).prop_map(Step::Come),
            5 => (0..40_u32).prop_map(Step::Use),
            1 => (0..40_u32).prop_map(Step::Go),
            2 => Just(Step::Evict),
        ]
    }

    fn item(who: u32) -> Item {
        Item::Packument(PackageName::parse(&format!("left-{who}")).unwrap())
    }

    proptest! {
        #[test]
        fn the_queue_does_what_the_paper_says(steps in prop::collection::vec(step(), 1..200)) {
            let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
            let write = database.begin_write().unwrap();
            let (mut counts, marks, mut model) = (Counts::default(), Marks::new(), Model::default());
            let mut places = std::collections::HashMap::new();
            for step in steps {
                match step {
                    Step::Come(who) => if model.position(who).is_none() {
                        model.list.push((who, false));
                        places.insert(who, enqueue(&write, &mut counts, &item(who)).unwrap());
                    },
                    Step::Use(who) => if let Some(at) = model.position(who) {
                        model.list[at].1 = true;
                        marks.set(item(who).mark());
                    },
                    Step::Go(who) => if let Some(place) = places.remove(&who) {
                        model.remove(who);
                        marks.take(item(who).mark());
                        dequeue(&write, &mut counts, Class::Metadata, place).unwrap();
                    },
                    Step::Evict => {
                        let mut looks = 1000;
                        let found =
                            next_victim(&write, &mut counts, Class::Metadata, &marks, &mut looks).unwrap();
                        let expected = model.victim();
                        let evicted = found.as_ref().map(|(_, item)| item.clone().unwrap());
                        prop_assert_eq!(evicted, expected.map(item));
                        if let Some((place, _)) = found {
                            dequeue(&write, &mut counts, Class::Metadata, place).unwrap();
                            places.retain(|_, one| *one != place);
                        }
                    }
                }
                prop_assert_eq!(counts.queued, [0, model.list.len() as u64]);
            }
        }
    }
}
