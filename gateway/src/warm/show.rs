//! How far a warm-up is, for who watches: a bar on a terminal, a line now and then elsewhere, JSON for programs.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::report::{Event, Report, Snapshot};
use crate::terminal::escape;

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// The longest name that is shown whole.
const NAME: usize = 60;

/// Where it is shown.
pub(super) enum Show<O, N> {
    /// On a terminal.
    Bar { bar: ProgressBar, started: Instant, out: O },
    /// In a log.
    Lines { out: O, notes: N, started: Instant, said: Option<Instant> },
    /// One object per line.
    Json { out: O, said: Option<Instant> },
}

impl<O: Write, N: Write> Show<O, N> {
    /// The report goes to `out`, what comes before it to `notes`, which is standard error.
    pub(super) fn new(json: bool, out: O, notes: N) -> Self {
        let started = Instant::now();
        if json {
            return Self::Json { out, said: None };
        }
        if !io::stderr().is_terminal() {
            return Self::Lines { out, notes, started, said: None };
        }
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} packages, {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self::Bar { bar, started, out }
    }

    /// Shows one event.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn event(&mut self, event: &Event) -> io::Result<()> {
        match (self, event) {
            (Self::Json { out, said }, event) => {
                if matches!(event, Event::Report(_)) || is_due(said) {
                    writeln!(out, "{}", serde_json::to_string(event).map_err(io::Error::other)?)?;
                    out.flush()?;
                }
                Ok(())
            }
            (Self::Bar { bar, started, .. }, Event::Progress(now)) => {
                bar.set_length(now.all);
                bar.set_position(now.done);
                bar.set_message(detail(now, *started));
                Ok(())
            }
            (Self::Lines { notes, started, said, .. }, Event::Progress(now)) => match is_due(said) {
                true => writeln!(notes, "{}/{} packages, {}", now.done, now.all, detail(now, *started)),
                false => Ok(()),
            },
            (Self::Bar { bar, out, .. }, Event::Report(report)) => {
                bar.finish_and_clear();
                last(report, out)
            }
            (Self::Lines { out, .. }, Event::Report(report)) => last(report, out),
        }
    }
}

fn last(report: &Report, out: &mut impl Write) -> io::Result<()> {
    report.print(out)?;
    out.flush()
}

fn is_due(said: &mut Option<Instant>) -> bool {
    let due = said.is_none_or(|said| said.elapsed() >= LINE_EVERY);
    if due {
        *said = Some(Instant::now());
    }
    due
}

fn detail(now: &Snapshot, started: Instant) -> String {
    let seconds = started.elapsed().as_secs().max(1);
    let (bytes, rate) =
        (ByteSize::b(now.bytes).display().si(), ByteSize::b(now.bytes / seconds).display().si());
    match &now.fetching {
        Some(what) => format!("{bytes}, {rate}/s, {}", escape(&what.chars().take(NAME).collect::<String>())),
        None => format!("{bytes}, {rate}/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_a_line_now_and_then_and_the_report() {
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        let mut show = Show::Lines { out: &mut out, notes: &mut notes, started: Instant::now(), said: None };
        let fetching = Some("left\u{1b}[2J".into());
        for done in 0..100 {
            let now = Snapshot { done, all: 100, fetching: fetching.clone(), ..Snapshot::default() };
            show.event(&Event::Progress(now)).unwrap();
        }
        let report =
            Report { name: "a".into(), packages: 100, held: 100, complete: true, ..Report::default() };
        show.event(&Event::Report(report)).unwrap();
        assert_eq!(String::from_utf8(notes).unwrap(), "0/100 packages, 0 B, 0 B/s, left\\u{1b}[2J\n");
        let out = String::from_utf8(out).unwrap();
        assert!(out.starts_with("a: 100 packages\n") && out.ends_with("without a connection.\n"), "{out}");
    }

    #[test]
    fn for_programs_every_line_is_an_object_and_the_last_one_is_the_report() {
        let mut out = Vec::new();
        let mut show = Show::Json { out: &mut out, said: None };
        let _: &Show<_, Vec<u8>> = &show;
        for event in [Event::Progress(Snapshot::default()), Event::Report(Report::default())] {
            show.event(&event).unwrap();
        }
        let events: Vec<Event> =
            String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(events, [Event::Progress(Snapshot::default()), Event::Report(Report::default())]);
    }
}
