//! What a database says of a network, in whichever of the customary shapes.
//!
//! ```text
//! MaxMind, DB-IP:  country: { iso_code }, continent: { code }, location: { latitude, longitude, accuracy_radius },
//!                  autonomous_system_number
//! ip-location-db:  country_code, latitude, longitude, autonomous_system_number
//! IPinfo:          country_code, continent_code, asn: "AS15169"
//! ```

use std::fmt;

use resolver::geo::{Code, Place, Whereabouts};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Record<'a> {
    #[serde(borrow)]
    country: Fact<'a>,
    #[serde(borrow)]
    country_code: Fact<'a>,
    #[serde(borrow)]
    continent: Fact<'a>,
    #[serde(borrow)]
    continent_code: Fact<'a>,
    #[serde(borrow)]
    location: Location<'a>,
    #[serde(borrow)]
    latitude: Fact<'a>,
    #[serde(borrow)]
    longitude: Fact<'a>,
    #[serde(borrow)]
    autonomous_system_number: Fact<'a>,
    #[serde(borrow)]
    asn: Fact<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Location<'a> {
    #[serde(borrow)]
    latitude: Fact<'a>,
    #[serde(borrow)]
    longitude: Fact<'a>,
    #[serde(borrow)]
    accuracy_radius: Fact<'a>,
}

/// A number or a text, whatever its type in the database; of a map its code.
#[derive(Debug, Default, Clone, Copy)]
enum Fact<'a> {
    #[default]
    Nothing,
    Number(f64),
    Text(&'a str),
}

impl Record<'_> {
    /// The same as the engine has it, of a network of this length.
    pub(super) fn whereabouts(&self, prefix: u8) -> Whereabouts {
        let country = self.country_code.code().or_else(|| self.country.code());
        let country = country.filter(|country| country.continent().is_some());
        let continent = self.continent_code.code().or_else(|| self.continent.code());
        Whereabouts {
            place: self.place(),
            country,
            continent: country
                .and_then(Code::continent)
                .or_else(|| continent.filter(|code| code.is_continent())),
            asn: self.autonomous_system_number.system().or_else(|| self.asn.system()),
            prefix,
        }
    }

    fn place(&self) -> Option<Place> {
        let Location { latitude, longitude, accuracy_radius } = &self.location;
        let nested = latitude.angle(90.0).zip(longitude.angle(180.0));
        let flat = || self.latitude.angle(90.0).zip(self.longitude.angle(180.0));
        let (latitude, longitude) = nested.or_else(flat)?;
        // Nobody lives where both are nought: that is how some write that they do not know.
        let known = latitude != 0.0 || longitude != 0.0;
        known.then(|| Place { latitude, longitude, accuracy_km: accuracy_radius.kilometres() })
    }
}

impl Fact<'_> {
    fn code(self) -> Option<Code> {
        if let Self::Text(text) = self { Code::parse(text) } else { None }
    }

    fn number(self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(number),
            Self::Text(text) => text.parse().ok(),
            Self::Nothing => None,
        }
    }

    fn angle(self, most: f64) -> Option<f32> {
        let angle = self.number().filter(|angle| (-most..=most).contains(angle));
        #[expect(clippy::cast_possible_truncation, reason = "a metre more or less")]
        angle.map(|angle| angle as f32)
    }

    fn kilometres(self) -> u16 {
        // No place is farther from any other than half the Earth's circumference.
        let radius = self.number().filter(|radius| (0.0..=20_038.0).contains(radius)).unwrap_or_default();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is within the bounds above"
        )]
        let radius = radius as u16;
        radius
    }

    fn system(self) -> Option<u32> {
        let system = match self {
            Self::Text(text) => text.strip_prefix("AS").unwrap_or(text).parse().ok()?,
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a cast keeps within bounds"
            )]
            Self::Number(number) => number as u32,
            Self::Nothing => return None,
        };
        (system != 0).then_some(system)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fact<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FactVisitor)
    }
}

struct FactVisitor;

impl<'de> Visitor<'de> for FactVisitor {
    type Value = Fact<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Fact<'de>, E> {
        Ok(Fact::Text(text))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Fact<'de>, E> {
        Ok(Fact::Number(number))
    }

    fn visit_f32<E>(self, number: f32) -> Result<Fact<'de>, E> {
        Ok(Fact::Number(number.into()))
    }

    fn visit_u16<E>(self, number: u16) -> Result<Fact<'de>, E> {
        Ok(Fact::Number(number.into()))
    }

    fn visit_u32<E>(self, number: u32) -> Result<Fact<'de>, E> {
        Ok(Fact::Number(number.into()))
    }

    fn visit_i32<E>(self, number: i32) -> Result<Fact<'de>, E> {
        Ok(Fact::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Fact<'de>, E> {
        Ok(u32::try_from(number).map_or(Fact::Nothing, |number| Fact::Number(number.into())))
    }

    fn visit_u128<E>(self, _: u128) -> Result<Fact<'de>, E> {
        Ok(Fact::Nothing)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Fact<'de>, E> {
        Ok(Fact::Nothing)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Fact<'de>, E> {
        Ok(Fact::Nothing)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fact<'de>, A::Error> {
        let mut code = Fact::Nothing;
        while let Some(key) = map.next_key::<&str>()? {
            if matches!(key, "iso_code" | "code") {
                code = map.next_value()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(code)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Fact<'de>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Fact::Nothing)
    }
}
