//! Compares a gateway with its neighbours, in one run on one machine, and prints one table. `tests/bench/run` starts it.

#![allow(clippy::print_stdout, reason = "a benchmark is there to print")]

mod installs;
mod load;
mod memory;
mod neighbours;
mod options;
mod process;
mod project;
mod report;
mod upstream;
mod warm;

use std::process::ExitCode;

use options::Options;
use report::Report;

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(complaint) => {
            println!("{complaint}");
            return ExitCode::FAILURE;
        }
    };
    let mut report = Report::new(&options);
    warm::measure(&options, &mut report);
    installs::measure(&options, &mut report);
    memory::measure(&options, &mut report);
    report.finish();
    ExitCode::SUCCESS
}
