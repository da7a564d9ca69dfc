//! The gateway as a service: what whoever started it asks of it while it runs.

mod reload;

pub use reload::Reloads;
