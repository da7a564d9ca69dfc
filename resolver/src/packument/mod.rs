//! npm's metadata document: read once into an outline, rendered by copying spans of upstream's own bytes.
//!
//! Nothing here builds a tree of values, nor needs a whole document in memory. A [`Reader`] makes an [`Outline`] of
//! it while it arrives: where each version's manifest and tarball address stand; [`render`] copies what lies between. So a full packument is upstream's, byte for
//! byte, but for its tarball addresses: signatures, attestations and unknown fields pass untouched.
//!
//! Source: npm's "package metadata" documentation (registry repository, `docs/responses/package-metadata.md`).

mod abbreviated;
mod filed;
mod json;
mod outline;
mod reader;
mod render;
mod split;
mod without;

pub use outline::{InvalidPackument, Outline, Release};
pub use reader::Reader;
pub use render::{Out, Text, render, render_text, render_without};

#[cfg(test)]
mod tests;
