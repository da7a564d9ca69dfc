//! A `[[peer]]` of the configuration: another gateway, or this one, as its operator describes it.

use std::net::IpAddr;

use ipnet::IpNet;
use resolver::geo::{self, Code, Whereabouts};
use resolver::peer::{Endpoint, Peer, PeerId, Scheme};
use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// One `[[peer]]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Who it is; this gateway's own id describes this gateway.
    pub id: PeerId,
    /// Where clients are served.
    #[serde(default)]
    pub urls: Vec<Url>,
    /// Where it stands.
    #[serde(default)]
    pub place: Place,
    /// The networks that it is there for.
    #[serde(default)]
    pub networks: Vec<IpNet>,
    /// How many clients it takes, as a multiple of what others take.
    #[serde(default = "one")]
    pub capacity: f32,
    /// Clients may be led to it.
    #[serde(default)]
    pub admit: bool,
}

/// Where a peer stands, as far as its operator says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Degrees north.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latitude: Option<f32>,
    /// Degrees east.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longitude: Option<f32>,
    /// Its country.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<Code>,
    /// Its autonomous system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asn: Option<u32>,
}

fn one() -> f32 {
    1.0
}

impl Entry {
    /// The same for the engine.
    ///
    /// An address record carries no port, so DNS can name what is served on port 80 of an address
    /// (`http://192.0.2.7`), with https beside it where 443 is offered there as well (`https://192.0.2.7`, with the
    /// zone's certificate). Redirects may lead there too, by http alone, since that certificate is the zone's and not the
    /// address's; and to all other URLs.
    #[must_use]
    pub fn peer(&self) -> Peer {
        let endpoints: Vec<_> = self.addresses(Scheme::Http).map(|address| self.endpoint(address)).collect();
        let is_endpoint = |url: &&Url| {
            let bare = bare(url, Scheme::Http).or_else(|| bare(url, Scheme::Https));
            bare.is_some_and(|address| endpoints.iter().any(|endpoint| endpoint.address == address))
        };
        let urls = self.urls.iter().filter(|url| !is_endpoint(url));
        let urls = urls.map(|url| url.as_str().trim_end_matches('/').to_owned()).collect();
        Peer {
            id: self.id,
            urls,
            whereabouts: self.place.whereabouts(),
            networks: self.networks.clone(),
            capacity: self.capacity,
            admitted: self.admit,
            endpoints,
        }
    }

    fn addresses(&self, scheme: Scheme) -> impl Iterator<Item = IpAddr> {
        self.urls.iter().filter_map(move |url| bare(url, scheme))
    }

    fn endpoint(&self, address: IpAddr) -> Endpoint {
        Endpoint { address, https: self.addresses(Scheme::Https).any(|other| other == address) }
    }
}

/// The address that a URL consists of, if it has neither a name nor a port of its own.
fn bare(url: &Url, scheme: Scheme) -> Option<IpAddr> {
    let fits = url.scheme() == scheme.name() && url.port().is_none();
    address(url).filter(|_| fits)
}

/// The address in a URL that holds no name.
pub(crate) fn address(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

impl Place {
    fn whereabouts(self) -> Whereabouts {
        let at = |latitude, longitude| geo::Place { latitude, longitude, accuracy_km: 0 };
        Whereabouts {
            place: self.latitude.zip(self.longitude).map(|(latitude, longitude)| at(latitude, longitude)),
            country: self.country,
            continent: self.country.and_then(Code::continent),
            asn: self.asn,
            prefix: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(urls: &[&str]) -> Entry {
        Entry {
            id: PeerId::of_key([7; 32]),
            urls: urls.iter().map(|url| url.parse().unwrap()).collect(),
            place: Place {
                latitude: Some(51.0),
                longitude: Some(13.5),
                country: Code::parse("DE"),
                asn: None,
            },
            networks: Vec::new(),
            capacity: 1.0,
            admit: true,
        }
    }

    fn endpoints(urls: &[&str]) -> Vec<(String, bool)> {
        let peer = entry(urls).peer();
        peer.endpoints.iter().map(|one| (one.address.to_string(), one.https)).collect()
    }

    #[test]
    fn dns_can_tell_an_address_without_a_port() {
        assert_eq!(endpoints(&["http://192.0.2.7"]), [("192.0.2.7".to_owned(), false)]);
        assert_eq!(
            endpoints(&["https://[2001:db8::7]", "http://[2001:db8::7]:80/"]),
            [("2001:db8::7".to_owned(), true)]
        );
        let two = ["http://192.0.2.7", "http://192.0.2.8", "https://192.0.2.8"];
        assert_eq!(endpoints(&two), [("192.0.2.7".to_owned(), false), ("192.0.2.8".to_owned(), true)]);
    }

    #[test]
    fn names_ports_and_https_alone_are_for_redirects() {
        let urls = [
            "http://192.0.2.7:6736",
            "https://registry.example.edu",
            "https://192.0.2.9",
            "http://a.example:80",
        ];
        assert_eq!(endpoints(&urls), []);
        let expected = [
            "http://192.0.2.7:6736",
            "https://registry.example.edu",
            "https://192.0.2.9",
            "http://a.example",
        ];
        assert_eq!(entry(&urls).peer().urls, expected);
    }

    #[test]
    fn nobody_is_redirected_to_an_address_whose_certificate_is_for_the_zones_name() {
        let pair = ["http://192.0.2.7", "https://192.0.2.7", "https://a.example"];
        assert_eq!(entry(&pair).peer().urls, ["https://a.example"]);
    }

    #[test]
    fn a_place_is_both_coordinates_and_a_country_has_a_continent() {
        let whereabouts = entry(&[]).peer().whereabouts;
        assert_eq!(whereabouts.place.map(|place| (place.latitude, place.longitude)), Some((51.0, 13.5)));
        assert_eq!(whereabouts.continent, Code::parse("EU"));
        assert_eq!(Place::default().whereabouts(), Whereabouts::default());
    }
}
