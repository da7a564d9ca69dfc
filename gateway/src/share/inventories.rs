//! What peers have said that they hold: a lookup asks nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use resolver::integrity::Integrity;
use resolver::inventory::Prints;
use resolver::peer::PeerId;

/// What all peers have said. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Inventories {
    known: Arc<RwLock<BTreeMap<PeerId, Prints>>>,
}

impl Inventories {
    /// Who has said to hold it, in no order.
    #[must_use]
    pub fn holders(&self, integrity: &Integrity) -> Vec<PeerId> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().filter(|(_, prints)| prints.holds(integrity)).map(|(id, _)| *id).collect()
    }

    /// What one holds, as it has said.
    pub fn set(&self, id: PeerId, prints: Prints) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(id, prints);
    }
}
