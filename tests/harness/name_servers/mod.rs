//! The name servers of others, as processes: gdnsd, Knot DNS and PowerDNS, which steer, and NSD, which does not.
//!
//! Each is configured from the same [`Steered`] zone, so that the same question has the same answer everywhere as far as
//! each of them can.

mod gdnsd;
mod knot;
mod nsd;
mod pdns;
mod table;

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub use table::{Row, put};

use crate::network::search_path;
use crate::output::{Heard, Output, launch};
use crate::packet::{Over, Query, Reply, ask_in_vain, kind};

/// How long one may take until it answers.
const PATIENCE: Duration = Duration::from_secs(20);

/// A zone whose apex leads each client to one of several sites, and with the names that a gateway's zone has.
#[derive(Debug, Clone)]
pub struct Steered {
    /// `registry.example.com`
    pub zone: String,
    /// The first is for clients of no known network.
    pub sites: Vec<Site>,
    /// A database in MaxMind's format, with the country and the continent of networks; for gdnsd and PowerDNS.
    pub database: Option<PathBuf>,
    /// Whether the sites are looked at, on port 80, and not named while they do not answer; by gdnsd alone.
    pub monitored: bool,
}

/// Where clients are led.
#[derive(Debug, Clone)]
pub struct Site {
    /// One label.
    pub name: String,
    /// Its address.
    pub v4: Ipv4Addr,
    /// Its other address.
    pub v6: Ipv6Addr,
    /// The networks that are its own: `192.0.2.0/24`.
    pub networks: Vec<String>,
    /// The continent and the country of the clients that are its own if their network is nobody's: `("EU", "DE")`.
    pub countries: Vec<(String, String)>,
}

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Program {
    /// gdnsd with plugin_geoip.
    Gdnsd,
    /// Knot DNS with mod-geoip, by networks.
    Knot,
    /// PowerDNS with its geoip backend.
    Pdns,
    /// NSD, which gives everybody the same answer.
    Nsd,
}

impl Program {
    /// Those that steer.
    pub const STEERING: [Self; 3] = [Self::Gdnsd, Self::Knot, Self::Pdns];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gdnsd => "gdnsd",
            Self::Knot => "knot",
            Self::Pdns => "pdns",
            Self::Nsd => "nsd",
        }
    }

    /// Starts one that answers for the zone at this address, by one thread for datagrams; waits until it answers.
    ///
    /// # Panics
    /// When it is not installed, or does not answer.
    pub fn start(self, zone: &Steered, at: SocketAddr) -> NameServer {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let command = match self {
            Self::Gdnsd => gdnsd::command(zone, at, folder.path()),
            Self::Knot => knot::command(zone, at, folder.path()),
            Self::Pdns => pdns::command(zone, at, folder.path()),
            Self::Nsd => nsd::command(zone, at, folder.path()),
        };
        let output = Output::default();
        let child = launch(&mut isolated(command, folder.path()), &output);
        let server = NameServer { program: self, at, child, output, _folder: folder };
        server.await_answer(&zone.zone);
        server
    }
}

/// A running name server; it is killed when it is dropped.
#[derive(Debug)]
pub struct NameServer {
    program: Program,
    at: SocketAddr,
    child: Child,
    output: Output,
    _folder: TempDir,
}

impl NameServer {
    /// Which one it is.
    pub fn program(&self) -> Program {
        self.program
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.at
    }

    /// The process that was started; NSD has children that do the work.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed.
    pub fn log(&self) -> Vec<String> {
        self.output.lines()
    }

    fn await_answer(&self, zone: &str) {
        let query = Query::of(zone, kind::SOA).bytes();
        let answers = || {
            let answer = ask_in_vain(self.at, &query, Over::Udp);
            answer.and_then(|bytes| Reply::read(&bytes)).is_some_and(|reply| reply.code == 0)
        };
        let start = Instant::now();
        while !answers() {
            let over = self.output.wait_until(Heard::is_over, Duration::from_millis(10));
            assert!(
                !over && start.elapsed() < PATIENCE,
                "{} does not answer; it said:\n{}",
                self.program.name(),
                self.log().join("\n")
            );
        }
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        // NSD's children end with their parent if that is asked to end, and outlive it if it is killed.
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        self.output.wait_until(Heard::is_over, Duration::from_secs(5));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn isolated(mut command: Command, folder: &Path) -> Command {
    command.current_dir(folder).env_clear().env("PATH", search_path()).env("HOME", folder);
    command
}

fn write(file: &Path, text: &str) {
    fs::write(file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
}

/// The records that a gateway has besides the steered addresses, and those of the first site where `apex` says so, as a
/// zone file.
fn zone_file(zone: &Steered, apex: bool) -> String {
    let Site { v4, v6, .. } = &zone.sites[0];
    let mut text = format!(
        "$ORIGIN {}.\n@ 30 SOA direct hostmaster 1 3600 600 86400 30\n@ 3600 NS direct\n\
         direct 20 A {v4}\ndirect 20 AAAA {v6}\n",
        zone.zone
    );
    if apex {
        write!(text, "@ 20 A {v4}\n@ 20 AAAA {v6}\n").expect("a write to memory");
    }
    text
}
