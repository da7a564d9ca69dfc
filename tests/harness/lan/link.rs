//! A cable between a host and a LAN.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::network::{ip, search_path};
use crate::place::Place;
use crate::program::finish;

/// How long the kernel may take until both ends of a cable know what has become of it.
const PATIENCE: Duration = Duration::from_secs(10);

/// One host's connection to one LAN.
#[derive(Debug)]
pub struct Link {
    /// The host's address there.
    pub v4: Ipv4Addr,
    /// And its other one.
    pub v6: Ipv6Addr,
    switch: End,
    host: End,
}

/// An interface.
#[derive(Debug)]
pub(super) struct End {
    pub(super) place: Place,
    pub(super) name: String,
}

impl Link {
    pub(super) fn new(switch: End, host: End, (v4, v6): (Ipv4Addr, Ipv6Addr)) -> Self {
        Self { v4, v6, switch, host }
    }

    /// The LAN that it leads to, after which the host's interface is called.
    pub(super) fn lan(&self) -> &str {
        &self.host.name
    }

    /// Cuts it: nothing passes, and the host sees that its interface has no carrier. Addresses and routes stay.
    pub fn cut(&self) {
        self.switch.set("down");
        self.await_carrier(false);
    }

    /// Mends it.
    pub fn restore(&self) {
        self.switch.set("up");
        self.await_carrier(true);
    }

    /// The kernel tells both ends in its own time.
    fn await_carrier(&self, expected: bool) {
        let start = Instant::now();
        while [&self.switch, &self.host].iter().any(|end| end.has_carrier() != expected) {
            assert!(start.elapsed() < PATIENCE, "{} does not notice its cable", self.host.name);
        }
    }
}

impl End {
    fn set(&self, state: &str) {
        self.place.run(|| ip(&["link", "set", &self.name, state]));
    }

    fn has_carrier(&self) -> bool {
        let mut command = Command::new("ip");
        command.args(["-oneline", "link", "show", "dev", &self.name]).env("PATH", search_path());
        self.place.run(|| finish(command)).expect_success().stdout.contains(" state UP ")
    }
}
