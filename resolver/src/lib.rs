//! Decides: facts and `now` go in, decisions come out.
//!
//! The crate is `no_std`: a socket, a file, a clock or a runtime does not compile here. `gateway` learns the
//! facts, asks, and does what it is told. Time is always passed in, as a [`core::time::Duration`].
//!
//! In reading order:
//!
//! - what can be asked for: [`package`] (names), [`integrity`] (digests), [`cid_text`] (IPFS addresses), [`evidence`];
//! - in which shape: [`client`] (who asks), [`packument`] (npm's document and its forms), [`variant`] (which
//!   bytes, and their ETag), [`range`];
//! - from where: [`connectivity`] (is upstream there?), [`ways`] (through home, or directly), [`plan`] (ordered sources), [`attempts`] (how often),
//!   [`confirmation`] (what a 304 speaks of), [`origin`] (which addresses a document may name), [`credentials`] (what
//!   must not be kept), [`changes`] (what upstream says has changed);
//! - of all that there is: [`index`] (a tree whose root hash names one state of it);
//! - from whom else: [`sources`] (which peers), [`hedge`] (how long they may take), [`strikes`] (who is asked no more);
//! - for how long: [`eviction`] (who makes room in a bounded store);
//! - by which name: [`zone`] (ours), [`links`] (the networks around us), [`subnet`] (EDNS Client Subnet), [`fold`]
//!   (IPv4 in IPv6), [`asker`] (who it is for), [`answer`] (to one DNS question);
//! - by whom: [`peer`] (another gateway), [`candidates`] (who may be one), [`card`] (what it says of itself), [`inventory`]
//!   (what it holds), [`peering`], [`budget`] and [`shaper`] (what it may have of ours, by [`bucket`]s; how much, and how fast),
//!   [`directory`] (whom home vouches for; signed as [`jws`] says), [`proof`] (that an address is its own), [`geo`] and [`networks`] (where it is and
//!   whom it serves), [`health`] (how it fares), [`peers`] (who learns all that), [`rank`] (who is told),
//!   [`redirect`] (who is sent on);
//! - under which root: [`head`] (which one counts), [`freshness`] (how fresh it makes a document), [`removed`] (what is no longer
//!   served), [`car`] (blocks, as they travel), [`trustless`] (who asks for them).

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod answer;
pub mod asker;
pub mod attempts;
pub mod bucket;
pub mod budget;
pub mod candidates;
pub mod car;
pub mod card;
pub mod changes;
pub mod cid_text;
pub mod client;
pub mod confirmation;
pub mod connectivity;
pub mod credentials;
pub mod directory;
pub mod eviction;
pub mod evidence;
pub mod fold;
pub mod freshness;
pub mod geo;
pub mod head;
pub mod health;
pub mod hedge;
pub mod index;
pub mod integrity;
pub mod inventory;
pub mod jws;
pub mod links;
pub mod networks;
pub mod origin;
pub mod package;
pub mod packument;
pub mod peer;
pub mod peering;
pub mod peers;
pub mod plan;
pub mod proof;
pub mod range;
pub mod rank;
pub mod redirect;
pub mod removed;
pub mod shaper;
pub mod sources;
pub mod strikes;
pub mod subnet;
pub mod trustless;
pub mod unconfirmed;
pub mod variant;
pub mod ways;
pub mod zone;
