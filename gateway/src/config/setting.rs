//! One value for one key: what all layers are made of.

use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};

/// One value for one key, and where it was written.
#[derive(Debug, Clone)]
pub struct Setting {
    /// `file:line`, a variable or a flag.
    pub(crate) place: String,
    /// Section and key: `http.listen`.
    pub(crate) key: String,
    /// The value, before its type is known to be right.
    pub(crate) value: Value,
}

impl Setting {
    /// A value for a key, written at this place.
    pub fn new(place: impl Into<String>, key: impl Into<String>, value: impl Into<Value>) -> Self {
        Self { place: place.into(), key: key.into(), value: value.into() }
    }
}

/// A setting is a layer of its own, so that every value can be traced to its line, variable or flag.
impl Provider for Setting {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.place.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let nested = figment::util::nest(&self.key, self.value.clone());
        Ok(Profile::Default.collect(nested.into_dict().unwrap_or_default()))
    }
}
