//! What a probe means for whoever learns.

use resolver::health;
use resolver::peers::Due;

use super::owner::{Found, Probe};
use super::probe::{Probed, Prober};

impl Probe for Prober {
    async fn probe(&self, due: Due) -> Found {
        Self::probe(self, &due).await.into()
    }
}

impl From<Probed> for Found {
    fn from(probed: Probed) -> Self {
        let words = || format!("{}: {}", probed.scheme.name(), probed.outcome);
        match health::Outcome::from(&probed.outcome) {
            health::Outcome::Passed { load, accepting } => Self::Passed { load, accepting },
            health::Outcome::Deceived => Self::Deceived(words()),
            _ => Self::Failed(words()),
        }
    }
}
