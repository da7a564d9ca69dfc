//! What was found: a table on the terminal, and one HTML file with plots that needs no network.

mod page;
mod plot;

pub(crate) use page::page;

use super::runner::Played;

/// How wide the names of figures are.
const WIDTH: usize = 44;

/// Prints a line for each figure and each verdict.
#[expect(clippy::print_stdout, reason = "a table is what it is for")]
pub(crate) fn print(played: &Played) {
    for outcome in &played.outcomes {
        let scenario = outcome.scenario;
        println!("\n{}  {}", scenario.number, scenario.name);
        for figure in &outcome.finding.figures {
            let shown = figure.spread.show(figure.unit);
            println!("   {:WIDTH$} {:WIDTH$} {shown}", figure.what, figure.of);
        }
        for note in &outcome.finding.notes {
            println!("   ({note})");
        }
        println!("   condition: {}", scenario.condition);
        let why = outcome.verdict.why().map(|why| format!(": {why}")).unwrap_or_default();
        println!("   {}{why}  [{:.0} s]", outcome.verdict.word(), outcome.took.as_secs_f64());
    }
    println!();
}
