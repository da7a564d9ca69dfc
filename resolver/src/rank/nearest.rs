//! Who is near, without looking at everybody: a k-d tree of points on the unit sphere.

use alloc::vec::Vec;

/// A balanced tree that lies in one list: the middle of each part is its root.
#[derive(Debug, Default)]
pub(super) struct Nearest {
    points: Vec<([f64; 3], u32)>,
}

/// Parts up to this size are gone through.
const LEAF: usize = 8;

impl Nearest {
    pub(super) fn new(points: impl Iterator<Item = ([f64; 3], u32)>) -> Self {
        let mut points: Vec<_> = points.collect();
        arrange(&mut points, 0);
        Self { points }
    }

    /// Visits points, the nearer parts first. `wanted` is told how far away the next part is at least, as a chord of the
    /// unit sphere, and says whether it is to be visited.
    pub(super) fn visit(&self, from: [f64; 3], wanted: &mut impl Wanted) {
        go(&self.points, 0, from, wanted);
    }
}

/// Whoever looks for something near.
pub(super) trait Wanted {
    /// Whether anything that is at least so far away is of interest.
    fn wants(&self, chord: f64) -> bool;
    /// A point, and how far away it is.
    fn meet(&mut self, number: u32, chord: f64);
}

fn arrange(points: &mut [([f64; 3], u32)], axis: usize) {
    if points.len() <= LEAF {
        return;
    }
    let middle = points.len() / 2;
    points.select_nth_unstable_by(middle, |one, other| {
        one.0[axis].total_cmp(&other.0[axis]).then(one.1.cmp(&other.1))
    });
    let (before, after) = points.split_at_mut(middle);
    arrange(before, (axis + 1) % 3);
    arrange(&mut after[1..], (axis + 1) % 3);
}

fn go(points: &[([f64; 3], u32)], axis: usize, from: [f64; 3], wanted: &mut impl Wanted) {
    if points.len() <= LEAF {
        points.iter().for_each(|(point, number)| wanted.meet(*number, chord(*point, from)));
        return;
    }
    let middle = points.len() / 2;
    let (before, after) = points.split_at(middle);
    let beyond = from[axis] - after[0].0[axis];
    let (near, far) = if beyond < 0.0 { (before, &after[1..]) } else { (&after[1..], before) };
    go(near, (axis + 1) % 3, from, wanted);
    wanted.meet(after[0].1, chord(after[0].0, from));
    if wanted.wants(beyond.abs()) {
        go(far, (axis + 1) % 3, from, wanted);
    }
}

fn chord(one: [f64; 3], other: [f64; 3]) -> f64 {
    libm::sqrt(one.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum())
}
