//! Where on Earth an address is, as far as that is known, and how far apart two places are.

mod continents;

use alloc::string::String;

use serde::{Deserialize, Serialize};

/// The Earth's mean radius (IUGG).
pub(crate) const EARTH_KM: f64 = 6371.0088;

/// A point on the Earth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Degrees north, -90 to 90.
    pub latitude: f32,
    /// Degrees east, -180 to 180.
    pub longitude: f32,
    /// The radius, in kilometres, within which it really is.
    #[serde(default)]
    pub accuracy_km: u16,
}

/// Two letters: a country (ISO 3166-1) or a continent (`AF AN AS EU NA OC SA`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Code(pub [u8; 2]);

/// A text that is not two letters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a country's code of two letters (ISO 3166-1); write it like \"DE\"")]
pub struct NotACode(String);

/// What is known of where an address is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Whereabouts {
    /// Its place.
    pub place: Option<Place>,
    /// Its country.
    pub country: Option<Code>,
    /// Its continent.
    pub continent: Option<Code>,
    /// Its autonomous system.
    pub asn: Option<u32>,
    /// The length of the longest prefix within which all addresses have these same whereabouts; 0: it holds for all.
    pub prefix: u8,
}

impl Place {
    /// The great-circle distance, in kilometres.
    #[must_use]
    pub fn distance_km(self, other: Self) -> f64 {
        let [one, other] = [self, other].map(Self::direction);
        let chord: f64 = one.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum();
        2.0 * EARTH_KM * libm::asin((libm::sqrt(chord) / 2.0).min(1.0))
    }

    /// The point of the unit sphere that it is.
    pub(crate) fn direction(self) -> [f64; 3] {
        let [latitude, longitude] =
            [self.latitude, self.longitude].map(|angle| f64::from(angle).to_radians());
        let (north, east) =
            ((libm::sin(latitude), libm::cos(latitude)), (libm::sin(longitude), libm::cos(longitude)));
        [north.1 * east.1, north.1 * east.0, north.0]
    }
}

impl Code {
    /// Two letters, in capitals.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let letters: [u8; 2] = text.as_bytes().try_into().ok()?;
        letters
            .iter()
            .all(u8::is_ascii_alphabetic)
            .then(|| Self(letters.map(|letter| letter.to_ascii_uppercase())))
    }
}

impl TryFrom<String> for Code {
    type Error = NotACode;

    fn try_from(text: String) -> Result<Self, NotACode> {
        Self::parse(&text).ok_or(NotACode(text))
    }
}

impl From<Code> for String {
    fn from(code: Code) -> Self {
        alloc::format!("{code}")
    }
}

impl core::fmt::Display for Code {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|letter| core::fmt::Write::write_char(f, char::from(*letter)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(latitude: f32, longitude: f32) -> Place {
        Place { latitude, longitude, accuracy_km: 0 }
    }

    #[test]
    fn distances_are_great_circles() {
        let (zurich, sydney) = (place(47.3769, 8.5417), place(-33.8688, 151.2093));
        let error = (zurich.distance_km(sydney) - 16_560.0).abs();
        assert!(error < 30.0, "{error}");
        assert!(zurich.distance_km(zurich) < 0.001);
        let across_the_date_line = place(0.0, 179.5).distance_km(place(0.0, -179.5));
        assert!((across_the_date_line - 111.2).abs() < 1.0, "{across_the_date_line}");
        let poles = place(90.0, 0.0).distance_km(place(-90.0, 77.0));
        assert!((poles - 20_015.0).abs() < 1.0, "{poles}");
    }
}
