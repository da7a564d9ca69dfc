//! `open-registry warm`: fetches everything that a lockfile needs, so that its project installs without a connection.
//!
//! [`lockfile`] reads it, [`order`] says what is to be fetched, [`engine`] fetches it, and [`verify`] compares
//! what has come with what the lockfile says. That is done by the gateway that
//! has the data directory ([`remote`] hands the order to its operator's listener, where [`operated`] takes it), or, when
//! there is none, by the command itself ([`local`]). [`report`] is how it ended, [`show`] what is seen meanwhile, and
//! [`sets`] keep what has come from being evicted.

mod engine;
mod local;
pub mod lockfile;
mod operated;
mod order;
mod remote;
mod report;
mod sets;
mod show;
mod verify;

use std::fs::File;
use std::io::{Read as _, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use url::Url;

use crate::config::{self, Config};
use local::Local;
use lockfile::{Lockfile, Registries};
use operated::{ORDERS, SETS};
use remote::Remote;
use report::{Event, NotTaken, Snapshot};
use sets::{Answer, Question};
use show::Show;

pub use operated::WarmUps;
pub use order::{Order, Place};

const EXAMPLE: &str = "\
Example:
  open-registry warm ~/app/package-lock.json

It can be interrupted and run again: what is there is not fetched twice. If a gateway is running on the same data
directory, the gateway fetches. What was warmed stays, whatever else comes, until `open-registry warm --forget <name>`.

The exit status is 0 only if everything is there that the registry has: 1 when something is missing, or when
everything was left out (private scopes, git, files, other hosts) and nothing taken; 130 when it was stopped.

Without a gateway the command itself writes into the data directory: run it as the user that the gateway runs as.";

/// What is to be warmed.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_help = EXAMPLE)]
pub struct Request {
    /// A package-lock.json, npm-shrinkwrap.json, pnpm-lock.yaml, yarn.lock or bun.lock
    #[arg(value_name = "lockfile", required_unless_present_any = ["list", "forget"])]
    lockfile: Option<PathBuf>,

    /// What the set of packages is called, instead of by the lockfile's path
    #[arg(long, value_name = "name")]
    name: Option<String>,

    /// Another address of the same registry that the lockfile may name; may be given more than once
    #[arg(long = "registry", value_name = "url")]
    registries: Vec<Url>,

    /// Print JSON, one object per line: progress now and then, and last the report
    #[arg(long)]
    json: bool,

    /// List what was warmed and is kept for it
    #[arg(long, conflicts_with_all = ["lockfile", "name", "registries", "forget"])]
    list: bool,

    /// Keep a set no longer: what only it needs may be evicted
    #[arg(long, value_name = "name", conflicts_with_all = ["lockfile", "name", "registries"])]
    forget: Option<String>,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything is here.
    Whole,
    /// Something is missing, or everything was left out.
    Missing,
    /// It was stopped.
    Stopped,
}

/// A warm-up under way, here or in a gateway.
enum Course {
    Local(Local),
    Remote(Remote),
}

/// Does it, and prints the report to `out` and what comes before to `notes`.
///
/// # Errors
/// When the lockfile cannot be read, or the data directory be used, or something be written.
pub async fn run(
    request: &Request,
    config: &Config,
    out: &mut impl Write,
    notes: &mut impl Write,
) -> anyhow::Result<Ended> {
    let Some(path) = &request.lockfile else {
        let done = manage(request, config, out).await?;
        return Ok(if done { Ended::Whole } else { Ended::Missing });
    };
    let dir = config::data_dir(config)?;
    let (lockfile, name) = read(path, request, config)?;
    let left_out: Vec<NotTaken> = lockfile.left_out.iter().map(NotTaken::from).collect();
    let order = Order {
        place: config.store.dir.as_deref().and_then(Place::of),
        name,
        fetch: !config.offline,
        attestations: lockfile.format.needs_attestations(),
        needs: lockfile.needs,
    };
    let mut show = Show::new(request.json, out, notes);
    let mut course = begin(config, &dir, order).await?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut far = None;
    loop {
        let event = tokio::select! {
            event = course.next() => event?,
            _ = interrupt.recv() => course.stopped(far.take()),
            _ = terminate.recv() => course.stopped(far.take()),
        };
        match event {
            Event::Progress(now) => {
                show.event(&Event::Progress(now.clone()))?;
                far = Some(now);
            }
            Event::Report(mut report) => {
                report.left_out.extend(left_out);
                let (complete, whole) = (report.complete, report.is_whole());
                show.event(&Event::Report(report))?;
                course.close().await;
                return Ok(if whole {
                    Ended::Whole
                } else if complete {
                    Ended::Missing
                } else {
                    Ended::Stopped
                });
            }
        }
    }
}

/// The gateway that has the data directory does it; without one, this process.
async fn begin(config: &Config, dir: &Path, order: Order) -> anyhow::Result<Course> {
    if let Some(operator) = operator(config) {
        let json = order.to_json().with_context(|| {
            format!("the lockfile needs more than a running gateway takes ({} MiB)", order::LONGEST >> 20)
        })?;
        if let Some(remote) = Remote::ask(operator, ORDERS, json).await? {
            return Ok(Course::Remote(remote));
        }
    }
    Ok(Course::Local(Local::begin(config, dir, order).await?))
}

/// Where a gateway may listen that has the data directory. One that was named and is not there yet is nobody's. Without
/// a name any gateway is the right one: a service has its directory from systemd, which the command cannot know.
fn operator(config: &Config) -> Option<SocketAddr> {
    let may_be = config.store.dir.as_deref().is_none_or(Path::exists);
    config.operator.listen.filter(|_| may_be)
}

/// Lists the sets, or forgets one. True if that could be done.
async fn manage(request: &Request, config: &Config, out: &mut impl Write) -> anyhow::Result<bool> {
    let place = config.store.dir.as_deref().and_then(Place::of);
    let question = Question { place, forget: request.forget.clone() };
    let asked = match operator(config) {
        Some(operator) => Remote::ask(operator, SETS, serde_json::to_vec(&question)?).await?,
        None => None,
    };
    let answer = match asked {
        Some(mut remote) => remote.next().await?,
        None => {
            let store = local::open(config, &config::data_dir(config)?).await?;
            let answer = sets::answer(&store, question).await;
            store.close().await;
            answer
        }
    };
    match request.json {
        true => writeln!(out, "{}", serde_json::to_string(&answer)?)?,
        false => answer.print(out)?,
    }
    Ok(matches!(answer, Answer::Sets(_) | Answer::Forgotten(true)))
}

/// What the lockfile says, and the name of its set.
fn read(path: &Path, request: &Request, config: &Config) -> anyhow::Result<(Lockfile, String)> {
    let shown = path.display();
    let bytes = contents(path).with_context(|| format!("cannot read {shown}"))?;
    let registries = request.registries.iter().fold(Registries::of(config), Registries::and);
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let lockfile =
        lockfile::read(&file, &bytes, &registries).with_context(|| format!("cannot use {shown}"))?;
    let name = match &request.name {
        Some(name) => name.clone(),
        None => path
            .canonicalize()
            .with_context(|| format!("cannot read {shown}"))?
            .to_string_lossy()
            .into_owned(),
    };
    order::check_name(&name).map_err(anyhow::Error::msg)?;
    Ok((lockfile, name))
}

/// One byte more than is allowed is enough to know.
fn contents(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(lockfile::LARGEST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Course {
    async fn next(&mut self) -> anyhow::Result<Event> {
        match self {
            Self::Local(local) => Ok(local.next().await),
            Self::Remote(remote) => remote.next().await,
        }
    }

    /// Ends it in good order.
    async fn close(self) {
        if let Self::Local(local) = self {
            local.close().await;
        }
    }

    /// What there is to say when it is stopped here; `far` is what was last heard of it.
    fn stopped(&self, far: Option<Snapshot>) -> Event {
        match self {
            Self::Local(local) => local.stopped(),
            Self::Remote(_) => Event::Report(far.unwrap_or_default().into_report()),
        }
    }
}
