//! A LAN in a box: hosts, switches, routers, the Internet beyond them, and the real name servers of each.
//!
//! ```text
//! in_own_network("a_laptop_installs_by_name", &[], || {
//!     let internet = Lan::internet();                           // public addresses, and nothing beyond
//!     let npm = internet.host("npm");
//!     let names = [("npm.example", npm.v4().into())];
//!     let public_dns = PublicDns::new(&internet, Publication::Delegated, &names);
//!     let lan = Lan::new("office", 7);                          // 192.168.7.0/24 and fd00:7::/64
//!     let router = lan.router(&internet);                       // .1, forwards and masquerades
//!     let server = lan.host_at("server", 9);                    // .9; its way out and its DNS are at .1
//!     let laptop = lan.host("laptop");                          // the next free number
//!     let lines = format!("{}server=/{ZONE}/192.168.7.9\n", public_dns.for_dnsmasq(false));
//!     let resolver = NameServer::dnsmasq(&router, &lines);
//!
//!     let gateway = server.run(|| Gateway::builder().listen(server.at(80)).dns(server.at(53)).start());
//!     let outcome = laptop.run(|| Client::Npm11.install(&checkout, &settings, Mode::Cold));
//!     assert_eq!(laptop.dig(&["A", ZONE]).to_string(), "NOERROR 192.168.7.9");
//!     router.on(&internet).cut();                               // the Internet is away ...
//!     router.on(&internet).restore();                           // ... and back
//! });
//! ```
//!
//! A [`Host`] has a network and a view of the files of its own ([`Place`](crate::place::Place)): an
//! `/etc/resolv.conf`, an `/etc/hosts`. Whatever is called inside of [`Host::run`] happens there: a real client
//! is started there, a [`Gateway`](crate::Gateway) or a [`Registry`](crate::Registry) listens there, an HTTP
//! request leaves from there. They stay where they were started, however they are called later.
//! A [`Lan`] is a switch; a [`Link`] is a cable between the two, which can be cut. Everything dies with the test,
//! and nothing is written outside of its temporary folders.
//!
//! [`Office`] is the scene that most tests begin with: all of the above, before any resolver is configured.

mod dig;
mod host;
mod link;
mod name_server;
mod office;
mod public_dns;
mod region;
mod switch;

pub use dig::Reply;
pub use host::Host;
pub use link::{Counter, Link, Passed};
pub use name_server::NameServer;
pub use office::Office;
pub use public_dns::{PUBLIC_ENTRY, PublicDns, Publication};
pub use region::Region;
pub use switch::Lan;

/// The zone that gateways answer for unless configured otherwise.
pub const ZONE: &str = "registry.open-registry.dev";
