//! Load by wrk, a process of its own, and what it costs the server.

use std::process::Command;
use std::time::Duration;

use crate::process;

/// What is asked for, again and again.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) url: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) connections: usize,
}

/// One server under load for a while.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Answers a second.
    pub(crate) rate: f64,
    /// Microseconds of the server's CPU for one of them.
    pub(crate) cpu: f64,
}

/// Asks the server, whose process this is, for so long.
///
/// # Errors
/// When wrk cannot be run, or an answer was none of 2xx and 3xx.
pub(crate) fn run(ask: &Ask, server: u32, span: Duration) -> Result<Sample, String> {
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "--timeout", "30s", "-c", &ask.connections.to_string()]);
    wrk.args(["-d", &format!("{}s", span.as_secs())]);
    for (name, value) in &ask.headers {
        wrk.arg("-H").arg(format!("{name}: {value}"));
    }
    let before = process::cpu(server);
    let output = wrk.arg(&ask.url).output().map_err(|error| format!("wrk: {error}"))?;
    let used = process::cpu(server) - before;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() || said.contains("Non-2xx") || said.contains("Socket errors") {
        return Err(format!("{}: {said}{}", ask.url, String::from_utf8_lossy(&output.stderr)));
    }
    let requests = figure(&said, |line| line.split_once(" requests in ").map(|(count, _)| count));
    let rate = figure(&said, |line| line.trim().strip_prefix("Requests/sec:"));
    match (requests, rate) {
        (Some(requests), Some(rate)) if requests > 0.0 => Ok(Sample { rate, cpu: used * 1e6 / requests }),
        _ => Err(format!("{}: no answer within {span:?}", ask.url)),
    }
}

fn figure(said: &str, of: impl Fn(&str) -> Option<&str>) -> Option<f64> {
    said.lines().find_map(|line| of(line)?.trim().parse().ok())
}
