//! The live line: how much goes out and comes in, now and in total.

use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::Terminal;

const EVERY: Duration = Duration::from_secs(1);

/// Bytes since the start of the program.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Transfer {
    /// Sent to clients and peers.
    pub sent: u64,
    /// Received from anybody.
    pub received: u64,
    /// Of these: from peers nearby, from others, from home.
    pub from_peers: [u64; 3],
}

/// Draws the live line about once a second until it is dropped, and wipes it then.
///
/// Without a terminal there is nothing to draw, and it returns at once: spawn it, do not wait for it.
pub async fn run_transfer_line(totals: impl Fn() -> Transfer + Send + 'static) {
    if let Some(terminal) = Terminal::stdout() {
        draw(&WipedAtLast(terminal), totals).await;
    }
}

struct WipedAtLast<'a>(&'a Terminal);

impl Drop for WipedAtLast<'_> {
    fn drop(&mut self) {
        self.0.redraw("");
    }
}

async fn draw(screen: &WipedAtLast<'_>, totals: impl Fn() -> Transfer + Send + 'static) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut before, mut then) = (totals(), Instant::now());
    loop {
        let now = ticks.tick().await;
        let current = totals();
        screen.0.redraw(&line(before, current, now.saturating_duration_since(then)));
        (before, then) = (current, now);
    }
}

/// `Upload/Download [current/total]: 32kbps/0kbps [3mb/7.3mb]`, from two samples and the time between them.
fn line(before: Transfer, now: Transfer, elapsed: Duration) -> String {
    let sent = rate(before.sent, now.sent, elapsed);
    let received = rate(before.received, now.received, elapsed);
    let (up, down) = (Megabytes(now.sent), Megabytes(now.received));
    let from = from_peers(now.from_peers);
    format!("Upload/Download [current/total]: {sent}kbps/{received}kbps [{up}mb/{down}mb{from}]")
}

/// What of it upstream was spared: `, of which 5mb from peers nearby`.
fn from_peers(bytes: [u64; 3]) -> String {
    let whose = ["peers nearby", "other peers", "home"];
    let told = bytes.into_iter().zip(whose).filter(|(bytes, _)| *bytes > 0);
    let told: Vec<_> = told.map(|(bytes, whose)| format!("{}mb from {whose}", Megabytes(bytes))).collect();
    if told.is_empty() { String::new() } else { format!(", of which {}", told.join(", ")) }
}

/// Kilobits per second: bits per millisecond.
fn rate(before: u64, now: u64, elapsed: Duration) -> u128 {
    let bits = u128::from(now.saturating_sub(before)) * 8;
    let elapsed_ms = elapsed.as_millis();
    (bits + elapsed_ms / 2).checked_div(elapsed_ms).unwrap_or(0)
}

/// A number of bytes in decimal megabytes with at most one decimal.
struct Megabytes(u64);

impl fmt::Display for Megabytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = self.0.saturating_add(50_000) / 100_000;
        match (tenths / 10, tenths % 10) {
            (whole, 0) => write!(f, "{whole}"),
            (whole, tenth) => write!(f, "{whole}.{tenth}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::tests::Paper;

    #[tokio::test]
    async fn the_line_is_drawn_at_once_and_wiped_when_it_ends() {
        let paper = Paper::default();
        let terminal = Terminal::new(paper.clone());
        let drawing = async { draw(&WipedAtLast(&terminal), Transfer::default).await };
        assert!(tokio::time::timeout(Duration::from_millis(20), drawing).await.is_err());
        let line = "Upload/Download [current/total]: 0kbps/0kbps [0mb/0mb]";
        assert_eq!(paper.text(), format!("{line}\r{}\r", " ".repeat(line.len())));
    }

    #[test]
    fn the_line_reads_as_in_the_proposal() {
        let before = Transfer { sent: 2_996_000, received: 7_300_000, from_peers: [0; 3] };
        let now = Transfer { sent: 3_000_000, ..before };
        let expected = "Upload/Download [current/total]: 32kbps/0kbps [3mb/7.3mb]";
        assert_eq!(line(before, now, Duration::from_secs(1)), expected);
    }

    #[test]
    fn what_came_from_peers_is_told() {
        let now = Transfer { sent: 0, received: 7_300_000, from_peers: [5_000_000, 0, 300_000] };
        let line = line(now, now, Duration::from_secs(1));
        assert!(line.ends_with("[0mb/7.3mb, of which 5mb from peers nearby, 0.3mb from home]"), "{line}");
    }

    #[test]
    fn a_rate_is_per_second_however_long_the_tick_took() {
        assert_eq!(rate(0, 4_000, Duration::from_secs(1)), 32);
        assert_eq!(rate(0, 4_000, Duration::from_millis(500)), 64);
        assert_eq!(rate(0, 4_000, Duration::from_secs(2)), 16);
    }

    #[test]
    fn no_time_and_no_progress_are_no_rate() {
        assert_eq!(rate(0, 4_000, Duration::ZERO), 0);
        assert_eq!(rate(4_000, 0, Duration::from_secs(1)), 0);
    }

    #[test]
    fn megabytes_are_decimal_and_rounded_to_tenths() {
        let shown = |bytes| Megabytes(bytes).to_string();
        assert_eq!(shown(0), "0");
        assert_eq!(shown(49_999), "0");
        assert_eq!(shown(50_000), "0.1");
        assert_eq!(shown(7_349_999), "7.3");
        assert_eq!(shown(9_960_000), "10");
        assert_eq!(shown(u64::MAX), "18446744073709.5");
    }
}
