//! A federation in a box, which shows whether it is worth running: `cargo bench --workspace --bench simulator`.
//!
//! README.md says what each scenario shows. This is the program around them; `mod.rs` is the tour of the rest.

mod enclosure;
#[path = "mod.rs"]
mod simulator;

use std::process::ExitCode;

use simulator::options::{Asked, Options};

/// For a command line that is none.
const MISUSED: u8 = 2;

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)) {
        Ok(Asked::Run(options)) => enclosure::run(&options, simulator::run),
        Ok(Asked::Help) => say(Options::usage()),
        Ok(Asked::List) => say(&simulator::scenarios::list()),
        Err(complaint) => {
            complain(&format!("{complaint}\n(--help says what can be asked for)"));
            ExitCode::from(MISUSED)
        }
    }
}

#[expect(clippy::print_stdout, reason = "that is what was asked for")]
fn say(text: &str) -> ExitCode {
    println!("{}", text.trim_end());
    ExitCode::SUCCESS
}

#[expect(clippy::print_stderr, reason = "for whoever typed the command")]
fn complain(text: &str) {
    eprintln!("simulator: {text}");
}
