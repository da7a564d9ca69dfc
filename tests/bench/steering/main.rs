//! DNS questions that are steered, put to a gateway and to other name servers in turn; prints one table.
//! `tests/bench/dns` starts it.

#![allow(clippy::print_stdout, reason = "a benchmark is there to print")]

mod geography;
mod load;
mod options;
mod process;
mod report;
mod servers;

use std::process::ExitCode;

use load::{Kind, Questions};
use options::Options;
use report::Report;
use servers::Servers;

fn main() -> ExitCode {
    let options = match Options::read(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(complaint) => {
            println!("{complaint}");
            return ExitCode::FAILURE;
        }
    };
    process::pin_to(process::GENERATOR);
    let servers = Servers::start();
    servers.print_agreement();
    let mut report = Report::default();
    for round in 0..options.rounds {
        for kind in Kind::ALL {
            let questions = Questions::new(kind);
            for server in servers.in_turn(round) {
                report.add(server.name, kind, server.busy(&questions, options.seconds));
                report.add_latency(
                    server.name,
                    kind,
                    server.paced(&questions, options.rate, options.seconds),
                );
            }
        }
    }
    report.print(&options)
}
