//! The gateway as a service: what it takes over from whoever started it, and what it tells them.
//!
//! [`Handed`] are sockets that systemd has bound, [`Closed`] those of them that cannot be served; [`Reloads`] tells it
//! that the gateway is ready, and hears when it wants the certificate to be read again; [`feed_watchdog`] says that
//! every loop turns, [`stopping`] that the end has begun. Started by hand, nobody listens to that, and SIGHUP means
//! the same.

mod closed;
mod manager;
mod reload;
mod sockets;

pub use closed::Closed;
pub use manager::{feed_watchdog, stopping};
pub use reload::Reloads;
pub use sockets::{Handed, HandedError};
