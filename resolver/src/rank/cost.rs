//! What it costs a client to talk to a gateway, in milliseconds: the way there and back, borders, and its load.

use super::client::Client;
use super::verdict::Tier;
use crate::geo::Whereabouts;

/// The round trip to anybody: the last mile and two hosts.
const LEAST: f64 = 5.0;
/// Light takes 0.01 ms for a kilometre of fibre and back; ways are about twice as long as the crow flies.
pub(super) const FOR_EACH_KM: f64 = 0.02;
/// The round trip where nobody knows how far it is.
const UNKNOWN: f64 = 80.0;
/// Another network's customers meet it at an exchange.
const OTHER_NETWORK: f64 = 10.0;
/// Another country of the same continent, and another continent.
const OTHER_COUNTRY: f64 = 5.0;
const OTHER_CONTINENT: f64 = 30.0;
/// Load makes the round trip at most so many times longer.
const MOST_LOAD: f64 = 9.0;

/// The costs of one candidate, each in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// There and back; 80 where nobody knows.
    pub round_trip: f64,
    /// Another network.
    pub network: f64,
    /// Another country or continent.
    pub border: f64,
    /// Waiting there.
    pub load: f64,
}

impl Cost {
    pub(super) fn of(client: &Client, there: &Whereabouts, tier: Tier, load: f32) -> Self {
        let here = &client.whereabouts;
        let near = tier == Tier::SameLink;
        let round_trip = if near { LEAST } else { round_trip(here, there) };
        let same_network = near || (here.asn.is_some() && here.asn == there.asn);
        Self {
            round_trip,
            network: if same_network { 0.0 } else { OTHER_NETWORK },
            border: if near { 0.0 } else { border(here, there) },
            load: round_trip * (1.0 / (1.0 - f64::from(load.clamp(0.0, 0.99))) - 1.0).min(MOST_LOAD),
        }
    }

    /// The sum.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.round_trip + self.network + self.border + self.load
    }

    /// Costs within a factor of 1.41 are as good as the same: `floor(2 * log2(cost / 5))`, 0 for what costs least.
    #[must_use]
    pub fn bucket(&self) -> i16 {
        bucket(self.total())
    }
}

/// The exponent of a number's square is twice its logarithm, rounded down: exact, and without a logarithm.
fn bucket(cost: f64) -> i16 {
    let times = (cost / LEAST).max(1.0);
    let exponent = (times * times).to_bits() >> 52 & 0x7ff;
    i16::try_from(exponent).unwrap_or(i16::MAX) - 1023
}

/// The lowest bucket that anybody so far away can be in; `None`: nobody knows how far.
pub(super) fn lowest_bucket(km: Option<f64>) -> i16 {
    bucket(km.map_or(UNKNOWN, |km| LEAST + FOR_EACH_KM * km.max(0.0)))
}

fn round_trip(here: &Whereabouts, there: &Whereabouts) -> f64 {
    match (here.place, there.place) {
        (Some(here), Some(there)) => {
            let away = here.distance_km(there) - f64::from(here.accuracy_km);
            LEAST + FOR_EACH_KM * away.max(0.0)
        }
        _ => UNKNOWN,
    }
}

/// Whether anything is known of how far the one is from the other.
pub(super) fn is_known(here: &Whereabouts, there: &Whereabouts) -> bool {
    (here.place.is_some() && there.place.is_some())
        || (here.country.is_some() && there.country.is_some())
        || (here.continent.is_some() && there.continent.is_some())
}

/// What is not known is no border.
fn border(here: &Whereabouts, there: &Whereabouts) -> f64 {
    let differ = |one: Option<_>, other: Option<_>| one.is_some() && other.is_some() && one != other;
    match differ(here.country, there.country) {
        _ if differ(here.continent, there.continent) => OTHER_CONTINENT,
        true => OTHER_COUNTRY,
        false => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_a_step_of_the_square_root_of_two() {
        for (cost, expected) in [
            (0.0, 0),
            (5.0, 0),
            (7.07, 0),
            (7.08, 1),
            (9.99, 1),
            (10.0, 2),
            (14.15, 3),
            (20.0, 4),
            (80.0, 8),
            (160.0, 10),
        ] {
            assert_eq!(bucket(cost), expected, "{cost}");
        }
    }
}
