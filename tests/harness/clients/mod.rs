//! The real npm clients: one table of what they are, and one call that has one of them install a project.
//!
//! ```text
//! let checkout = Checkout::new(&folder, &projects::small().package_json_text());
//! let settings = Settings::registry(&gateway.url());
//! let first = Client::Npm11.install(&checkout, &settings, Mode::Cold).expect_success();
//! ```
//!
//! Each run has a home, caches and an environment of its own: nothing of the machine's configuration reaches a
//! client, and the only setting that tells it of a registry is the one that a user would write down. The clients
//! are those that `tests/clients/install` puts in place.

mod checkout;
mod commands;
mod process;
mod promise;
mod tree;
mod world;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

pub use checkout::Checkout;
pub use promise::{LockfilePromise, assert_same_lines, assert_same_packages};
pub use tree::installed;
pub use world::World;

use self::process::Ended;
use crate::{canonical_url, runtime};

/// How long one run of a client may take before its whole process group is killed.
const LIMIT: Duration = Duration::from_secs(150);

/// A client of the npm registry, by its major version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Client {
    /// npm 8: asks for abbreviated metadata.
    Npm8,
    /// npm 10, which came with node 20 and 22.
    Npm10,
    /// npm 11, which came with node 24.
    Npm11,
    /// npm 12: refuses tarballs of another host than the registry's.
    Npm12,
    /// yarn 1: a lockfile that holds addresses, and is bound to them.
    Yarn1,
    /// yarn 4, "berry".
    Yarn4,
    /// pnpm 10.
    Pnpm10,
    /// pnpm 11: ignores `npm_config_*`; waits a day before it takes a new version.
    Pnpm11,
    /// pnpm 12: a native program.
    Pnpm12,
    /// Bun's installer.
    Bun,
    /// Deno's installer, on a package.json: the only one that speaks HTTP/2.
    Deno,
}

/// Clients that talk to a registry in one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// npm, since 7.
    Npm,
    /// yarn 1.
    Yarn1,
    /// yarn, since 2.
    Berry,
    /// pnpm.
    Pnpm,
    /// Bun.
    Bun,
    /// Deno.
    Deno,
}

/// What a client is asked to do, and what it may remember while doing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Resolve and install: no lockfile, no node_modules and no caches.
    Cold,
    /// Install what the lockfile says and nothing else: no node_modules and no caches.
    Frozen,
    /// As `Frozen`, with the caches of the runs before.
    Warm,
    /// Only write the lockfile: no lockfile and no caches.
    Resolve,
}

/// What the user of a client writes down: a registry, and a certificate authority to trust.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    registry: Option<String>,
    authority: Option<PathBuf>,
    lines: Option<String>,
}

/// How a run of a client ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Whether it exited with 0, in time.
    pub success: bool,
    /// From its start to its end.
    pub duration: Duration,
    /// What it wrote to both of its outputs, at most the last 64 KiB.
    pub output: String,
    /// The lockfile as it is now.
    pub lockfile: Option<Vec<u8>>,
    subject: String,
}

impl Client {
    /// Every client, oldest first within its family.
    pub fn all() -> [Self; 11] {
        use Client::{Bun, Deno, Npm8, Npm10, Npm11, Npm12, Pnpm10, Pnpm11, Pnpm12, Yarn1, Yarn4};
        [Npm8, Npm10, Npm11, Npm12, Yarn1, Yarn4, Pnpm10, Pnpm11, Pnpm12, Bun, Deno]
    }

    /// `npm 11`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Npm8 => "npm 8",
            Self::Npm10 => "npm 10",
            Self::Npm11 => "npm 11",
            Self::Npm12 => "npm 12",
            Self::Yarn1 => "yarn 1",
            Self::Yarn4 => "yarn 4",
            Self::Pnpm10 => "pnpm 10",
            Self::Pnpm11 => "pnpm 11",
            Self::Pnpm12 => "pnpm 12",
            Self::Bun => "bun 1",
            Self::Deno => "deno 2",
        }
    }

    /// The family it belongs to.
    pub fn family(self) -> Family {
        match self {
            Self::Npm8 | Self::Npm10 | Self::Npm11 | Self::Npm12 => Family::Npm,
            Self::Yarn1 => Family::Yarn1,
            Self::Yarn4 => Family::Berry,
            Self::Pnpm10 | Self::Pnpm11 | Self::Pnpm12 => Family::Pnpm,
            Self::Bun => Family::Bun,
            Self::Deno => Family::Deno,
        }
    }

    /// The name of its lockfile.
    pub fn lockfile(self) -> &'static str {
        match self.family() {
            Family::Npm => "package-lock.json",
            Family::Yarn1 | Family::Berry => "yarn.lock",
            Family::Pnpm => "pnpm-lock.yaml",
            Family::Bun => "bun.lock",
            Family::Deno => "deno.lock",
        }
    }

    /// The registry that this client has as its default: the npm registry, which yarn knows by another name.
    ///
    /// # Panics
    /// When the clients are not there, or yarn does not tell.
    pub fn default_registry(self) -> String {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let checkout = Checkout::new(folder.path(), "{}");
        let Some(command) = commands::default_registry(self, &checkout) else { return canonical_url() };
        let log = checkout.home().join("output.log");
        let Ended { output, .. } = runtime::block_on(process::run(command, &log, LIMIT));
        // Warnings of the node that runs it may come before the answer.
        let url = output.lines().find(|line| line.starts_with("https://"));
        let url = url.unwrap_or_else(|| panic!("{} does not tell its registry:\n{output}", self.name()));
        url.trim_end_matches('/').to_owned()
    }

    /// Has this client install the project.
    ///
    /// # Panics
    /// When the clients are not there, or the project's directory cannot be written.
    pub fn install(self, checkout: &Checkout, settings: &Settings, mode: Mode) -> Outcome {
        checkout.prepare(self, mode);
        checkout.configure(&commands::configuration(self, settings));
        let command = commands::command(self, checkout, settings, mode);
        self.finish(command, checkout, format!("{} ({mode:?})", self.name()))
    }

    /// Runs another command of this client in the checkout as it is: `["view", "left"]`.
    ///
    /// # Panics
    /// When the clients are not there, or the project's directory cannot be written.
    pub fn run(self, checkout: &Checkout, settings: &Settings, arguments: &[&str]) -> Outcome {
        checkout.configure(&commands::configuration(self, settings));
        let command = commands::other(self, checkout, arguments);
        self.finish(command, checkout, format!("{} {}", self.name(), arguments.join(" ")))
    }

    fn finish(self, command: Command, checkout: &Checkout, subject: String) -> Outcome {
        let log = checkout.home().join("output.log");
        let Ended { success, duration, output } = runtime::block_on(process::run(command, &log, LIMIT));
        Outcome { success, duration, output, lockfile: checkout.lockfile(self), subject }
    }
}

impl Family {
    /// What the User-Agent of its requests begins with.
    pub fn user_agent(self) -> &'static str {
        match self {
            Self::Npm => "npm/",
            Self::Yarn1 => "yarn/1",
            Self::Berry => "got ",
            Self::Pnpm => "pnpm/",
            Self::Bun => "Bun/",
            Self::Deno => "Deno/",
        }
    }
}

impl Settings {
    /// Nothing: the client uses the registry that it has as its default.
    pub fn none() -> Self {
        Self::default()
    }

    /// The registry at this address, http or https.
    pub fn registry(url: &str) -> Self {
        Self { registry: Some(url.to_owned()), ..Self::default() }
    }

    /// These very lines in the client's settings file, and nothing else there.
    pub fn lines(text: &str) -> Self {
        Self { lines: Some(text.to_owned()), ..Self::default() }
    }

    /// Trusts the certificate authorities of this PEM file. Beside given lines it only says what cannot be
    /// written in the file.
    #[must_use]
    pub fn trusting(mut self, authority: &Path) -> Self {
        self.authority = Some(authority.to_owned());
        self
    }
}

impl Outcome {
    /// This outcome, when the client was content.
    ///
    /// # Panics
    /// When it was not; the message holds its output.
    pub fn expect_success(self) -> Self {
        let Self { success, subject, duration, output, .. } = &self;
        assert!(success, "{subject} failed after {duration:.1?}:\n{output}");
        self
    }

    /// The lockfile as text.
    ///
    /// # Panics
    /// When there is none, or it is not UTF-8.
    pub fn locked(&self) -> String {
        let bytes = self.lockfile.clone().unwrap_or_else(|| panic!("{} left no lockfile", self.subject));
        String::from_utf8(bytes).expect("lockfiles are UTF-8")
    }
}
