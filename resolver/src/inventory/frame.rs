//! What is sent of an inventory: first everything that is held, then changes, and now and then what it comes to.
//!
//! ```text
//! version (1 byte, 1)  kind (1 byte)  0 0  length of the body in bytes (4 bytes)  body: numbers of 4 bytes
//!
//! kind 1  all      how many fingerprints follow before the next `state`; what was known before is void
//! kind 2  held     fingerprints that are held, and were not
//! kind 3  gone     fingerprints that were held, and are not
//! kind 4  state    how many there are now, and what they add up to, modulo 2^32; says also: I am still here
//! ```
//!
//! All numbers are big-endian. The first frame is `all`, then come `held`, then `state`: from here on the inventory is known.

use alloc::vec::Vec;

use super::{MOST, Prints};

/// The version that is spoken.
const VERSION: u8 = 1;
/// What stands before each body, in bytes.
pub const HEAD: usize = 8;
/// Fingerprints in one frame: 64 KiB.
pub const MOST_IN_ONE: usize = 16 * 1024;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// So many follow.
    All(u32),
    /// These have come.
    Held(Vec<u32>),
    /// These have gone.
    Gone(Vec<u32>),
    /// So many there are, and this is their sum.
    State(u32, u32),
}

/// What a frame's head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    kind: u8,
    /// Of the body, in bytes; at most 64 KiB.
    pub length: usize,
}

/// No gateway sends this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Garbage {
    /// Not the bytes of a frame.
    #[error("these are not the bytes of a frame")]
    Bytes,
    /// Not where it may stand, or not what may follow.
    #[error("a frame stands where it cannot")]
    Order,
    /// More than there may be, or more than were announced.
    #[error("too many fingerprints")]
    TooMany,
    /// What was told does not add up.
    #[error("what was told does not come to what it is said to come to")]
    Sum,
}

impl Frame {
    /// Writes it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let (kind, numbers) = match self {
            Self::All(count) => (1, &[*count][..]),
            Self::Held(prints) => (2, prints.as_slice()),
            Self::Gone(prints) => (3, prints.as_slice()),
            Self::State(count, sum) => (4, &[*count, *sum][..]),
        };
        let length = u32::try_from(numbers.len() * 4).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(HEAD + numbers.len() * 4);
        bytes.extend_from_slice(&[VERSION, kind, 0, 0]);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
        bytes
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`Garbage::Bytes`].
    pub fn read(head: Head, body: &[u8]) -> Result<Self, Garbage> {
        let (numbers, rest) = body.as_chunks::<4>();
        if body.len() != head.length || !rest.is_empty() {
            return Err(Garbage::Bytes);
        }
        let numbers: Vec<_> = numbers.iter().map(|number| u32::from_be_bytes(*number)).collect();
        match (head.kind, numbers.as_slice()) {
            (1, [count]) => Ok(Self::All(*count)),
            (4, [count, sum]) => Ok(Self::State(*count, *sum)),
            (2, [_, ..]) => Ok(Self::Held(numbers)),
            (3, [_, ..]) => Ok(Self::Gone(numbers)),
            _ => Err(Garbage::Bytes),
        }
    }

    /// What tells somebody everything. It is made as it is taken.
    pub fn whole(prints: &Prints) -> impl Iterator<Item = Self> + Send + '_ {
        let count = u32::try_from(prints.len()).unwrap_or(u32::MAX);
        let mut all = prints.iter();
        let held = core::iter::from_fn(move || {
            let some: Vec<_> = all.by_ref().take(MOST_IN_ONE).collect();
            (!some.is_empty()).then_some(Self::Held(some))
        });
        core::iter::once(Self::All(count)).chain(held).chain([Self::state(prints)])
    }

    /// What tells changes.
    pub fn changes(held: &[u32], gone: &[u32]) -> Vec<Self> {
        let gone = gone.chunks(MOST_IN_ONE).map(|some| Self::Gone(some.to_vec()));
        gone.chain(held.chunks(MOST_IN_ONE).map(|some| Self::Held(some.to_vec()))).collect()
    }

    /// What these come to.
    #[must_use]
    pub fn state(prints: &Prints) -> Self {
        Self::State(u32::try_from(prints.len()).unwrap_or(u32::MAX), prints.sum())
    }
}

impl Head {
    /// Reads it.
    ///
    /// # Errors
    /// [`Garbage::Bytes`], when it is none, or announces more than a frame may have.
    pub fn read(head: [u8; HEAD]) -> Result<Self, Garbage> {
        let [VERSION, kind @ 1..=4, 0, 0, a, b, c, d] = head else { return Err(Garbage::Bytes) };
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).map_err(|_| Garbage::Bytes)?;
        if length > MOST_IN_ONE * 4 || !length.is_multiple_of(4) {
            return Err(Garbage::Bytes);
        }
        Ok(Self { kind, length })
    }
}

/// Whoever is told an inventory.
#[derive(Debug, Default)]
pub struct Listener {
    /// While everything is told: what has come of it, and how many are still to come.
    coming: Option<(Vec<u32>, u32)>,
    known: Prints,
    /// Everything was told once.
    begun: bool,
}

/// What a frame has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// So many fingerprints are to come.
    Coming(u32),
    /// Nothing that would change what is known.
    Nothing,
    /// What is known has changed.
    Changed,
}

impl Listener {
    /// Takes a frame.
    ///
    /// # Errors
    /// [`Garbage`], after which nothing more is to be taken.
    pub fn take(&mut self, frame: Frame) -> Result<News, Garbage> {
        match (frame, self.coming.take()) {
            (Frame::All(count), None) => self.begin(count),
            (Frame::Held(prints), Some((so_far, left))) => self.fill(so_far, left, &prints),
            (Frame::State(count, sum), Some((so_far, 0))) => self.complete(so_far, count, sum),
            (Frame::Held(prints), None) if self.begun => self.add(&prints),
            (Frame::Gone(prints), None) if self.begun => self.take_out(&prints),
            (Frame::State(count, sum), None) if self.begun => self.compare(count, sum),
            _ => Err(Garbage::Order),
        }
    }

    /// What is known.
    #[must_use]
    pub fn known(&self) -> &Prints {
        &self.known
    }

    /// How many have come of all that is being told.
    #[must_use]
    pub fn arrived(&self) -> usize {
        self.coming.as_ref().map_or(0, |(so_far, _)| so_far.len())
    }

    fn begin(&mut self, count: u32) -> Result<News, Garbage> {
        if usize::try_from(count).map_or(true, |count| count > MOST) {
            return Err(Garbage::TooMany);
        }
        // Memory comes with what it is for, not with what is announced.
        self.coming = Some((Vec::new(), count));
        Ok(News::Coming(count))
    }

    fn fill(&mut self, mut so_far: Vec<u32>, left: u32, prints: &[u32]) -> Result<News, Garbage> {
        let more = u32::try_from(prints.len()).map_err(|_| Garbage::TooMany)?;
        let left = left.checked_sub(more).ok_or(Garbage::TooMany)?;
        so_far.extend_from_slice(prints);
        self.coming = Some((so_far, left));
        Ok(News::Nothing)
    }

    fn complete(&mut self, so_far: Vec<u32>, count: u32, sum: u32) -> Result<News, Garbage> {
        self.known = so_far.into_iter().collect();
        self.begun = true;
        self.compare(count, sum)?;
        Ok(News::Changed)
    }

    fn add(&mut self, prints: &[u32]) -> Result<News, Garbage> {
        if self.known.len() + prints.len() > MOST {
            return Err(Garbage::TooMany);
        }
        let new = prints.iter().all(|print| self.known.insert(*print));
        if new { Ok(News::Changed) } else { Err(Garbage::Sum) }
    }

    fn take_out(&mut self, prints: &[u32]) -> Result<News, Garbage> {
        let known = prints.iter().all(|print| self.known.remove(*print));
        if known { Ok(News::Changed) } else { Err(Garbage::Sum) }
    }

    fn compare(&self, count: u32, sum: u32) -> Result<News, Garbage> {
        let same = usize::try_from(count) == Ok(self.known.len()) && sum == self.known.sum();
        if same { Ok(News::Nothing) } else { Err(Garbage::Sum) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn prints(prints: impl IntoIterator<Item = u32>) -> Prints {
        prints.into_iter().collect()
    }

    fn read(bytes: &[u8]) -> Result<Frame, Garbage> {
        let (head, body) = bytes.split_first_chunk::<HEAD>().ok_or(Garbage::Bytes)?;
        Frame::read(Head::read(*head)?, body)
    }

    fn tell(listener: &mut Listener, frames: impl IntoIterator<Item = Frame>) -> Result<(), Garbage> {
        frames.into_iter().try_for_each(|frame| listener.take(read(&frame.to_bytes())?).map(drop))
    }

    #[test]
    fn a_hundred_thousand_tarballs_are_told_in_400_kb() {
        let all = prints((0..100_000u32).map(|print| print.wrapping_mul(2_654_435_761)));
        let bytes: usize = Frame::whole(&all).map(|frame| frame.to_bytes().len()).sum();
        assert_eq!(bytes, 400_000 + 9 * HEAD + 12);
        let mut listener = Listener::default();
        tell(&mut listener, Frame::whole(&all)).unwrap();
        assert_eq!(listener.known(), &all);
    }

    #[test]
    fn what_stands_where_it_cannot_is_refused() {
        let begin = || {
            let mut listener = Listener::default();
            tell(&mut listener, Frame::whole(&prints([1, 2]))).unwrap();
            listener
        };
        let fresh = |frames: Vec<Frame>| tell(&mut Listener::default(), frames);
        assert_eq!(fresh(vec![Frame::Held(vec![1])]), Err(Garbage::Order));
        assert_eq!(fresh(vec![Frame::State(0, 0)]), Err(Garbage::Order));
        assert_eq!(fresh(vec![Frame::All(1), Frame::All(1)]), Err(Garbage::Order));
        assert_eq!(fresh(vec![Frame::All(1), Frame::State(0, 0)]), Err(Garbage::Order));
        assert_eq!(fresh(vec![Frame::All(1), Frame::Gone(vec![1])]), Err(Garbage::Order));
        assert_eq!(fresh(vec![Frame::All(1), Frame::Held(vec![1, 2])]), Err(Garbage::TooMany));
        assert_eq!(fresh(vec![Frame::All(1_000_001)]), Err(Garbage::TooMany));
        assert_eq!(
            fresh(vec![Frame::All(2), Frame::Held(vec![1, 1]), Frame::State(2, 2)]),
            Err(Garbage::Sum)
        );
        assert_eq!(tell(&mut begin(), [Frame::Held(vec![1])]), Err(Garbage::Sum));
        assert_eq!(tell(&mut begin(), [Frame::Gone(vec![3])]), Err(Garbage::Sum));
        assert_eq!(tell(&mut begin(), [Frame::State(2, 4)]), Err(Garbage::Sum));
        assert_eq!(tell(&mut begin(), [Frame::State(2, 3)]), Ok(()));
        assert_eq!(tell(&mut begin(), Frame::whole(&prints([9]))), Ok(()), "everything may be told anew");
    }

    #[test]
    fn bytes_that_are_no_frame_are_refused() {
        let frame = Frame::Held(vec![1, 2]).to_bytes();
        for at in 0..4 {
            let mut changed = frame.clone();
            changed[at] ^= 8;
            assert_eq!(read(&changed), Err(Garbage::Bytes), "byte {at}");
        }
        for (kind, length) in [(1, 8u32), (1, 0), (2, 0), (3, 0), (4, 4), (2, 6), (2, 65_540), (2, u32::MAX)]
        {
            let mut bytes = vec![VERSION, kind, 0, 0];
            bytes.extend(length.to_be_bytes());
            bytes.resize(HEAD + usize::try_from(length.min(65_540)).unwrap(), 0);
            assert_eq!(read(&bytes), Err(Garbage::Bytes), "{kind} {length}");
        }
        assert_eq!(read(&frame[..frame.len() - 1]), Err(Garbage::Bytes));
    }

    proptest! {
        #[test]
        fn whatever_is_sent_is_taken_or_refused_within_limits(
            sent in proptest::collection::vec(
                prop_oneof![
                    proptest::collection::vec(any::<u8>(), 0..64),
                    (1u8..=4, proptest::collection::vec(0u32..4, 0..6)).prop_map(|(kind, numbers)| {
                        let mut bytes = vec![VERSION, kind, 0, 0];
                        bytes.extend(u32::try_from(numbers.len() * 4).unwrap().to_be_bytes());
                        bytes.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
                        bytes
                    }),
                ],
                0..12,
            ),
        ) {
            let mut listener = Listener::default();
            for bytes in sent {
                let Ok(frame) = read(&bytes) else { continue };
                prop_assert_eq!(&frame.to_bytes(), &bytes, "what is read is what was written");
                if listener.take(frame).is_err() {
                    break;
                }
                prop_assert!(listener.known().len() <= MOST);
            }
        }

        #[test]
        fn frames_are_read_as_they_were_written(numbers in proptest::collection::vec(any::<u32>(), 1..200)) {
            for frame in [
                Frame::Held(numbers.clone()),
                Frame::Gone(numbers.clone()),
                Frame::All(numbers[0]),
                Frame::State(numbers[0], numbers[numbers.len() - 1]),
            ] {
                prop_assert_eq!(read(&frame.to_bytes()), Ok(frame));
            }
        }
    }
}
