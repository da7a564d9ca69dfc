//! Asking again and again, for what shows itself by answers only.

use std::thread;
use std::time::{Duration, Instant};

/// Long enough for a machine that is busy with other tests.
const LIMIT: Duration = Duration::from_secs(40);
/// So that asking leaves the machine to those who are asked.
const PAUSE: Duration = Duration::from_millis(5);

/// Asks until the answer is as it should be, and gives that.
///
/// # Panics
/// When it does not come about.
pub fn until<T>(mut ask: impl FnMut() -> T, is_so: impl Fn(&T) -> bool) -> T {
    let start = Instant::now();
    loop {
        let answer = ask();
        if is_so(&answer) {
            return answer;
        }
        assert!(start.elapsed() < LIMIT, "it did not come about in {LIMIT:?}");
        thread::sleep(PAUSE);
    }
}
