//! Does: the sockets, the disk and the upstream of one gateway. What to do is asked of `resolver`.

pub mod changes;
pub mod command;
pub mod config;
pub mod dns;
pub mod doctor;
pub mod fetch;
pub mod gateway;
pub mod http;
pub mod identity;
pub mod interfaces;
pub mod listen;
pub mod log;
pub mod metrics;
pub mod open_files;
pub mod operator;
pub mod private;
pub mod pulse;
pub mod service;
pub mod setup;
pub mod store;
pub mod terminal;
pub mod tls;
pub mod units;
pub mod upstream;
pub mod warm;
pub mod zone;
