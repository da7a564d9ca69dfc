//! The public DNS, from a signed root down to the zone of the gateways, on one server.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Host, Lan, NameServer, ZONE};

/// The zone above [`ZONE`].
const PARENT: &str = "open-registry.dev";
/// What the public DNS says of [`ZONE`]: an entry point that is nobody's LAN.
pub const PUBLIC_ENTRY: [&str; 2] = ["45.83.220.250", "2a0d:5600:8::250"];

/// The number in both.
pub(super) const PUBLIC_ENTRY_NUMBER: u8 = 250;
/// The file that says where the root is.
const HINTS: &str = "root.hints";

/// How the zone of the gateways is published. The root and `dev` are signed always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publication {
    /// Its parent is not signed.
    Unsigned,
    /// Its parent is signed and delegates it without DS, as is planned.
    Delegated,
    /// It is a part of its signed parent, so that whatever differs from what is published is bogus.
    Signed,
}

/// A server of the Internet that is authoritative for the root and so for every name.
#[derive(Debug)]
pub struct PublicDns {
    host: Host,
    trust_anchor: String,
    _server: NameServer,
    folder: TempDir,
}

impl PublicDns {
    /// Publishes these names and the zone of the gateways.
    pub fn new(internet: &Lan, publication: Publication, names: &[(&str, IpAddr)]) -> Self {
        let host = internet.host("public-dns");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let zones = Zones { host: &host, folder: folder.path() };
        let trust_anchor = zones.publish(publication, names);
        fs::write(folder.path().join(HINTS), format!(". 60 IN NS ns.\nns. 60 IN A {}\n", host.v4()))
            .expect("a file in a new folder");
        let options =
            format!("directory \"{}\"; recursion no; dnssec-validation no;", folder.path().display());
        let server = NameServer::bind(&host, &options, &zones.configuration());
        Self { host, trust_anchor, _server: server, folder }
    }

    /// Where it answers.
    pub fn address(&self) -> IpAddr {
        self.host.v4().into()
    }

    /// The lines with which dnsmasq passes on here what it does not know, and checks the signatures if wanted.
    pub fn for_dnsmasq(&self, validating: bool) -> String {
        let anchor = self.trust_anchor.replace(' ', ",");
        let check = format!("dnssec\ndnssec-check-unsigned\ntrust-anchor=.,{anchor}\n");
        format!("server={}\n{}", self.address(), if validating { &check } else { "" })
    }

    /// The clauses with which unbound begins here, at the root, and checks the signatures if wanted.
    pub fn for_unbound(&self, validating: bool) -> String {
        let modules = if validating { "validator iterator" } else { "iterator" };
        format!(
            "server:\n  module-config: \"{modules}\"\n  root-hints: \"{}\"\n  trust-anchor: \". DS {}\"\n",
            self.hints().display(),
            self.trust_anchor
        )
    }

    /// The options and the statements with which BIND begins here, at the root, and checks the signatures if wanted.
    pub fn for_bind(&self, validating: bool) -> (String, String) {
        let mut anchor: Vec<&str> = self.trust_anchor.split(' ').collect();
        let digest = anchor.pop().expect("a DS record ends with a digest");
        let statements = format!(
            "zone \".\" {{ type hint; file \"{}\"; }};\ntrust-anchors {{ . static-ds {} \"{digest}\"; }};",
            self.hints().display(),
            anchor.join(" ")
        );
        let validation = if validating { "yes" } else { "no" };
        (
            format!("  recursion yes;\n  allow-recursion {{ any; }};\n  dnssec-validation {validation};"),
            statements,
        )
    }

    fn hints(&self) -> PathBuf {
        self.folder.path().join(HINTS)
    }
}

/// Zone files in a folder: `root`, `dev`, ...
struct Zones<'a> {
    host: &'a Host,
    folder: &'a Path,
}

impl Zones<'_> {
    /// Writes all zones, the deepest first, and gives the DS of the root's key.
    fn publish(&self, publication: Publication, names: &[(&str, IpAddr)]) -> String {
        let mut parent = self.zone(PARENT, "www IN A 45.83.220.251\n");
        let entry = format!("{ZONE}. IN A {}\n{ZONE}. IN AAAA {}\n", PUBLIC_ENTRY[0], PUBLIC_ENTRY[1]);
        match publication {
            Publication::Signed => writeln!(parent, "{entry}"),
            Publication::Delegated | Publication::Unsigned => {
                self.write(ZONE, &self.zone(ZONE, &entry));
                writeln!(parent, "{}", self.delegation(ZONE))
            }
        }
        .expect("a write to memory");
        self.write(PARENT, &parent);
        let mut tld = self.zone("dev", &self.delegation(PARENT));
        if publication != Publication::Unsigned {
            tld.push_str(&self.sign(PARENT));
        }
        self.write("dev", &tld);
        let mut root = self.zone(".", &(self.delegation("dev") + &addresses(names)));
        root.push_str(&self.sign("dev"));
        self.write(".", &root);
        let anchor = self.sign(".");
        anchor.split_once(" DS ").expect("a DS record").1.trim().to_owned()
    }

    /// What every zone has, and these records.
    fn zone(&self, name: &str, records: &str) -> String {
        let server = self.host.v4();
        let origin = fully_qualified(name);
        format!(
            "$ORIGIN {origin}\n$TTL 60\n@ IN SOA ns hostmaster 1 3600 600 86400 30\n\
             @ IN NS ns\nns IN A {server}\n{records}"
        )
    }

    /// Delegates a zone to this same server.
    fn delegation(&self, zone: &str) -> String {
        format!("{zone}. IN NS ns.{zone}.\nns.{zone}. IN A {}\n", self.host.v4())
    }

    fn write(&self, zone: &str, text: &str) {
        fs::write(self.folder.join(file(zone)), text).expect("a file in a new folder");
    }

    /// Signs a zone with a new key and gives the DS record for its parent, in one line.
    fn sign(&self, zone: &str) -> String {
        let (folder, origin) = (self.folder.to_str().expect("a plain name"), fully_qualified(zone));
        let path = self.folder.join(file(zone));
        let path = path.to_str().expect("a plain name");
        let key = self.host.output("dnssec-keygen", &["-q", "-a", "13", "-f", "KSK", "-K", folder, &origin]);
        let key = format!("{folder}/{}", key.expect_success().stdout.trim());
        // One key does both: -z. Its file names the zone, and so does -o.
        let arguments = ["-z", "-P", "-S", "-K", folder, "-d", folder, "-o", &origin, "-f", path, path];
        self.host.output("dnssec-signzone", &arguments).expect_success();
        self.host.output("dnssec-dsfromkey", &["-2", &key]).expect_success().stdout
    }

    fn configuration(&self) -> String {
        let all = [".", "dev", PARENT, ZONE];
        let written = all.iter().filter(|zone| self.folder.join(file(zone)).exists());
        let zone = |zone: &&str| format!("zone \"{zone}\" {{ type primary; file \"{}\"; }};\n", file(zone));
        written.map(zone).collect()
    }
}

fn addresses(names: &[(&str, IpAddr)]) -> String {
    let record = |(name, address): &(&str, IpAddr)| {
        let kind = if address.is_ipv4() { "A" } else { "AAAA" };
        format!("{name}. IN {kind} {address}\n")
    };
    names.iter().map(record).collect()
}

fn fully_qualified(zone: &str) -> String {
    format!("{}.", zone.trim_end_matches('.'))
}

fn file(zone: &str) -> String {
    format!("{}.zone", if zone == "." { "root" } else { zone })
}
