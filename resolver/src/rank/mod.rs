//! Which gateways a client should talk to: one engine for DNS answers, redirects and whoever wants it explained.
//!
//! ```text
//! filter   each rejection has its reason
//! tier     same link, declared network (longest prefix first), same autonomous system, distance, anywhere; this gateway
//!          before the last two where nobody knows where the client is
//! bucket   cost in milliseconds, in steps of a factor 1.41: who is about as near is as near
//! score    weighted rendezvous hash: a client stays where it was, and who goes takes only his own clients along
//! ```
//!
//! Lower tiers come before higher ones, lower buckets before higher ones; within a bucket the highest score wins. So the
//! nearest is never skipped, and a difference that a client would not notice moves nobody. The tiers leave a place behind
//! the declared networks for a match by the client's public address.
//!
//! In reading order: [`client`] (who asks), [`table`] (who could be told), [`verdict`] (what becomes of one candidate),
//! [`cost`] (its price), [`search`] (the best three without looking at everybody), [`decision`] (what comes out).

pub mod client;
mod cost;
pub mod decision;
mod nearest;
mod rendezvous;
mod search;
pub mod table;
pub mod verdict;

pub use self::client::Client;
pub use self::decision::{Considered, Decision, MOST_RANKED};
pub(crate) use self::rendezvous::{draw, key};
pub use self::table::{Candidate, Snapshot, Table};
pub use self::verdict::{Purpose, Ranked, Rejection, Tier};

#[cfg(test)]
mod tests;
