//! The command line.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

use crate::config::{Config, Loaded, Problems, Setting, Sources, load};
use crate::steer::Geo;
use crate::swarm::check_psk;
use crate::tls::{Tls, TlsError};
use crate::{doctor, explain, resolve, setup, warm};

/// One gateway of a federation of npm registry caches.
#[derive(Debug, Parser)]
#[command(name = "open-registry", version)]
pub struct Command {
    #[command(flatten)]
    flags: Flags,
    /// What to do; `None`: run the gateway.
    #[command(subcommand)]
    pub task: Option<Task>,
}

/// What can be done besides running the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Task {
    /// Read the configuration and say whether it is right
    Check,
    /// Print the configuration in effect, and where each value comes from
    Config,
    /// Print the lines that point a resolver or a client at the gateway
    Setup(setup::Request),
    /// Say who the gateway is, and how the one that runs here fares
    Status,
    /// Say whether the name leads to the gateway from here, and if not, what is in the way
    Doctor(doctor::Request),
    /// Say whom a client is led to, or what is held of a package, and why
    Explain(explain::Request),
    /// Say which IPFS address a version of a package has, where it stands in the index, and who has it
    Resolve(resolve::Request),
    /// Fetch everything that a lockfile needs, so that its project installs without a connection
    Warm(warm::Request),
}

#[derive(Debug, Default, Args)]
struct Flags {
    /// Make no connection at all: serve what is held
    #[arg(long, global = true)]
    offline: bool,

    /// Serve clients on this address and port; may be given more than once
    #[arg(long, global = true, value_name = "addr")]
    listen: Vec<String>,

    /// The registry of record
    #[arg(long, global = true, value_name = "url")]
    upstream: Option<String>,

    /// Take this gateway's word on metadata, and fetch through it: /dns4/<host>/tcp/6738/p2p/<its id>
    #[arg(long, global = true, value_name = "multiaddr")]
    federate: Option<String>,

    /// How the hash of its index comes here: http, dns, pubsub or ipns; may be given more than once
    #[arg(long, global = true, value_name = "way")]
    update_type: Vec<String>,

    /// Whether to serve peers what is held here
    #[arg(long, global = true, value_name = "bool", num_args = 1)]
    share: Option<bool>,

    /// Keep everything in this directory
    #[arg(long, global = true, value_name = "dir")]
    data: Option<String>,

    /// Read this file instead of those in /etc/open-registry
    #[arg(long, global = true, value_name = "file")]
    config: Option<PathBuf>,

    /// Say more; twice: everything
    #[arg(short, global = true, action = ArgAction::Count)]
    verbose: u8,
}

impl Command {
    /// How many `-v` were given.
    #[must_use]
    pub fn verbose(&self) -> u8 {
        self.flags.verbose
    }

    /// The configuration of this process, these flags on top.
    ///
    /// # Errors
    /// All problems that were found.
    pub fn load(&self) -> Result<Loaded, Problems> {
        load(&Sources::of_process(self.flags.config.clone(), self.flags.settings()))
    }
}

impl Flags {
    fn settings(&self) -> Vec<Setting> {
        let offline = self.offline.then(|| Setting::new("--offline", "offline", true));
        let listen =
            (!self.listen.is_empty()).then(|| Setting::new("--listen", "http.listen", self.listen.clone()));
        let upstream = self.upstream.as_deref().map(|url| Setting::new("--upstream", "upstream.url", url));
        let data = self.data.as_deref().map(|dir| Setting::new("--data", "store.dir", dir));
        let home = self.federate.as_deref().map(|home| Setting::new("--federate", "federation.home", home));
        let ways = (!self.update_type.is_empty())
            .then(|| Setting::new("--update-type", "federation.update_type", self.update_type.clone()));
        let share = self.share.map(|share| Setting::new("--share", "share.enabled", share));
        [offline, listen, upstream, data, home, ways, share].into_iter().flatten().collect()
    }
}

/// `open-registry check`: "ok" and the files that were read, and which certificate would be served.
///
/// # Errors
/// When the certificate or the key of a private swarm cannot be used, or the words not be written.
pub fn check(loaded: &Loaded, out: &mut impl Write) -> anyhow::Result<()> {
    let Config { http, dns, tls, federation, .. } = &loaded.config;
    federation.psk_file.as_deref().map(check_psk).transpose()?;
    let over_tls = [("https", !http.tls_listen.is_empty()), ("dot", !dns.tls_listen.is_empty())];
    let over_tls: Vec<_> = over_tls.into_iter().filter_map(|(name, needed)| needed.then_some(name)).collect();
    let certificate = match Tls::check(tls, &over_tls) {
        // Only the service itself sees its credentials.
        Err(TlsError::NoCredentials { name, .. }) => Some(format!("the credential {name} was not looked at")),
        checked => checked?,
    };
    read(loaded, out)?;
    if let Some(certificate) = certificate {
        writeln!(out, "tls: {certificate}")?;
    }
    // Clients are led without those that are absent or broken, so this is no failure.
    for database in Geo::load(&loaded.config.steer.geoip).describe() {
        writeln!(out, "geoip: {database}")?;
    }
    Ok(())
}

fn read(loaded: &Loaded, out: &mut impl Write) -> io::Result<()> {
    match loaded.files.as_slice() {
        [] => writeln!(out, "ok: the built-in defaults, for there is no file"),
        files => {
            let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
            writeln!(out, "ok: {}", files.join(", "))
        }
    }
}

/// `open-registry config`: the configuration in effect.
///
/// # Errors
/// When it cannot be written.
pub fn config(loaded: &Loaded, out: &mut impl Write) -> anyhow::Result<()> {
    out.write_all(loaded.to_toml()?.as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use resolver::head::polls::Way;

    use super::*;
    use crate::config::Files;

    fn parse(line: &str) -> Command {
        Command::try_parse_from(line.split(' ')).unwrap()
    }

    fn loaded(command: &Command) -> Loaded {
        let flags = command.flags.settings();
        load(&Sources { files: Files::Directory("/nonexistent".into()), environment: Vec::new(), flags })
            .unwrap()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Command::command().debug_assert();
    }

    #[test]
    fn no_subcommand_runs_the_gateway() {
        assert_eq!(parse("open-registry --offline").task, None);
    }

    #[test]
    fn flags_may_stand_before_and_behind_the_subcommand() {
        for line in ["open-registry --data /srv -vv config", "open-registry config -vv --data /srv"] {
            let command = parse(line);
            assert_eq!((command.task.as_ref(), command.verbose()), (Some(&Task::Config), 2), "{line}");
            assert_eq!(loaded(&command).config.store.dir, Some("/srv".into()), "{line}");
        }
    }

    #[test]
    fn every_flag_sets_its_key() {
        let line = "open-registry --offline --listen 0.0.0.0:80 --listen [::]:80 --upstream https://npm.example.com \
             --share false --federate \
             /ip4/192.0.2.7/tcp/6738/p2p/12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq --update-type dns \
             --update-type pubsub";
        let config = loaded(&parse(line)).config;
        assert!(!config.share.enabled);
        assert_eq!(config.federation.home.unwrap().address.to_string(), "/ip4/192.0.2.7/tcp/6738");
        assert_eq!(config.federation.update_type, [Way::Dns, Way::Pubsub]);
        assert!(config.offline);
        assert_eq!(config.http.listen, ["0.0.0.0:80".parse().unwrap(), "[::]:80".parse().unwrap()]);
        assert_eq!(config.upstream.url.host_str(), Some("npm.example.com"));
    }

    #[test]
    fn check_says_which_files_were_read() {
        let mut loaded = loaded(&parse("open-registry check"));
        let said = |loaded: &Loaded| {
            let mut out = Vec::new();
            check(loaded, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert!(said(&loaded).starts_with("ok: the built-in defaults"));
        loaded.files = vec!["a.toml".into(), "b.toml".into()];
        assert_eq!(said(&loaded), "ok: a.toml, b.toml\n");
    }

    #[test]
    fn check_reads_the_key_of_a_private_swarm() {
        let mut loaded = loaded(&parse("open-registry check"));
        loaded.config.federation.psk_file = Some("no-such-key".into());
        let error = check(&loaded, &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("no-such-key (federation.psk_file)"), "{error}");
    }
}
