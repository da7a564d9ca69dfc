//! Resident memory of the gateway: idle, after a thousand packages, and under load.

use std::thread;

use crate::load::{self, Ask};
use crate::options::Options;
use crate::process::{forget_peak, peak, resident};
use crate::project::{HELD, fetch, project};
use crate::report::{Better, Finding, Report, Spread};
use crate::upstream::Upstream;
use crate::warm;

/// Packages that are fetched at once.
const TOGETHER: usize = 16;
/// Bytes of our own choosing for what design section 14 says nothing about: the bound that tests/memory.rs keeps.
const UNDER_LOAD: (f64, f64) = (200.0, 268.0);

pub(crate) fn measure(options: &Options, report: &mut Report) {
    if options.wants("memory-idle", false) || options.wants("memory-1000-packages", false) {
        let upstream = Upstream::of(project().packages);
        let gateway = upstream.gateway();
        add(report, "memory-idle", resident(gateway.pid()), (40.0, 60.0), String::new());
        thread::scope(|scope| {
            for worker in 0..TOGETHER {
                let gateway = &gateway;
                scope.spawn(move || (worker..HELD).step_by(TOGETHER).for_each(|nth| fetch(gateway, nth)));
            }
        });
        let note = format!("peak {:.0} MB; both forms and a tarball of each", peak(gateway.pid()));
        add(report, "memory-1000-packages", resident(gateway.pid()), (100.0, 150.0), note);
    }
    if options.wants("memory-under-load", false) {
        under_load(options, report);
    }
}

fn under_load(options: &Options, report: &mut Report) {
    let upstream = warm::upstream();
    let gateway = upstream.gateway();
    forget_peak(gateway.pid());
    for (path, coding) in
        [("/forty", "gzip"), ("/most", "gzip"), ("/largest", "gzip"), ("/largest", "identity")]
    {
        let headers = vec![("Accept", "application/json".to_owned()), ("Accept-Encoding", coding.to_owned())];
        let ask = Ask { url: format!("{}{path}", gateway.url()), headers, connections: 64 };
        if let Err(why) = load::run(&ask, gateway.pid(), options.span() * 3) {
            return report.leave_out("memory-under-load", &why);
        }
    }
    let note = "peak with 64 connections, documents up to 40 MB".to_owned();
    add(report, "memory-under-load", peak(gateway.pid()), UNDER_LOAD, note);
}

fn add(report: &mut Report, row: &str, megabytes: f64, wanted: (f64, f64), note: String) {
    report.add(Finding {
        row: row.to_owned(),
        what: "resident, MB".to_owned(),
        measured: Spread::of([megabytes]),
        wanted,
        better: Better::Lower,
        note,
    });
}
