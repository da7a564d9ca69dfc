//! The head that is followed: of what comes by all ways, the latest that home has signed.
//!
//! No way counts for more than another, and none can do more than bring something newer: whoever owns one of them can keep quiet there, and
//! that is all. What is new is first kept on disk and then taken ([`Followed::take`]), so that not even a start brings back what was before.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use core::cmp::Ordering;
use core::time::Duration;

use super::polls::Way;
use super::{Checked, Head, NotARecord, Root, Signed, publish};
use crate::bucket::Bucket;
use crate::peer::PeerId;

/// How long whoever has never had a head waits for one that is valid, while there is one that is not: all ways are asked at once, and
/// answer in less.
const PATIENCE: Duration = Duration::from_secs(30);
/// Forgeries in a second that are looked at of one way, and at once: each costs a verification. Beyond, nothing of that way is
/// looked at.
const FORGERIES: (f64, f64) = (1.0, 20.0);
/// Home signs once an hour even when nothing changes. Twice that, and it is not there, or it is kept from us.
const QUIET: Duration = publish::REFRESH.saturating_mul(2);

/// A moment, by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Since 1970: what sequences and validities are compared with. It may be wrong, and go back.
    pub date: Duration,
    /// Since the start. It never goes back.
    pub up: Duration,
}

/// What is followed, and who has told what.
#[derive(Debug)]
pub struct Followed {
    name: PeerId,
    latest: Option<Latest>,
    /// No longer valid, and nothing better has come.
    spare: Option<(Checked, Way)>,
    told: BTreeMap<Way, Told>,
    forgeries: BTreeMap<Way, Bucket>,
}

/// The head that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latest {
    /// The head.
    pub head: Checked,
    /// How it came; `None`: from the disk, before this start.
    pub by: Option<Way>,
}

/// What a way has told last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// When, since the start.
    pub at: Duration,
    /// What it came to.
    pub outcome: Outcome,
    /// Of the last that could be read, whoever had signed it.
    pub sequence: Option<u64>,
    /// How often it has told what home has not signed, or what nobody can read.
    pub refused: u64,
}

/// What becomes of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is to be kept on disk, and then taken. `forked`: home has signed another root with the same sequence, so its key is in use on
    /// two machines.
    New {
        /// It.
        head: Checked,
        /// See above.
        forked: bool,
    },
    /// Anything else.
    Not(Outcome),
}

/// What has become of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was the latest.
    New,
    /// It is the one that is known.
    Known,
    /// There is a later one.
    Older,
    /// It is from the future: this machine's clock is wrong, or home's.
    Early,
    /// It is no longer valid, and may be an old one that somebody has kept: something better is waited for.
    Expired,
    /// Home has not signed it.
    Forged,
    /// Nobody can read it.
    Damaged(NotARecord),
    /// So much was forged by this way that it is not looked at.
    Flooded,
}

/// What can be said of the root that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// There is none.
    None,
    /// Home has signed it lately.
    Current,
    /// Home has signed nothing for so long, or it is kept from us.
    Quiet(Duration),
    /// It is no longer valid, since so long; it is used for want of a newer one.
    Expired(Duration),
}

impl Followed {
    /// What this home says is followed, after what was kept on disk. Another's is left there.
    #[must_use]
    pub fn new(name: PeerId, kept: Option<Checked>) -> Self {
        let kept = kept.filter(|kept| kept.head().name == name);
        let latest = kept.map(|head| Latest { head, by: None });
        Self { name, latest, spare: None, told: BTreeMap::new(), forgeries: BTreeMap::new() }
    }

    /// Judges a record. `verify` is [`Signed::check`]'s, and is asked only where its answer makes a difference.
    pub fn offer(
        &mut self,
        record: &[u8],
        by: Way,
        now: Moment,
        verify: impl FnOnce(&[u8; 32], &[u8], &[u8; 64]) -> bool,
    ) -> Verdict {
        let (verdict, sequence) = self.judge(record, by, now, verify);
        let outcome = match &verdict {
            Verdict::New { .. } => Outcome::New,
            Verdict::Not(outcome) => *outcome,
        };
        let told = self.told.entry(by).or_insert(Told { at: now.up, outcome, sequence, refused: 0 });
        let refused = matches!(outcome, Outcome::Forged | Outcome::Damaged(_) | Outcome::Flooded);
        let refused = told.refused.saturating_add(u64::from(refused));
        *told = Told { at: now.up, outcome, sequence: sequence.or(told.sequence), refused };
        verdict
    }

    fn judge(
        &mut self,
        record: &[u8],
        by: Way,
        now: Moment,
        verify: impl FnOnce(&[u8; 32], &[u8], &[u8; 64]) -> bool,
    ) -> (Verdict, Option<u64>) {
        let signed = match Signed::read(record, self.name) {
            Ok(signed) => signed,
            Err(error) => return (Verdict::Not(Outcome::Damaged(error)), None),
        };
        let head = *signed.head();
        let not = |outcome| (Verdict::Not(outcome), Some(head.sequence));
        if let Err(outcome) = self.is_worth_checking(&head, by, now) {
            return not(outcome);
        }
        let Ok(checked) = signed.check(verify) else {
            self.forgeries_of(by, now).spend(1.0, now.up);
            return not(Outcome::Forged);
        };
        if self.latest.is_none() && head.until < now.date {
            self.keep_spare(checked, by);
            return not(Outcome::Expired);
        }
        let forked = self.latest().is_some_and(|latest| {
            let latest = latest.head.head();
            latest.sequence == head.sequence && latest.root != head.root
        });
        (Verdict::New { head: checked, forked }, Some(head.sequence))
    }

    /// What can be said without a look at the signature. A record that says it is older costs nothing, true or not.
    fn is_worth_checking(&mut self, head: &Head, by: Way, now: Moment) -> Result<(), Outcome> {
        let order = self.latest.as_ref().map_or(Ordering::Greater, |latest| head.compare(latest.head.head()));
        match order {
            Ordering::Less => Err(Outcome::Older),
            Ordering::Equal => Err(Outcome::Known),
            Ordering::Greater if publish::is_early(head.sequence, now.date) => Err(Outcome::Early),
            Ordering::Greater if self.forgeries_of(by, now).debt(now.up) > 0.0 => Err(Outcome::Flooded),
            Ordering::Greater => Ok(()),
        }
    }

    fn forgeries_of(&mut self, by: Way, now: Moment) -> &mut Bucket {
        let (rate, burst) = FORGERIES;
        self.forgeries.entry(by).or_insert_with(|| Bucket::full(rate, burst, now.up))
    }

    fn keep_spare(&mut self, checked: Checked, by: Way) {
        let better =
            self.spare.as_ref().is_none_or(|(spare, _)| checked.head().compare(spare.head()).is_gt());
        if better {
            self.spare = Some((checked, by));
        }
    }

    /// When [`Self::settle`] may have something; `None`: it never will, unless something comes.
    #[must_use]
    pub fn settles_at(&self) -> Option<Duration> {
        (self.latest.is_none() && self.spare.is_some()).then_some(PATIENCE)
    }

    /// The head that is no longer valid, when nothing better has come so long after the start: to be kept on disk, and taken.
    #[must_use]
    pub fn settle(&self, now: Moment) -> Option<(Checked, Way)> {
        self.spare.clone().filter(|_| self.settles_at().is_some_and(|at| at <= now.up))
    }

    /// Takes a head that has been kept on disk. Says whether it counts now: another may have come meanwhile.
    pub fn take(&mut self, head: Checked, by: Way) -> bool {
        let newer = self.latest.as_ref().is_none_or(|latest| head.head().compare(latest.head.head()).is_gt());
        if newer && head.head().name == self.name {
            self.latest = Some(Latest { head, by: Some(by) });
            self.spare = None;
            return true;
        }
        false
    }

    /// The head that counts.
    #[must_use]
    pub fn latest(&self) -> Option<&Latest> {
        self.latest.as_ref()
    }

    /// The root that counts.
    #[must_use]
    pub fn root(&self) -> Option<Root> {
        self.latest.as_ref().map(|latest| latest.head.head().root)
    }

    /// What each way has told last.
    pub fn told(&self) -> impl Iterator<Item = (Way, &Told)> {
        self.told.iter().map(|(way, told)| (*way, told))
    }

    /// What can be said of the root, `date` since 1970.
    #[must_use]
    pub fn standing(&self, date: Duration) -> Standing {
        let Some(latest) = &self.latest else { return Standing::None };
        let head = latest.head.head();
        match head.age(date) {
            _ if head.until < date => Standing::Expired(date.saturating_sub(head.until)),
            age if age > QUIET => Standing::Quiet(age),
            _ => Standing::Current,
        }
    }

    /// Which root, from whom, how old: one line for the log, `date` since 1970.
    #[must_use]
    pub fn words(&self, date: Duration) -> String {
        let Some(Latest { head, by }) = &self.latest else {
            return format!("no root of {} is known", self.name);
        };
        let Head { root, name, .. } = head.head();
        let age = head.head().age(date).as_secs();
        let by = by.map_or("from disk", Way::name);
        format!("root {root} of {name}, {by}, signed {age} s ago")
    }
}
