//! A cable between a host and a LAN.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::network::ip;
use crate::place::Place;

/// One host's connection to one LAN.
#[derive(Debug)]
pub struct Link {
    /// The host's address there.
    pub v4: Ipv4Addr,
    /// And its other one.
    pub v6: Ipv6Addr,
    pub(super) lan: String,
    port: String,
    switch: Place,
}

impl Link {
    pub(super) fn new(lan: &str, port: String, switch: Place, (v4, v6): (Ipv4Addr, Ipv6Addr)) -> Self {
        Self { v4, v6, lan: lan.to_owned(), port, switch }
    }

    /// Cuts it: nothing passes, and the host sees that its interface has no carrier. Addresses and routes stay.
    pub fn cut(&self) {
        self.switch.run(|| ip(&["link", "set", &self.port, "down"]));
    }

    /// Mends it.
    pub fn restore(&self) {
        self.switch.run(|| ip(&["link", "set", &self.port, "up"]));
    }
}
