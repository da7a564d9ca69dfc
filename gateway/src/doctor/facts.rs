//! What was found out: plain values, without any judgement.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use url::Url;

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// `registry.example.com`
    pub zone: String,
    /// What clients are to be configured with.
    pub url: Url,
    /// The gateway's addresses, as a flag or this host's configuration names them; empty where nobody does.
    pub named: Vec<IpAddr>,
    /// Whether a gateway runs here, or is to.
    pub hosted: bool,
    /// Every resolver that this host is configured with.
    pub resolvers: Vec<Asked>,
    /// The DNS of the gateways that are known.
    pub authorities: Vec<Asked>,
    /// What programs on this host get for the name.
    pub system: Lookup,
    /// The addresses that `/etc/hosts` has for the name.
    pub hosts: Vec<IpAddr>,
    /// The services that `/etc/nsswitch.conf` has hosts looked up with, in order; empty where it is silent.
    pub services: Vec<String>,
    /// How systemd-resolved is configured, where it runs.
    pub resolved: Option<Resolved>,
    /// What answers at each address that the name was said to have, and at `named`.
    pub doors: Vec<Door>,
    /// The registry of record, where it was tried.
    pub upstream: Option<Upstream>,
    /// Whom the gateway that runs here follows, where it says so.
    pub home: Option<Home>,
    /// What the gateway of this host has to do with peers; `None`: nothing.
    pub peers: Option<Peers>,
    /// The addresses that the gateway of this host is to listen on.
    pub ports: Vec<Port>,
    /// Where the gateway of this host keeps everything.
    pub disk: Option<Disk>,
    /// How this user's clients are configured.
    pub clients: Clients,
    /// What was not looked at, and why.
    pub left_out: Vec<LeftOut>,
}

/// A DNS server, and its answers about the zone's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Where it was asked.
    pub server: SocketAddr,
    /// The file that names it.
    pub origin: String,
    /// What it says of itself (`version.bind`), as it wrote it.
    pub software: Option<String>,
    /// For A.
    pub a: Answer,
    /// For AAAA.
    pub aaaa: Answer,
    /// For the family that failed once more, not to be validated.
    pub unchecked: Option<Answer>,
    /// For A of another name, upstream's; `None` where upstream has none.
    pub other: Option<Answer>,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// NOERROR with these addresses, maybe none.
    Addresses(Vec<IpAddr>),
    /// NXDOMAIN.
    NoSuchName,
    /// SERVFAIL.
    ServerFailure,
    /// REFUSED.
    Refused,
    /// Another code, by its name.
    Code(String),
    /// None, and why.
    Silence(String),
}

/// What `getaddrinfo` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// These addresses.
    Found(Vec<IpAddr>),
    /// An error, in the system's words.
    Failed(String),
}

/// systemd-resolved's configuration, as far as it matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// `DNS=`: servers for all links.
    pub dns: Vec<String>,
    /// `DNSOverTLS=`
    pub dns_over_tls: Option<String>,
    /// `DNSSEC=`
    pub dnssec: Option<String>,
}

/// An address, tried on the URL's port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Door {
    /// Where.
    pub address: SocketAddr,
    /// Who answers.
    pub behind: Behind,
    /// How far the server's clock is ahead of this host's, in seconds.
    pub ahead_s: Option<i64>,
    /// In how many days the certificate ends.
    pub certificate_days: Option<i64>,
    /// Another port of the address at which a gateway answers, looked for where none does at the URL's.
    pub instead: Option<u16>,
}

/// Who answers there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behind {
    /// An open-registry gateway.
    Gateway {
        /// `0.1.0`
        version: String,
        /// How it stands with upstream: `up`, `slow`, `down` or `offline`.
        upstream: String,
    },
    /// Somebody else, described.
    Other(String),
    /// Nobody, and why.
    Nobody(String),
    /// Somebody whose certificate does not hold, and why.
    Untrusted(Distrust),
}

/// Why a certificate is not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Distrust {
    /// This host does not trust who issued it.
    Issuer,
    /// It has ended, or not begun.
    Time,
    /// It is for other names.
    Name,
    /// Anything else.
    Other(String),
}

/// The registry of record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Its address.
    pub url: Url,
    /// Whether it answered, and else why not.
    pub outcome: Result<(), String>,
    /// How far its clock is ahead of this host's, in seconds.
    pub ahead_s: Option<i64>,
}

/// The gateway that is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// Where it is, and who.
    pub contact: String,
    /// Whether upstream is asked through it, and else why not.
    pub outcome: Result<(), String>,
}

/// What a gateway has to do with peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peers {
    /// Whether it serves them what it holds.
    pub shares: bool,
    /// How many the configuration names.
    pub configured: usize,
    /// How many are connected to the gateway that runs here, as it says.
    pub connected: usize,
    /// Who keeps the port of multicast DNS to himself; `None`: nobody does, or nobody is looked for.
    pub multicast: Option<Holder>,
}

/// A port that the configuration has the gateway listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The key that names it.
    pub key: &'static str,
    /// The addresses with one holder: the one that is configured, or some of this machine's where all of them are.
    pub addresses: Vec<SocketAddr>,
    /// Whether they stand for all of this machine's addresses, each of which is bound by itself.
    pub one_by_one: bool,
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// Who has it.
    pub holder: Holder,
}

/// Who listens on an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// This program, or systemd for it.
    Ours,
    /// Another program, by its name if that can be seen.
    Other(Option<String>),
    /// Nobody, and we could.
    Free,
    /// Nobody, and we may not.
    Forbidden,
    /// Nobody, for this host does not have the address.
    Absent,
}

/// The data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Where it is.
    pub dir: PathBuf,
    /// The nearest directory that exists, if it is not there yet.
    pub exists: bool,
    /// Whether this user may write there.
    pub writable: bool,
    /// Bytes that are free.
    pub free: u64,
}

/// What tells clients which registry to use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clients {
    /// In the order in which they win, for npm and those who read its files.
    pub npm: Vec<Setting>,
    /// The same for yarn 2 and later.
    pub yarn: Vec<Setting>,
    /// Whether yarn 2 and later may use plain http with the URL's host.
    pub yarn_accepts_http: bool,
    /// The proxy that requests to the URL go through.
    pub proxy: Option<Setting>,
}

/// A value, and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// A file, or the environment.
    pub place: String,
    /// As it is written there.
    pub value: String,
}

/// A check that was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// What.
    pub what: String,
    /// Why not, and how it can be.
    pub why: String,
}

impl Answer {
    /// The addresses in it.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        match self {
            Self::Addresses(addresses) => addresses,
            _ => &[],
        }
    }
}

impl Port {
    /// Whether it is the port of this number.
    #[must_use]
    pub fn is_number(&self, number: u16) -> bool {
        self.addresses.iter().any(|address| address.port() == number)
    }
}

impl Asked {
    /// All addresses that it told, IPv4 first.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        [self.a.addresses(), self.aaaa.addresses()].concat()
    }
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Issuer => "this host does not trust who issued it",
            Self::Time => "it has ended, or not begun",
            Self::Name => "it is for another name",
            Self::Other(why) => why,
        })
    }
}
