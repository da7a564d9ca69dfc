//! Promise: the short set of the simulator passes: what is installed twice comes faster, a gateway without Internet serves what
//! another has, and five gateways take as much of the Internet as one.
//!
//! The project is small and each comparison is made once; Verdaccio is left out. The whole set: tests/simulator.

#![allow(clippy::unwrap_used, reason = "in a test, also outside of its function, a panic is a failure")]

#[path = "simulator/boxed.rs"]
mod boxed;
#[path = "simulator/enclosure.rs"]
mod enclosure;
#[path = "simulator/parts.rs"]
mod parts;
mod simulator;

use harness::in_own_network;
use simulator::Ground;
use simulator::options::{Asked, Options};

const LINE: &str = "--scenarios 1-4 --packages 16 --pairs 1 --probes 20 --minutes 10 --without-verdaccio";

#[test]
fn the_short_set_passes_and_its_report_says_so() {
    in_own_network("the_short_set_passes_and_its_report_says_so", &[], || {
        let folder = tempfile::tempdir().unwrap();
        let report = folder.path().join("report.html");
        let Ok(Asked::Run(options)) = Options::parse(LINE.split(' ').map(str::to_owned)) else {
            panic!("{LINE}")
        };
        let options = Options { report: report.clone(), ..options };
        assert_eq!(simulator::run(&options, Ground::Namespaces), Ok(true));
        let page = std::fs::read_to_string(report).unwrap();
        assert_eq!(page.matches("<b class=\"pass\">").count(), 2 * options.scenarios.len());
        assert!(!page.contains("src=") && !page.contains("://"), "it asks for nothing");
    });
}

#[test]
fn every_scenario_is_listed_with_its_condition_and_help_names_every_option() {
    let list = simulator::scenarios::list();
    for scenario in simulator::scenarios::ALL {
        assert!(list.contains(scenario.name) && list.contains(scenario.condition));
    }
    let options = include_str!("simulator/options.rs");
    let read: Vec<&str> =
        options.split("            \"--").skip(1).filter_map(|line| line.split('"').next()).collect();
    assert!(read.len() >= 15, "{read:?}");
    for option in read.iter().filter(|option| **option != "bench") {
        assert!(Options::usage().contains(&format!("--{option}")), "{option}");
    }
}
