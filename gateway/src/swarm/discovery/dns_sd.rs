//! DNS-SD (RFC 6763) over multicast: `_open-registry._tcp`, with the port where peers connect in SRV and the id in TXT.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use mdns_sd::{IfKind, IfPredicate, Receiver, ResolvedService, ServiceDaemon, ServiceEvent, ServiceInfo};
use resolver::candidates::MOST_ADDRESSES;
use resolver::peer::PeerId;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::super::address::Carrier;
use super::super::task::Found;
use super::{Discovery, GOODBYE, is_candidate};

/// What is looked for.
const SERVICE: &str = "_open-registry._tcp.local.";
/// What a TXT record has to say before it is read any further.
const VERSION: &str = "1";
/// Seconds between two looks at this machine's interfaces: one that appears is announced on within that time.
const INTERFACES: u32 = 1;
/// Names of services whose ids are remembered, to know who takes his back; four times as many as there are candidates.
const MOST_NAMES: usize = 256;

/// A responder.
pub(in crate::swarm) struct DnsSd {
    daemon: ServiceDaemon,
    events: Receiver<ServiceEvent>,
    announced: Option<String>,
}

impl DnsSd {
    /// Looks, and says that this gateway is there if it is to.
    pub(super) fn start(discovery: &Discovery) -> Result<Self, mdns_sd::Error> {
        let daemon = ServiceDaemon::new()?;
        daemon.set_ip_check_interval(INTERFACES)?;
        let vicinity = discovery.vicinity.clone();
        let other = IfPredicate::new(move |interface| !vicinity.is_meant(&interface.name));
        daemon.disable_interface(IfKind::Predicate(other))?;
        let events = daemon.browse(SERVICE)?;
        let mut announced = None;
        if let (true, Some(port)) = (discovery.announces, discovery.ports.first()) {
            let service = service(discovery.own, *port)?;
            announced = Some(service.get_fullname().to_owned());
            daemon.register(service)?;
        }
        Ok(Self { daemon, events, announced })
    }

    /// Says who is found, until `stop`, and then that this gateway is not there any more.
    pub(super) async fn run(self, discovery: &Discovery, stop: &CancellationToken) {
        let mut names = BTreeMap::new();
        while let Some(Ok(event)) = stop.run_until_cancelled(self.events.recv_async()).await {
            let found = match event {
                ServiceEvent::ServiceResolved(service) => resolved(&service, &mut names, discovery),
                ServiceEvent::ServiceRemoved(_, name) => names.remove(&name).map(Found::Gone),
                _ => None,
            };
            if let Some(found) = found
                && discovery.found.send(found).await.is_err()
            {
                break;
            }
        }
        if let Some(Ok(unregistered)) = self.announced.map(|name| self.daemon.unregister(&name)) {
            // Whoever misses the goodbye sees the connections end.
            let _ = timeout(GOODBYE, unregistered.recv_async()).await;
        }
        let _ = self.daemon.shutdown();
    }
}

fn service(own: PeerId, port: u16) -> Result<ServiceInfo, mdns_sd::Error> {
    let id = own.to_string();
    // Ids tell upper from lower case, names of hosts do not.
    let host = own.key().iter().take(6).fold("open-registry-".to_owned(), |mut host, byte| {
        // A write to memory.
        let _ = write!(host, "{byte:02x}");
        host
    });
    let properties = [("v", VERSION), ("id", id.as_str())];
    let service = ServiceInfo::new(SERVICE, &id, &format!("{host}.local."), "", port, &properties[..])?;
    Ok(service.enable_addr_auto())
}

fn resolved(
    service: &ResolvedService,
    names: &mut BTreeMap<String, PeerId>,
    discovery: &Discovery,
) -> Option<Found> {
    let id = id(|key| service.txt_properties.get_property_val_str(key)).filter(|id| *id != discovery.own)?;
    if names.len() < MOST_NAMES {
        names.insert(service.fullname.clone(), id);
    }
    let places = service.addresses.iter().map(|address| (address.to_ip_addr(), service.port).into());
    let places = places.filter(|place| is_candidate(*place, &discovery.vicinity)).take(MOST_ADDRESSES / 2);
    let both = places.flat_map(|place| [(place, Carrier::Quic), (place, Carrier::Tcp)]).collect();
    Some(Found::Near(id, both))
}

/// The id in a TXT record of a version that is known; `value` is what the record says of a key.
fn id<'a>(value: impl Fn(&str) -> Option<&'a str>) -> Option<PeerId> {
    value("v").filter(|version| *version == VERSION)?;
    value("id")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_record_says_its_version_and_who_it_is_of() {
        let own = PeerId::of_key([7; 32]);
        let text = own.to_string();
        let of = |pairs: &[(&str, &str)]| {
            id(|wanted| pairs.iter().find(|(key, _)| *key == wanted).map(|(_, value)| *value))
        };
        assert_eq!(of(&[("v", "1"), ("id", &text), ("more", "to come")]), Some(own));
        assert_eq!(of(&[("v", "2"), ("id", &text)]), None);
        assert_eq!(of(&[("id", &text)]), None);
        assert_eq!(of(&[("v", "1"), ("id", "12D3KooW")]), None);
        let service = service(own, 6738).unwrap();
        assert_eq!(id(|key| service.get_property_val_str(key)), Some(own));
    }

    proptest! {
        #[test]
        fn whatever_a_record_says_is_an_id_or_nothing(version in ".{0,3}", text in ".{0,60}") {
            let _ = id(|key| match key { "v" => Some(version.as_str()), _ => Some(text.as_str()) });
            let _ = id(|key| match key { "v" => Some(VERSION), _ => Some(text.as_str()) });
        }
    }
}
