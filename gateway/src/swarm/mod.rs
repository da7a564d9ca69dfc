//! The peers that this gateway is connected to.
//!
//! [`Swarm`] is what everybody else sees: who is connected ([`Neighbours`]), and streams to and from them. A peer id is
//! proved by the connection; nothing else is. Behind it is one task ([`task`]) that owns all connections
//! ([`transport`], [`behaviour`], [`streams`]): it hears who may be there ([`discovery`]), dials whom `resolver::candidates` says, asks who is there ([`cards`]),
//! and keeps those that are gateways.

mod address;
mod behaviour;
mod bulletin;
mod cards;
mod config;
mod connected;
mod contacts;
mod discovery;
mod events;
mod found;
mod handle;
mod lookup;
mod psk;
mod speech;
mod start;
mod streams;
mod task;
mod transport;
mod vicinity;
mod word;

pub use bulletin::{Bulletin, Bulletins, Worth};
pub use cards::Door;
pub use config::{Config, Contact};
pub use discovery::multicast::{MULTICAST_PORT, share_port};
pub use handle::{Command, Ends, Incoming, Neighbour, Neighbours, NoStream, Protocol, Stream, Swarm};
pub use psk::{PskError, check as check_psk};
pub use start::{Own, StartError, start};
pub use task::Task;
