//! What a scenario finds: figures with their spread, and whether its condition was kept.

use super::measure::Run;

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Milliseconds,
    Bytes,
    Count,
    Ratio,
}

/// A median between the smallest and the largest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
    /// Of how many.
    pub(crate) count: usize,
}

/// One thing that was measured, of one of those that are compared.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figure {
    /// "time"
    pub(crate) what: String,
    /// "gateway, second install"
    pub(crate) of: String,
    pub(crate) unit: Unit,
    pub(crate) spread: Spread,
}

/// How a scenario ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    /// Its condition was not kept, or it broke, or was ended.
    Failed(String),
    /// There was no time for it.
    NotRun(String),
    /// It cannot be played here.
    NotHere(String),
}

/// What a scenario has found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Finding {
    pub(crate) figures: Vec<Figure>,
    /// What has to be known to read them.
    pub(crate) notes: Vec<String>,
    complaints: Vec<String>,
}

impl Unit {
    /// "12.3 MB"
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Seconds => format!("{value:.2} s"),
            Self::Milliseconds => format!("{value:.1} ms"),
            Self::Bytes if value >= 1e6 => format!("{:.2} MB", value / 1e6),
            Self::Bytes if value >= 1e3 => format!("{:.1} kB", value / 1e3),
            Self::Bytes => format!("{value:.0} B"),
            Self::Count => format!("{value:.0}"),
            Self::Ratio => format!("{value:.3}"),
        }
    }
}

impl Spread {
    /// `None`: of nothing.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let median = (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0;
        Some(Self { median, least, most, count: sorted.len() })
    }

    /// "1.00 s (0.90 s to 1.10 s, of 3)"
    pub(crate) fn show(&self, unit: Unit) -> String {
        let Self { median, least, most, count } = *self;
        if count == 1 {
            return unit.show(median);
        }
        format!("{} ({} to {}, of {count})", unit.show(median), unit.show(least), unit.show(most))
    }
}

impl Finding {
    /// One figure, of as many values as there are; none: there is no such figure.
    pub(crate) fn add(
        &mut self,
        what: &str,
        of: &str,
        unit: Unit,
        values: impl IntoIterator<Item = f64>,
    ) -> Option<Spread> {
        let spread = Spread::of(values)?;
        self.figures.push(Figure { what: what.to_owned(), of: of.to_owned(), unit, spread });
        Some(spread)
    }

    /// All that is measured of runs: time, bytes, requests, failures, latency, memory. A failed install is a complaint.
    pub(crate) fn add_runs(&mut self, of: &str, runs: &[Run]) {
        let mut add = |what, unit, value: &dyn Fn(&Run) -> Option<f64>| {
            self.add(what, of, unit, runs.iter().filter_map(value));
        };
        add("time", Unit::Seconds, &|run| Some(run.seconds));
        add("bytes from the Internet", Unit::Bytes, &|run| Some(run.traffic.internet));
        add("bytes to the Internet", Unit::Bytes, &|run| run.traffic.to_internet);
        add("bytes from other gateways", Unit::Bytes, &|run| run.traffic.lan);
        add("bytes from the store", Unit::Bytes, &|run| run.traffic.store);
        add("requests to upstream", Unit::Count, &|run| Some(run.packuments + run.tarballs + run.others));
        add("of them for packuments", Unit::Count, &|run| Some(run.packuments));
        add("of them for tarballs", Unit::Count, &|run| Some(run.tarballs));
        add("failed installs", Unit::Count, &|run| Some(run.failures.len() as f64));
        add("p50 of a warm request", Unit::Milliseconds, &|run| Some(run.probed?.p50));
        add("p99 of a warm request", Unit::Milliseconds, &|run| Some(run.probed?.p99));
        let memory = runs.iter().flat_map(|run| run.resident.iter().copied());
        self.add("resident memory of each", of, Unit::Bytes, memory);
        for failure in runs.iter().flat_map(|run| &run.failures) {
            self.complaints.push(format!("{of}: {failure}"));
        }
    }

    /// What has to be known to read the figures; said once.
    pub(crate) fn note(&mut self, text: &str) {
        if !self.notes.iter().any(|note| note == text) {
            self.notes.push(text.to_owned());
        }
    }

    /// A part of the condition: whether it was kept, and what is to be said if it was not.
    pub(crate) fn require(&mut self, kept: bool, otherwise: impl FnOnce() -> String) {
        if !kept {
            self.complaints.push(otherwise());
        }
    }

    /// Whether the condition was kept.
    pub(crate) fn verdict(&self) -> Verdict {
        match self.complaints.as_slice() {
            [] => Verdict::Pass,
            complaints => Verdict::Failed(complaints.join("; ")),
        }
    }
}

impl Verdict {
    /// In a word or two.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Failed(_) => "FAILED",
            Self::NotRun(_) => "not run",
            Self::NotHere(_) => "not here",
        }
    }

    /// Why it is no pass.
    pub(crate) fn why(&self) -> Option<&str> {
        match self {
            Self::Pass => None,
            Self::Failed(why) | Self::NotRun(why) | Self::NotHere(why) => Some(why),
        }
    }
}
