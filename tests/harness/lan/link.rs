//! A cable between a host and a LAN.

use std::fs;
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

/// How many bytes have passed a cable, frames and all, as the host's end has counted them; it goes on counting wherever
/// it is read.
#[derive(Debug, Clone)]
pub struct Counter(End);

/// What a [`Counter`] says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Passed {
    /// What came to the host.
    pub received: u64,
    /// What the host sent.
    pub sent: u64,
}

/// An interface.
#[derive(Debug, Clone)]
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

    /// Lets no more than this pass in each direction, in Mbit/s, from now on: what is more waits (HTB).
    ///
    /// # Panics
    /// When the kernel has no HTB.
    pub fn limit(&self, megabits: u32) {
        self.switch.limit(megabits);
        self.host.limit(megabits);
    }

    /// Counts what passes.
    pub fn counter(&self) -> Counter {
        Counter(self.host.clone())
    }

    /// The kernel tells both ends in its own time.
    fn await_carrier(&self, expected: bool) {
        let start = Instant::now();
        while [&self.switch, &self.host].iter().any(|end| end.has_carrier() != expected) {
            assert!(start.elapsed() < PATIENCE, "{} does not notice its cable", self.host.name);
        }
    }
}

impl Counter {
    /// Since the host was made.
    ///
    /// # Panics
    /// When the host is gone.
    pub fn passed(&self) -> Passed {
        let table = self.0.place.run(|| fs::read_to_string("/proc/thread-self/net/dev"));
        passed(&table.expect("a table of interfaces"), &self.0.name).expect("an interface that is there")
    }
}

impl End {
    /// Bursts are what the kernel hands over at once: without them a fast link is not filled.
    fn limit(&self, megabits: u32) {
        let (name, rate) = (self.name.as_str(), format!("{megabits}mbit"));
        let steps: [&[&str]; 2] = [
            &["qdisc", "replace", "dev", name, "root", "handle", "1:", "htb", "default", "1"],
            &[
                "class", "replace", "dev", name, "parent", "1:", "classid", "1:1", "htb", "rate", &rate,
                "burst", "128k", "cburst", "128k", "quantum", "60000",
            ],
        ];
        for step in steps {
            let mut command = Command::new("tc");
            command.args(step).env("PATH", search_path());
            self.place.run(|| finish(command)).expect_success();
        }
    }

    fn set(&self, state: &str) {
        self.place.run(|| ip(&["link", "set", &self.name, state]));
    }

    fn has_carrier(&self) -> bool {
        let mut command = Command::new("ip");
        command.args(["-oneline", "link", "show", "dev", &self.name]).env("PATH", search_path());
        self.place.run(|| finish(command)).expect_success().stdout.contains(" state UP ")
    }
}

/// Of `internet: 1234 5 0 0 0 0 0 0 987 6 0 0 0 0 0 0` (proc_net_dev(5)): the first and the ninth number.
fn passed(table: &str, name: &str) -> Option<Passed> {
    let line = table.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(':'))?;
    let mut numbers = line.split_whitespace().map(str::parse);
    let (received, sent) = (numbers.next()?.ok()?, numbers.nth(7)?.ok()?);
    Some(Passed { received, sent })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_one_interface_are_read_from_the_table_of_all() {
        let table = "Inter-|   Receive  |  Transmit\n face |bytes    packets errs\n\
            \x20   lo:     7       1    0    0    0     0          0         0        8       1    0    0    0     0       0          0\n\
            office: 1234       5    0    0    0     0          0         0      987       6    0    0    0     0       0          0\n";
        assert_eq!(passed(table, "office"), Some(Passed { received: 1234, sent: 987 }));
        assert_eq!(passed(table, "off"), None);
    }
}
