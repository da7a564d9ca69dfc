//! The HTML file: what was asked for and found, with a plot of each figure.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::SystemTime;

use harness::binary;

use super::plot::plot;
use crate::simulator::finding::Figure;
use crate::simulator::options::Options;
use crate::simulator::runner::{Outcome, Played};
use crate::simulator::{Ground, Settings};

const STYLE: &str = "\
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#222;background:#fff}\
h2{margin-top:2.5rem;border-top:1px solid #ccc;padding-top:1rem}h3{font-size:1rem;margin:1.2rem 0 .2rem}\
table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.15rem .8rem .15rem 0;text-align:left;vertical-align:top}\
svg{max-width:100%;height:auto;display:block}svg rect{fill:#7aa6d8}svg line{stroke:#1b3a5c;stroke-width:2}\
svg text{font:12px system-ui,sans-serif}svg text.of{text-anchor:end}\
.pass{color:#176f2c}.failed{color:#b00020}.other{color:#8a5a00}small{color:#555}";

/// The whole page.
pub(crate) fn page(played: &Played) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>open-registry: simulator</title>\
         <style>{STYLE}</style></head><body>\n<h1>open-registry: a federation in a box</h1>\n"
    );
    html.push_str(&facts(played));
    html.push_str(&verdicts(&played.outcomes));
    for outcome in &played.outcomes {
        html.push_str(&section(outcome));
    }
    html.push_str("</body></html>\n");
    html
}

/// Text that is to be shown as it is.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Of the project.
fn name(options: &Options) -> String {
    match options.packages {
        Some(_) => "synthetic".to_owned(),
        None => options.project.file_name().unwrap_or_default().display().to_string(),
    }
}

/// What a reader has to know to get the same.
fn facts(played: &Played) -> String {
    let Settings { options, ground, project } = played.settings.as_ref();
    let ground = match ground {
        Ground::Namespaces => "in network namespaces, with LANs and a link of their own".to_owned(),
        Ground::Loopback(why) => {
            format!("on loopback ({why}): no bandwidth, no LANs; bytes are bodies as upstream counts them")
        }
    };
    let rows = [
        ("program", version()),
        ("when", humantime::format_rfc3339_seconds(SystemTime::now()).to_string()),
        ("took", format!("{:.0} s", played.took.as_secs_f64())),
        ("machine", machine()),
        ("where", ground),
        ("project", format!("{}: {} packages in the registry", name(options), project.packages.len())),
        ("command line", env::args().skip(1).collect::<Vec<_>>().join(" ")),
        ("rounds of what is compared", options.pairs.to_string()),
        ("seed", options.seed.to_string()),
        ("upstream's link", format!("{} Mbit/s in each direction", options.bandwidth)),
        ("a round trip to upstream", format!("{} ms", options.round_trip.as_millis())),
    ];
    let row =
        |(what, value): &(&str, String)| format!("<tr><th>{what}</th><td>{}</td></tr>\n", escaped(value));
    format!(
        "<table>\n{}</table>\n<p><small>A figure is the median of its rounds, with the smallest and the largest. In a plot a \
         bar is the median, and a line goes from the smallest to the largest.</small></p>\n",
        rows.iter().map(row).collect::<String>()
    )
}

fn verdicts(outcomes: &[Outcome]) -> String {
    let row = |outcome: &Outcome| {
        let number = outcome.scenario.number;
        format!(
            "<tr><td><a href=\"#s{number}\">{number}</a></td><td>{}</td><td>{}</td></tr>\n",
            escaped(outcome.scenario.name),
            verdict(outcome)
        )
    };
    format!("<table>\n{}</table>\n", outcomes.iter().map(row).collect::<String>())
}

fn verdict(outcome: &Outcome) -> String {
    let class = match outcome.verdict.word() {
        "pass" => "pass",
        "FAILED" => "failed",
        _ => "other",
    };
    let why = outcome.verdict.why().map(|why| format!(": {}", escaped(why))).unwrap_or_default();
    format!("<b class=\"{class}\">{}</b>{why}", outcome.verdict.word())
}

fn section(outcome: &Outcome) -> String {
    let scenario = outcome.scenario;
    let mut html = format!(
        "<h2 id=\"s{0}\">{0}. {1}</h2>\n<p>{2} <small>({3:.0} s)</small></p>\n<p>Condition: {4}</p>\n",
        scenario.number,
        escaped(scenario.name),
        verdict(outcome),
        outcome.took.as_secs_f64(),
        escaped(scenario.condition)
    );
    for note in &outcome.finding.notes {
        writeln!(html, "<p><small>{}</small></p>", escaped(note)).expect("a write to memory");
    }
    for (what, figures) in by_subject(&outcome.finding.figures) {
        writeln!(html, "<h3>{}</h3>\n{}", escaped(what), plot(&figures)).expect("a write to memory");
    }
    html
}

/// Figures of one thing together, in the order in which each thing came first.
fn by_subject(figures: &[Figure]) -> Vec<(&str, Vec<&Figure>)> {
    let mut subjects: Vec<(&str, Vec<&Figure>)> = Vec::new();
    for figure in figures {
        match subjects.iter_mut().find(|(what, _)| *what == figure.what) {
            Some((_, others)) => others.push(figure),
            None => subjects.push((&figure.what, vec![figure])),
        }
    }
    subjects
}

/// What the program says of itself.
fn version() -> String {
    let said = Command::new(binary()).arg("--version").output();
    said.map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned()).unwrap_or_default()
}

/// Its processors, its kernel, and how busy it is now.
fn machine() -> String {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default().trim().to_owned();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{cores} processors, Linux {}, load {}",
        read("/proc/sys/kernel/osrelease"),
        read("/proc/loadavg")
    )
}
