//! Plays one scenario after the other, within the time. One that breaks has failed, and so has one that is ended.

use std::any::Any;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::finding::{Finding, Verdict};
use super::progress::Progress;
use super::scenarios::{self, Scenario};
use super::{Ground, Settings};

/// All that was found.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) settings: Arc<Settings>,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) took: Duration,
}

/// What became of one scenario.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) scenario: &'static Scenario,
    pub(crate) finding: Finding,
    pub(crate) verdict: Verdict,
    pub(crate) took: Duration,
}

/// Plays those that are asked for, and says after each what was found so far. What was ended may still run in the background, for which there is nothing left to
/// do: the program ends soon, and everything ends with it.
pub(crate) fn play(
    settings: &Arc<Settings>,
    progress: &Progress,
    mut found: impl FnMut(&Played) -> Result<(), String>,
) -> Result<Played, String> {
    let end = progress.start() + settings.options.time;
    let mut played = Played { settings: Arc::clone(settings), outcomes: Vec::new(), took: Duration::ZERO };
    for scenario in settings.options.scenarios.iter().filter_map(|number| scenarios::find(*number)) {
        played.outcomes.push(one(scenario, settings, &progress.of(scenario.number), end));
        played.took = progress.start().elapsed();
        found(&played)?;
    }
    Ok(played)
}

pub(crate) fn one(
    scenario: &'static Scenario,
    settings: &Arc<Settings>,
    progress: &Progress,
    end: Instant,
) -> Outcome {
    let started = Instant::now();
    let (finding, verdict) = match &settings.ground {
        Ground::Loopback(_) if scenario.needs_namespaces => {
            (Finding::default(), Verdict::NotHere("it needs namespaces".to_owned()))
        }
        _ if started >= end => (Finding::default(), Verdict::NotRun("the time was over".to_owned())),
        _ => {
            progress.step(scenario.name);
            within(scenario, settings, progress, end)
        }
    };
    let why = verdict.why().map(|why| format!(": {why}")).unwrap_or_default();
    progress.step(&format!("{}{why}", verdict.word()));
    Outcome { scenario, finding, verdict, took: started.elapsed() }
}

fn within(
    scenario: &'static Scenario,
    settings: &Arc<Settings>,
    progress: &Progress,
    end: Instant,
) -> (Finding, Verdict) {
    let (found, finding) = sync_channel(1);
    let (settings, progress) = (Arc::clone(settings), progress.clone());
    let told = progress.clone();
    let playing = thread::spawn(move || {
        let finding = (scenario.play)(&settings, &told);
        // Nobody waits for what comes too late.
        let _ = found.send(finding);
    });
    match finding.recv_timeout(end.saturating_duration_since(Instant::now())) {
        Ok(finding) => {
            let verdict = finding.verdict();
            (finding, verdict)
        }
        Err(RecvTimeoutError::Timeout) => {
            (so_far(&progress), Verdict::Failed("it was ended: the time was over".to_owned()))
        }
        Err(RecvTimeoutError::Disconnected) => {
            let why = playing.join().err().map_or_else(String::new, |panic| said(panic.as_ref()));
            (so_far(&progress), Verdict::Failed(format!("it broke: {why}")))
        }
    }
}

/// What was measured by a scenario that has not come to its end.
fn so_far(progress: &Progress) -> Finding {
    let mut finding = Finding::default();
    for (nth, measured) in progress.so_far().iter().enumerate() {
        finding.note(&format!("measurement {} before it ended: {measured}", nth + 1));
    }
    finding
}

/// What a panic says.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words").to_owned()
}
