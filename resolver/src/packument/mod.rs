//! npm's metadata document: read once into an outline, rendered by copying spans of upstream's own bytes.
//!
//! Nothing here builds a tree of values. An [`Outline`] knows where in the document each version's manifest
//! and tarball address stand; rendering copies what lies between. So a full packument is upstream's, byte for
//! byte, but for its tarball addresses: signatures, attestations and unknown fields pass untouched.
//!
//! Source: npm's "package metadata" documentation (registry repository, `docs/responses/package-metadata.md`).

mod abbreviated;
mod json;
mod outline;
mod render;

pub use outline::{InvalidPackument, Outline, Release};
pub use render::{abbreviated, full, manifest};

#[cfg(test)]
mod tests;
