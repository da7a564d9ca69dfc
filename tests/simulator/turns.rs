//! Comparisons: whoever is compared has a turn in each round, and in each round another one begins.

use super::Settings;

/// Runs each of these once a round, and gives what each has found, round by round.
pub(crate) fn in_turns<T>(settings: &Settings, contenders: &[&dyn Fn(usize) -> T]) -> Vec<Vec<T>> {
    let mut found: Vec<Vec<T>> = contenders.iter().map(|_| Vec::new()).collect();
    for round in 0..settings.options.pairs {
        for who in order(settings.options.seed, round, contenders.len()) {
            found[who].push(contenders[who](round));
        }
    }
    found
}

/// Who comes when.
pub(crate) fn order(seed: u64, round: usize, count: usize) -> impl Iterator<Item = usize> {
    let first = usize::try_from(seed % count.max(1) as u64).unwrap_or_default() + round;
    (0..count).map(move |nth| (first + nth) % count)
}
