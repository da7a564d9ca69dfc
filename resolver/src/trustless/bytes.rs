//! Which bytes of a file `entity-bytes` means.

use core::ops::Range;

use super::Bytes;

impl Bytes {
    /// The bytes of a file of this length that are meant, from the first to behind the last; `None`: none of them.
    #[must_use]
    pub fn within(&self, length: u64) -> Option<Range<u64>> {
        let from = place(self.from, length);
        let last = self.to.map_or(length.checked_sub(1), |to| {
            // Before the file's beginning there is nothing.
            let to = if to < 0 { length.checked_sub(to.unsigned_abs())? } else { to.unsigned_abs() };
            Some(to.min(length.checked_sub(1)?))
        })?;
        let end = last.checked_add(1)?;
        (from < end).then_some(from..end)
    }
}

/// Where a byte is; one that counts from the end is at the beginning where the file is shorter.
fn place(byte: i64, length: u64) -> u64 {
    if byte < 0 { length.saturating_sub(byte.unsigned_abs()) } else { byte.unsigned_abs() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bytes_are_counted_from_either_end_and_both_ends_are_among_them() {
        let within = |from, to| Bytes { from, to }.within(1000);
        assert_eq!(within(0, None), Some(0..1000));
        assert_eq!(within(0, Some(0)), Some(0..1));
        assert_eq!(within(-100, None), Some(900..1000));
        assert_eq!(within(-2000, None), Some(0..1000));
        assert_eq!(within(499, Some(-500)), Some(499..501));
        assert_eq!(within(-9, Some(-3)), Some(991..998));
        assert_eq!(within(900, Some(5000)), Some(900..1000));
        for (from, to) in
            [(1000, None), (0, Some(-1001)), (600, Some(-600)), (5, Some(4)), (2000, Some(3000))]
        {
            assert_eq!(within(from, to), None, "{from}:{to:?}");
        }
        assert_eq!(Bytes { from: 0, to: None }.within(0), None);
        assert_eq!(Bytes { from: 0, to: Some(0) }.within(0), None);
    }

    proptest! {
        #[test]
        fn what_is_meant_lies_in_the_file(from: i64, to: Option<i64>, length: u64) {
            if let Some(range) = (Bytes { from, to }).within(length) {
                prop_assert!(range.start < range.end && range.end <= length);
                prop_assert!(from < 0 || range.start == from.unsigned_abs());
            }
        }
    }
}
