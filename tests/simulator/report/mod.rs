//! What was found: a table on the terminal, and one HTML file with plots that needs no network.

mod page;
mod plot;

pub(crate) use page::page;

use super::finding::Figure;
use super::runner::{Outcome, Played};

/// Prints a line for each figure of a scenario, and its verdict.
#[expect(clippy::print_stdout, reason = "a table is what it is for")]
pub(crate) fn print(outcome: &Outcome) {
    let scenario = outcome.scenario;
    println!("\n{}  {}", scenario.number, scenario.name);
    let figures = &outcome.finding.figures;
    let widest = |name: fn(&Figure) -> &str| figures.iter().map(|one| name(one).len()).max().unwrap_or(0);
    let (what, of) = (widest(|figure| &figure.what), widest(|figure| &figure.of));
    for figure in figures {
        println!("   {:what$}  {:of$}  {}", figure.what, figure.of, figure.spread.show(figure.unit));
    }
    for note in &outcome.finding.notes {
        println!("   ({note})");
    }
    println!("   condition: {}", scenario.condition);
    println!("   {}\n", verdict(outcome));
}

/// Prints a line for each scenario.
#[expect(clippy::print_stdout, reason = "it is what remains to be seen")]
pub(crate) fn sum_up(played: &Played) {
    for outcome in &played.outcomes {
        println!("{}  {}  {}", outcome.scenario.number, outcome.scenario.name, verdict(outcome));
    }
}

fn verdict(outcome: &Outcome) -> String {
    let why = outcome.verdict.why().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{}{why}  [{:.0} s]", outcome.verdict.word(), outcome.took.as_secs_f64())
}
