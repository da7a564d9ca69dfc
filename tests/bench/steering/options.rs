//! How often is measured, and how long.

use std::time::Duration;

const USAGE: &str = "\
tests/bench/dns [--rounds N] [--seconds S] [--rate QPS]
    --rounds    how often everybody has a turn: 5
    --seconds   how long a turn is: 2, and the same again for the latency
    --rate      questions per second while latency is measured: 10000";

/// What the command line says.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) rounds: usize,
    pub(crate) seconds: Duration,
    pub(crate) rate: u32,
}

impl Options {
    /// Reads the arguments; a complaint is for whoever typed them.
    pub(crate) fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { rounds: 5, seconds: Duration::from_secs(2), rate: 10_000 };
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let value = arguments.next().and_then(|value| value.parse::<u32>().ok());
                value.filter(|value| *value > 0).ok_or_else(|| format!("{argument} wants a number\n{USAGE}"))
            };
            match argument.as_str() {
                "--rounds" => options.rounds = number()? as usize,
                "--seconds" => options.seconds = Duration::from_secs(number()?.into()),
                "--rate" => options.rate = number()?,
                // Cargo's own, to whatever it runs as a benchmark.
                "--bench" => {}
                "--help" => return Err(USAGE.to_owned()),
                _ => return Err(format!("{argument}?\n{USAGE}")),
            }
        }
        Ok(options)
    }
}
