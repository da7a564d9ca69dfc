//! The peers that this gateway is connected to.
//!
//! [`Swarm`] is what everybody else sees: who is connected ([`Neighbours`]), and streams to and from them. A peer id is
//! proved by the connection; nothing else is.

mod config;
mod handle;

pub use config::{Config, Contact};
pub use handle::{Command, Ends, Incoming, Neighbour, Neighbours, NoStream, Protocol, Stream, Swarm};
