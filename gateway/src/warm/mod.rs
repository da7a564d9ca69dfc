//! `open-registry warm`: fetches everything that a lockfile needs.

pub mod lockfile;
