//! Who makes room in a bounded store: how many bytes have to go, and which class gives them.
//!
//! Content is of two [`Class`]es. Each may use what the other leaves unused; when room is needed, whoever holds more
//! than its share gives first, so that a flood of tarballs never costs the metadata that everybody asks for, nor the
//! other way round. Which item of a class goes is SIEVE's decision (Zhang et al., "SIEVE is Simpler than LRU",
//! NSDI 2024), made where the queue is: the gateway's `store`.

/// Bytes that are kept free whatever is configured: a state that cannot be written cannot evict either.
const LEAST_FREE: u64 = 4 << 20;
/// Room is made down to this much of the limit, in percent, so that not every new item has to wait for an old one.
const DOWN_TO: u64 = 98;

/// What is evicted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Tarballs: large, never change, cheap to fetch again.
    Tarballs,
    /// Packuments with their variants, and evidence.
    Metadata,
}

/// What the operator allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that the store may take as a whole.
    pub max_bytes: u64,
    /// Bytes that stay free on its file system.
    pub min_free: u64,
    /// Percent of what is held that metadata may be when tarballs need room: 1 to 99.
    pub metadata_share: u8,
}

/// What is taken now, in bytes on disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// By tarballs.
    pub tarballs: u64,
    /// By metadata.
    pub metadata: u64,
    /// By what cannot be evicted: the state's own file.
    pub overhead: u64,
    /// Free on the file system; `None` when it does not say.
    pub free: Option<u64>,
}

/// Whether room is being made: begun above a limit, it goes on to somewhat below it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Relief {
    under_way: bool,
}

impl Class {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Tarballs => Self::Metadata,
            Self::Metadata => Self::Tarballs,
        }
    }
}

impl Usage {
    /// Everything that counts against [`Limits::max_bytes`].
    #[must_use]
    pub fn total(&self) -> u64 {
        self.tarballs.saturating_add(self.metadata).saturating_add(self.overhead)
    }

    fn of(&self, class: Class) -> u64 {
        match class {
            Class::Tarballs => self.tarballs,
            Class::Metadata => self.metadata,
        }
    }
}

impl Limits {
    /// Bytes that have to go before anything new may come.
    #[must_use]
    pub fn excess(&self, usage: &Usage) -> u64 {
        let min_free = self.min_free.max(LEAST_FREE);
        beyond(usage, self.max_bytes, min_free)
    }

    /// Bytes that have to go until there is room for a while.
    #[must_use]
    pub fn comfort(&self, usage: &Usage) -> u64 {
        let (most, min_free) = (self.max_bytes / 100 * DOWN_TO, self.min_free.max(LEAST_FREE));
        beyond(usage, most, min_free.saturating_add(min_free / 100 * (100 - DOWN_TO)))
    }

    /// Which class gives next, of those that have something to give: the one that is further above its share.
    #[must_use]
    pub fn giver(&self, usage: &Usage, has: impl Fn(Class) -> bool) -> Option<Class> {
        let over = |class| u128::from(usage.of(class)) * 100;
        let held = u128::from(usage.tarballs.saturating_add(usage.metadata));
        let share = u128::from(self.metadata_share.min(100));
        let first = if over(Class::Metadata) > held * share { Class::Metadata } else { Class::Tarballs };
        [first, first.other()].into_iter().find(|class| has(*class))
    }

    /// Bytes that pins may take: what is left keeps the cache a cache.
    #[must_use]
    pub fn most_pinned(&self) -> u64 {
        self.max_bytes / 10 * 9
    }
}

impl Relief {
    /// Bytes that have to go now (the first number: before anything else is done); none, while the limits hold.
    #[must_use]
    pub fn wanted(&mut self, limits: &Limits, usage: &Usage) -> (u64, u64) {
        let (excess, comfort) = (limits.excess(usage), limits.comfort(usage));
        self.under_way = excess > 0 || (self.under_way && comfort > 0);
        if self.under_way { (excess, comfort) } else { (0, 0) }
    }

    /// There is nothing left to give: it is no use going on.
    pub fn end(&mut self) {
        self.under_way = false;
    }

    /// Whether more has to go.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.under_way
    }
}

fn beyond(usage: &Usage, most: u64, min_free: u64) -> u64 {
    let too_little = usage.free.map_or(0, |free| min_free.saturating_sub(free));
    usage.total().saturating_sub(most).max(too_little)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GIB: u64 = 1 << 30;
    const LIMITS: Limits = Limits { max_bytes: 100 * GIB, min_free: GIB, metadata_share: 25 };

    fn usage(tarballs: u64, metadata: u64) -> Usage {
        Usage { tarballs, metadata, overhead: 0, free: Some(50 * GIB) }
    }

    #[test]
    fn room_is_made_above_the_limit_and_down_to_somewhat_below_it() {
        let mut relief = Relief::default();
        assert_eq!(relief.wanted(&LIMITS, &usage(99 * GIB, GIB)), (0, 0));
        let (now, soon) = relief.wanted(&LIMITS, &usage(100 * GIB, GIB));
        assert_eq!(now, GIB);
        assert!(soon > 2 * GIB && soon < 4 * GIB, "{soon}");
        assert!(relief.wanted(&LIMITS, &usage(99 * GIB, 0)).1 > 0, "it goes on below the limit");
        assert_eq!(relief.wanted(&LIMITS, &usage(97 * GIB, 0)), (0, 0));
        assert_eq!(relief.wanted(&LIMITS, &usage(99 * GIB, 0)), (0, 0), "and begins above it only");
    }

    #[test]
    fn a_disk_that_others_fill_is_given_room() {
        let full = Usage { free: Some(GIB / 4), ..usage(GIB, GIB) };
        assert_eq!(LIMITS.excess(&full), GIB - GIB / 4);
        assert_eq!(Limits { min_free: 0, ..LIMITS }.excess(&Usage { free: Some(0), ..full }), LEAST_FREE);
        assert_eq!(LIMITS.excess(&Usage { free: None, ..full }), 0);
    }

    #[test]
    fn a_class_may_use_what_the_other_does_not_and_gives_it_back_first() {
        let all = |_| true;
        assert_eq!(LIMITS.giver(&usage(100 * GIB, 0), all), Some(Class::Tarballs));
        assert_eq!(LIMITS.giver(&usage(60 * GIB, 40 * GIB), all), Some(Class::Metadata));
        assert_eq!(LIMITS.giver(&usage(80 * GIB, 20 * GIB), all), Some(Class::Tarballs));
        assert_eq!(
            LIMITS.giver(&usage(80 * GIB, 20 * GIB), |class| class == Class::Metadata),
            Some(Class::Metadata)
        );
        assert_eq!(LIMITS.giver(&usage(80 * GIB, 20 * GIB), |_| false), None);
    }

    proptest! {
        #[test]
        fn what_is_asked_for_is_enough(
            tarballs in 0..300 * GIB, metadata in 0..300 * GIB, free in 0..4 * GIB, share in 0_u8..=100,
        ) {
            let limits = Limits { metadata_share: share, ..LIMITS };
            let before = Usage { free: Some(free), ..usage(tarballs, metadata) };
            let excess = limits.excess(&before);
            prop_assert!(limits.comfort(&before) >= excess);
            let given = excess.min(before.total());
            let of_tarballs = given.min(before.tarballs);
            let after = Usage {
                tarballs: before.tarballs - of_tarballs,
                metadata: before.metadata - (given - of_tarballs),
                free: Some(free + given),
                ..before
            };
            prop_assert!(given < excess || limits.excess(&after) == 0);
        }

        /// The model: give one unit at a time, always by asking anew, until nothing is over the limit.
        #[test]
        fn a_class_within_its_share_loses_nothing_while_the_other_is_above_its_own(
            tarballs in 0_u64..400, metadata in 0_u64..400, share in 0_u8..=100,
        ) {
            let limits = Limits { max_bytes: 100, min_free: 0, metadata_share: share };
            let mut now = Usage { tarballs, metadata, overhead: 0, free: None };
            while limits.excess(&now) > 0 {
                let has = |class| now.of(class) > 0;
                let class = limits.giver(&now, has).expect("something is held");
                let metadata_is_over = now.metadata * 100 > (now.metadata + now.tarballs) * u64::from(share);
                prop_assert_eq!(class == Class::Metadata, metadata_is_over || now.tarballs == 0);
                match class {
                    Class::Tarballs => now.tarballs -= 1,
                    Class::Metadata => now.metadata -= 1,
                }
            }
            // With both above their shares of the limit, they end at their shares.
            if metadata >= u64::from(share) && tarballs >= 100 - u64::from(share) && metadata + tarballs > 100 {
                prop_assert!(now.metadata.abs_diff(u64::from(share)) <= 1, "{now:?}");
            }
        }
    }
}
