//! One table: each server's figures, and the gateway's beside gdnsd's, round by round.

use std::collections::BTreeMap;
use std::process::ExitCode;

use super::load::{Kind, Latency};
use super::options::Options;
use super::servers::{Busy, GATEWAY, GDNSD};

/// What the CPU per query may be of gdnsd's, and where it starts to be acceptable.
const WANTED_CPU: (f64, f64) = (1.15, 1.6);

/// All figures, by what was asked, name of the figure and server, in the order of the rounds.
#[derive(Debug, Default)]
pub(crate) struct Report {
    figures: BTreeMap<(Kind, Figure), BTreeMap<&'static str, Vec<f64>>>,
    lost: BTreeMap<&'static str, u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Figure {
    Cpu,
    Rate,
    Median,
    Slowest,
}

impl Figure {
    fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPU us/query",
            Self::Rate => "k queries/s",
            Self::Median => "p50 us",
            Self::Slowest => "p99 us",
        }
    }
}

impl Report {
    pub(crate) fn add(&mut self, server: &'static str, kind: Kind, busy: Busy) {
        self.put(server, kind, Figure::Cpu, busy.cpu * 1e6);
        self.put(server, kind, Figure::Rate, busy.rate / 1e3);
        *self.lost.entry(server).or_default() += busy.lost;
    }

    pub(crate) fn add_latency(&mut self, server: &'static str, kind: Kind, latency: Latency) {
        self.put(server, kind, Figure::Median, latency.p50.as_secs_f64() * 1e6);
        self.put(server, kind, Figure::Slowest, latency.p99.as_secs_f64() * 1e6);
        *self.lost.entry(server).or_default() += latency.lost;
    }

    fn put(&mut self, server: &'static str, kind: Kind, figure: Figure, value: f64) {
        self.figures.entry((kind, figure)).or_default().entry(server).or_default().push(value);
    }

    /// Prints all of it; fails where the gateway's CPU per query is above the floor.
    pub(crate) fn print(&self, options: &Options) -> ExitCode {
        println!(
            "{} rounds, one core each; latency at {} queries/s; medians\n",
            options.rounds, options.rate
        );
        let servers: Vec<&str> = self.lost.keys().copied().collect();
        println!("{:20} {} {GATEWAY}/{GDNSD} (least-most)", "", columns(&servers));
        let mut short = false;
        for ((kind, figure), values) in &self.figures {
            let medians = servers.iter().map(|server| format!("{:.2}", spread(&values[server]).0));
            let ratio = spread(&ratios(&values[GATEWAY], &values[GDNSD]));
            let verdict = if *figure == Figure::Cpu { verdict(ratio.0) } else { "" };
            short |= verdict == "SHORT";
            println!(
                "{:20} {} {:.2} ({:.2}-{:.2}) {verdict}",
                format!("{} {}", kind.name(), figure.name()),
                columns(&medians.collect::<Vec<_>>()),
                ratio.0,
                ratio.1,
                ratio.2
            );
        }
        println!("{:20} {}", "lost", columns(&self.lost.values().map(u32::to_string).collect::<Vec<_>>()));
        if short { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

fn columns<T: AsRef<str>>(cells: &[T]) -> String {
    cells.iter().map(|cell| format!("{:>10}", cell.as_ref())).collect()
}

fn ratios(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect()
}

/// Median, smallest and largest.
fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len() - 1;
    ((sorted[last / 2] + sorted[sorted.len() / 2]) / 2.0, sorted[0], sorted[last])
}

fn verdict(ratio: f64) -> &'static str {
    match ratio {
        _ if ratio <= WANTED_CPU.0 => "pass",
        _ if ratio <= WANTED_CPU.1 => "above the floor",
        _ => "SHORT",
    }
}
