//! What the parts of the simulator promise to its scenarios.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::simulator::finding::{Finding, Spread, Verdict};
use crate::simulator::options::{Asked, Options};
use crate::simulator::probe::{Probed, paths};
use crate::simulator::progress::Progress;
use crate::simulator::runner::{Outcome, one};
use crate::simulator::scenarios::Scenario;
use crate::simulator::turns::order;
use crate::simulator::{Ground, Settings, project};

#[test]
fn a_recording_is_taken_as_it_is_and_what_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::default();
    assert_eq!(project::recording(&options, folder.path()), Ok(options.project.clone()));
    let options = Options { project: "nothing.json".into(), ..options };
    let complaint = project::recording(&options, folder.path()).unwrap_err();
    assert!(complaint.contains("cannot read nothing.json"), "{complaint}");
    assert!(project::of(&options).unwrap_err().contains("nothing.json"));
}

fn parse(line: &str) -> Result<Asked, String> {
    Options::parse(line.split_whitespace().map(str::to_owned))
}

#[test]
fn options_are_read() {
    let Ok(Asked::Run(options)) =
        parse("--bench --scenarios 1,3-4,3 --project one.json --minutes 2 --seed 0 --loopback")
    else {
        panic!("these are options");
    };
    assert_eq!(options.scenarios, [1, 3, 4]);
    assert_eq!((options.project.to_str(), options.packages), (Some("one.json"), None));
    assert_eq!((options.time, options.seed, options.loopback), (Duration::from_secs(120), 0, true));
    assert_eq!(parse("--help"), Ok(Asked::Help));
    assert_eq!(parse("--seed 7 --list"), Ok(Asked::List));
}

#[test]
fn what_is_no_option_is_named() {
    for (line, said) in [
        ("--scenario 1", "--scenario is no option"),
        ("--scenarios 1,99", "no scenario 99"),
        ("--scenarios 4-3", "--scenarios 4-3"),
        ("--scenarios one", "--scenarios one"),
        ("--pairs 0", "--pairs 0: write a number from 1"),
        ("--minutes -1", "--minutes -1"),
        ("--bandwidth fast", "--bandwidth fast"),
        ("--seed", "--seed wants a value"),
        ("--clients 201", "--clients 201: write a number from 1 to 200"),
    ] {
        let complaint = parse(line).expect_err(line);
        assert!(complaint.contains(said), "{complaint}");
    }
}

#[test]
fn the_median_is_between_and_of_nothing_there_is_none() {
    let spread = Spread::of([3.0, 1.0, 2.0, 10.0]).unwrap();
    assert_eq!((spread.median, spread.least, spread.most, spread.count), (2.5, 1.0, 10.0, 4));
    assert_eq!(Spread::of([]), None);
}

#[test]
fn a_percentile_is_a_request_that_was_made() {
    let probed = Probed::of((1..=100).rev().map(f64::from).collect());
    assert_eq!((probed.p50, probed.p99), (50.0, 99.0));
    let probed = Probed::of(vec![3.0, 1.0, 2.0]);
    assert_eq!((probed.p50, probed.p99), (2.0, 3.0));
}

#[test]
fn one_part_that_was_not_kept_is_a_failure_and_says_why() {
    let mut finding = Finding::default();
    finding.require(true, || "not this".to_owned());
    assert_eq!(finding.verdict(), Verdict::Pass);
    finding.require(false, || "too slow".to_owned());
    finding.require(true, || "nor this".to_owned());
    assert_eq!(finding.verdict(), Verdict::Failed("too slow".to_owned()));
}

#[test]
fn each_begins_in_its_turn() {
    let rounds: Vec<Vec<usize>> = (0..3).map(|round| order(1, round, 3).collect()).collect();
    assert_eq!(rounds, [[1, 2, 0], [2, 0, 1], [0, 1, 2]]);
}

#[test]
fn a_lockfile_leads_to_packuments_and_tarballs() {
    let lockfile = r#"{"packages": {
        "": {"name": "a-project"},
        "node_modules/@scope/right": {"resolved": "https://registry.example/@scope/right/-/right-1.1.0.tgz"},
        "node_modules/link": {"link": true}
    }}"#;
    assert_eq!(paths(lockfile.as_bytes()), ["/@scope/right", "/@scope/right/-/right-1.1.0.tgz"]);
}

static QUICK: Scenario = Scenario {
    number: 201,
    name: "one that finds nothing",
    condition: "none",
    needs_namespaces: false,
    play: |_, _| Finding::default(),
};
static BROKEN: Scenario = Scenario { number: 202, play: |_, _| panic!("a leg is off"), ..QUICK };
static LONG: Scenario = Scenario {
    number: 203,
    play: |_, _| loop {
        thread::park();
    },
    ..QUICK
};
static ELSEWHERE: Scenario = Scenario { number: 204, needs_namespaces: true, ..BROKEN };

static HALF: Scenario = Scenario {
    number: 205,
    play: |_, progress| {
        progress.measured("24.90 s");
        panic!("the other leg is off")
    },
    ..QUICK
};

fn verdict(scenario: &'static Scenario, within: Duration) -> Verdict {
    outcome(scenario, within).verdict
}

fn outcome(scenario: &'static Scenario, within: Duration) -> Outcome {
    let options = Options { packages: Some(1), ..Options::default() };
    let project = project::of(&options).unwrap();
    let settings = Settings { options, ground: Ground::Loopback("a test".to_owned()), project };
    one(scenario, &Arc::new(settings), &Progress::new(), Instant::now() + within)
}

#[test]
fn only_what_was_played_to_its_end_can_pass() {
    let (soon, later) = (Duration::from_millis(500), Duration::from_secs(60));
    assert_eq!(verdict(&QUICK, later), Verdict::Pass);
    assert_eq!(verdict(&BROKEN, later), Verdict::Failed("it broke: a leg is off".to_owned()));
    assert!(matches!(verdict(&LONG, soon), Verdict::Failed(why) if why.contains("ended")));
    assert!(matches!(verdict(&QUICK, Duration::ZERO), Verdict::NotRun(_)));
    assert!(matches!(verdict(&ELSEWHERE, later), Verdict::NotHere(_)));
}

#[test]
fn what_was_measured_before_it_broke_is_told() {
    let notes = outcome(&HALF, Duration::from_secs(60)).finding.notes;
    assert!(matches!(notes.as_slice(), [only] if only.contains("24.90 s")), "{notes:?}");
}
