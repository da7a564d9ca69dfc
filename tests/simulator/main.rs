//! A federation in a box, which shows whether it is worth running: `cargo bench --workspace --bench simulator`.
//!
//! README.md says what each scenario shows. This is the program around them; `mod.rs` is the tour of the rest.

mod enclosure;
#[path = "mod.rs"]
mod simulator;

use std::ffi::OsString;
use std::process::ExitCode;

use enclosure::complain;
use simulator::options::{Asked, Options};

/// For a command line that is none.
const MISUSED: u8 = 2;

fn main() -> ExitCode {
    let again: Vec<OsString> = std::env::args_os().skip(1).collect();
    match Options::parse(std::env::args().skip(1)) {
        Ok(Asked::Run(options)) => enclosure::run(&options, &again, simulator::run),
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
