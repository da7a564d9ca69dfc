//! What is measured, how often, and how long.

use std::path::PathBuf;
use std::time::Duration;

const USAGE: &str = "\
tests/bench/run [--quick] [--only ROW,...] [--pairs N] [--json FILE]
    --quick   the warm rows and the memory, briefly: about two minutes
    --only    rows whose names begin so: tarball-20k,304
    --pairs   how often each pair is measured: 5, with --quick 3
    --json    where the figures are written besides, instead of bench.json in the target directory";

/// What the command line says.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    only: Vec<String>,
    pairs: Option<usize>,
    pub(crate) json: PathBuf,
}

impl Options {
    /// Reads the arguments; a complaint is for whoever typed them.
    pub(crate) fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options =
            Self { quick: false, only: Vec::new(), pairs: None, json: PathBuf::from("bench.json") };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} wants a value\n{USAGE}"));
            match argument.as_str() {
                "--quick" => options.quick = true,
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                "--pairs" => options.pairs = Some(pairs(&value()?)?),
                "--json" => options.json = value()?.into(),
                // Cargo's own, to whatever it runs as a benchmark.
                "--bench" => {}
                _ => return Err(format!("{argument}?\n{USAGE}")),
            }
        }
        Ok(options)
    }

    /// Whether this row is measured: `--quick` leaves out what takes minutes, unless it is named.
    pub(crate) fn wants(&self, row: &str, takes_minutes: bool) -> bool {
        if self.only.is_empty() {
            return !(self.quick && takes_minutes);
        }
        self.only.iter().any(|start| row.starts_with(start.as_str()))
    }

    /// How often each pair is measured.
    pub(crate) fn pairs(&self) -> usize {
        self.pairs.unwrap_or(if self.quick { 3 } else { 5 })
    }

    /// How long one server is under load at a time.
    pub(crate) fn span(&self) -> Duration {
        Duration::from_secs(if self.quick { 1 } else { 2 })
    }
}

fn pairs(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|pairs| *pairs > 0).ok_or_else(|| format!("{text} pairs?\n{USAGE}"))
}
