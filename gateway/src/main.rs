//! The program `open-registry`: its command line, its runtime, and its last words.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use gateway::command::{self, Command, Task};
use gateway::config::{Config, Loaded};
use gateway::service::Handed;
use gateway::terminal::UntilClosed;
use gateway::{doctor, explain, gateway::run, log, open_files, resolve, setup, status, warm};
use resolver::peer::PeerId;
use rustls::crypto::aws_lc_rs;

/// How long work that cannot be stopped may go on when all else has ended.
const LAST_WAIT: Duration = Duration::from_secs(1);
/// The exit status of what Ctrl-C has ended, as shells give it: 128 and SIGINT's number.
const STOPPED: u8 = 130;

fn main() -> ExitCode {
    match perform(&Command::parse()) {
        Ok(outcome) => outcome,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn perform(command: &Command) -> anyhow::Result<ExitCode> {
    let loaded = command.load()?;
    let (mut out, mut notes) = (UntilClosed(io::stdout()), UntilClosed(io::stderr()));
    match &command.task {
        Some(Task::Check) => command::check(&loaded, &mut out)?,
        Some(Task::Config) => command::config(&loaded, &mut out)?,
        Some(Task::Setup(request)) => {
            let own = if request.is_about_peers() { own_id(&loaded.config)? } else { None };
            setup::run(request, &loaded.config, own, &mut out, &mut notes)?;
        }
        Some(Task::Status) => show_status(&loaded.config, &mut out)?,
        Some(Task::Doctor(request)) => return examine(request, &loaded),
        Some(Task::Explain(request)) => explain_to(request, &loaded.config)?,
        Some(Task::Resolve(request)) => look_up(request, &loaded.config)?,
        Some(Task::Warm(request)) => return warm_up(request, &loaded.config, command.verbose()),
        None => serve(loaded.config, command.verbose())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn own_id(config: &Config) -> anyhow::Result<Option<PeerId>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(status::id(config)))
}

fn show_status(config: &Config, out: &mut impl io::Write) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(status::run(config, out))
}

/// Fails where there is a problem, as programs that look for trouble do.
fn examine(request: &doctor::Request, loaded: &Loaded) -> anyhow::Result<ExitCode> {
    let _ = aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let healthy = runtime.block_on(doctor::run(request, loaded, &mut UntilClosed(io::stdout())))?;
    runtime.shutdown_timeout(LAST_WAIT);
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn explain_to(request: &explain::Request, config: &Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut out, mut notes) = (UntilClosed(io::stdout()), UntilClosed(io::stderr()));
    runtime.block_on(explain::run(request, config, &mut out, &mut notes))
}

fn look_up(request: &resolve::Request, config: &Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(resolve::run(request, config, &mut UntilClosed(io::stdout())))
}

/// Fails where something is missing; stopped by a signal, it says so as a shell does.
fn warm_up(request: &warm::Request, config: &Config, verbose: u8) -> anyhow::Result<ExitCode> {
    if verbose > 0 {
        log::start(verbose)?;
    }
    open_files::raise();
    let _ = aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (mut out, mut notes) = (UntilClosed(io::stdout()), UntilClosed(io::stderr()));
    let ended = runtime.block_on(warm::run(request, config, &mut out, &mut notes));
    runtime.shutdown_timeout(LAST_WAIT);
    Ok(match ended? {
        warm::Ended::Whole => ExitCode::SUCCESS,
        warm::Ended::Missing => ExitCode::FAILURE,
        warm::Ended::Stopped => ExitCode::from(STOPPED),
    })
}

fn serve(config: Config, verbose: u8) -> anyhow::Result<()> {
    log::start(verbose)?;
    // Before there are threads, for it clears the environment of what it has taken.
    let handed = Handed::take()?;
    // The only provider that is linked in; a second installation could only install the same one.
    let _ = aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(run(config, handed));
    // A name that is still being resolved cannot be stopped, and must not keep the program from ending.
    runtime.shutdown_timeout(LAST_WAIT);
    ended
}

#[expect(clippy::print_stderr, reason = "last words are for whoever started the program, whatever is logged")]
fn complain(error: &anyhow::Error) {
    for line in format!("{error:#}").lines() {
        eprintln!("error: {line}");
    }
}
