//! How many connections one client may have, so that nobody has them all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;
use resolver::links::one_client;

/// The connections that each client has; no more entries than there are connections. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    most: usize,
    /// Proxies, behind which all clients are.
    excepted: Vec<IpNet>,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Visit {
    client: IpAddr,
    inner: Arc<Inner>,
}

impl Clients {
    /// Up to `most` connections of each client; any number of those in `excepted`.
    pub(super) fn new(most: usize, excepted: Vec<IpNet>) -> Self {
        Self { inner: Arc::new(Inner { most, excepted, counts: Mutex::default() }) }
    }

    /// One more connection of this client; `None` when it has as many as it may.
    pub(super) fn enter(&self, address: IpAddr) -> Option<Visit> {
        let address = address.to_canonical();
        let excepted = self.inner.excepted.iter().any(|network| network.contains(&address));
        let client = one_client(address);
        let mut counts = self.inner.counts();
        let count = counts.entry(client).or_default();
        if *count >= self.inner.most && !excepted {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(Visit { client, inner: Arc::clone(&self.inner) })
    }
}

impl Inner {
    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.inner.counts().entry(self.client) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_has_so_many_connections_and_others_theirs() {
        let clients = Clients::new(2, Vec::new());
        let mut held: Vec<_> = (0..2).map(|_| clients.enter(ip("192.168.7.1")).unwrap()).collect();
        assert!(clients.enter(ip("192.168.7.1")).is_none());
        assert!(clients.enter(ip("::ffff:192.168.7.1")).is_none());
        assert!(clients.enter(ip("192.168.7.2")).is_some());
        held.pop();
        assert!(clients.enter(ip("192.168.7.1")).is_some());
        held.clear();
        assert!(clients.inner.counts().is_empty(), "who has left is remembered");
    }

    #[test]
    fn all_addresses_of_one_ipv6_network_are_one_client() {
        let clients = Clients::new(1, Vec::new());
        let _one = clients.enter(ip("2001:db8::1")).unwrap();
        assert!(clients.enter(ip("2001:db8::ffff:2")).is_none());
        assert!(clients.enter(ip("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn a_trusted_proxy_stands_for_many_clients() {
        let clients = Clients::new(1, vec!["192.168.7.0/24".parse().unwrap()]);
        let held: Vec<_> = (0..9).filter_map(|_| clients.enter(ip("192.168.7.1"))).collect();
        assert_eq!(held.len(), 9);
    }
}
