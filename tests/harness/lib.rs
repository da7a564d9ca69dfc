//! A federation in a box: what the tests of open-registry are made of.
//!
//! - [`Package`]: npm packages made from nothing, with real tarballs and real digests; [`projects`] of them.
//! - [`Registry`]: an npm registry that behaves like the public one, until a [`Fault`] befalls it.
//! - [`Delay`]: a line with a latency, to have such a registry far away; [`shapes`] of the largest packuments.
//! - [`Gateway`]: a real `open-registry` process between the two.
//! - [`mdns`]: a network that announces peers who are not there.
//! - [`Stranger`]: a libp2p node that is no gateway, or says false things.
//! - [`Client`]: the real npm clients, each with a home of its own and nothing else of the machine around it.
//! - [`http`]: a client that shows bytes and headers as they are.
//! - [`dns`]: a client that shows packets as they are.
//! - [`packet`]: the same octet by octet, for questions that no library would ask.
//! - [`name_servers`]: gdnsd, Knot DNS, PowerDNS and NSD, to be compared with.
//! - [`warm`]: `open-registry warm`, run as a user does.
//! - [`disk`]: what that process keeps, seen and spoiled from outside; [`image`]: a disk whose power can be cut.
//! - [`Container`]: a machine that is booted, with systemd, to run the units on.
//! - [`Ca`] and [`network`]: a network of the test's own, in which a [`Registry`] can be the npm registry itself.
//! - [`Clock`]: a clock that goes wrong on request.
//! - [`lan`]: hosts, switches, routers and name servers in that network; [`place`], in which of them something runs.
//!
//! Everything is for plain `#[test]` functions, waits with a limit, and ends when it is dropped. What goes wrong
//! panics: a test that cannot be set up has failed.

mod ca;
mod canonical;
pub mod clients;
mod clock;
mod container;
mod delay;
pub mod disk;
pub mod dns;
mod gateway;
pub mod http;
mod identity;
pub mod image;
pub mod lan;
mod listed;
pub mod mdns;
pub mod name_servers;
pub mod network;
mod output;
mod package;
pub mod packet;
pub mod place;
mod port;
mod program;
pub mod projects;
mod registry;
mod runtime;
pub mod shapes;
mod stranger;
mod until;
pub mod warm;

pub use ca::{Ca, Leaf};
pub use canonical::{canonical_host, canonical_url};
pub use clients::Client;
pub use clock::Clock;
pub use container::Container;
pub use delay::Delay;
pub use gateway::{Builder as GatewayBuilder, Gateway, Surroundings, binary};
pub use identity::Identity;
pub use listed::{listed, root};
pub use network::in_own_network;
pub use package::{Package, Past, Release, VersionBuilder, public_keys, sign};
pub use port::free_port;
pub use program::Said;
pub use registry::{ABBREVIATED, Builder as RegistryBuilder, Fault, Matcher, Recorded, Registry, Times};
pub use stranger::{Conduct, Stranger};
pub use until::until;
