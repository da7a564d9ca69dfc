//! One table: what was measured, what the design wants, and whether it is there; and the same as JSON.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::options::Options;

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// A median between the smallest and the largest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of at least one figure.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (sorted[0], sorted[sorted.len() - 1]);
        let median = (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0;
        Self { median, least, most }
    }
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) row: String,
    /// What the figure is: "nginx's CPU / ours".
    pub(crate) what: String,
    pub(crate) measured: Spread,
    /// What design section 14 wants, and where it starts to be acceptable.
    pub(crate) wanted: (f64, f64),
    pub(crate) better: Better,
    /// The measurements behind it, for whoever wants to know.
    pub(crate) note: String,
}

impl Finding {
    fn verdict(&self) -> &'static str {
        let reaches = |limit: f64| match self.better {
            Better::Higher => self.measured.median >= limit,
            Better::Lower => self.measured.median <= limit,
        };
        match self.wanted {
            (figure, _) if reaches(figure) => "pass",
            (_, floor) if reaches(floor) => "above the floor",
            _ => "SHORT",
        }
    }

    fn json(&self) -> Value {
        let Spread { median, least, most } = self.measured;
        json!({
            "row": self.row, "what": self.what, "median": median, "min": least, "max": most,
            "figure": self.wanted.0, "floor": self.wanted.1, "verdict": self.verdict(), "note": self.note,
        })
    }
}

/// The table as it grows; each line is printed when it is known.
#[derive(Debug)]
pub(crate) struct Report {
    findings: Vec<Finding>,
    left_out: Vec<String>,
    json: PathBuf,
}

impl Report {
    pub(crate) fn new(options: &Options) -> Self {
        println!(
            "{:<30} {:<24} {:>8} {:>17} {:>7} {:>7}  {:<16} medians",
            "row", "measured", "median", "min - max", "figure", "floor", ""
        );
        Self { findings: Vec::new(), left_out: Vec::new(), json: options.json.clone() }
    }

    pub(crate) fn add(&mut self, finding: Finding) {
        let Spread { median, least, most } = finding.measured;
        println!(
            "{:<30} {:<24} {:>8.2} {:>8.2} -{:>7.2} {:>7.2} {:>7.2}  {:<16} {}",
            finding.row,
            finding.what,
            median,
            least,
            most,
            finding.wanted.0,
            finding.wanted.1,
            finding.verdict(),
            finding.note
        );
        self.findings.push(finding);
    }

    /// What could not be measured, and why.
    pub(crate) fn leave_out(&mut self, what: &str, why: &str) {
        println!("{what:<30} left out: {}", why.lines().next().unwrap_or_default());
        self.left_out.push(format!("{what}: {why}"));
    }

    /// Writes the JSON.
    pub(crate) fn finish(&self) {
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let findings: Vec<Value> = self.findings.iter().map(Finding::json).collect();
        let whole = json!({"findings": findings, "left out": self.left_out, "load at the end": load.trim()});
        fs::write(&self.json, format!("{whole:#}\n")).expect("the report can be written");
        println!("load at the end: {}; all figures: {}", load.trim(), self.json.display());
    }
}
