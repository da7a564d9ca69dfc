//! What clients ask about packages besides: small signed documents, of which most are not there, which is kept too.

use std::time::Duration;

use resolver::evidence::EvidenceName;

use super::{Came, WarmUp};
use crate::fetch::Failure;

/// Times that evidence is asked for, and the pause before each further one.
const EVIDENCE_TRIES: u32 = 3;
const EVIDENCE_PAUSE: Duration = Duration::from_secs(1);

impl WarmUp {
    pub(super) async fn keys(&self) {
        if let Err(why) = self.evidence(&EvidenceName::Keys).await {
            self.miss("the registry".into(), vec![("keys", why)], false);
        }
    }

    pub(super) async fn evidence(&self, name: &EvidenceName) -> Result<Came, String> {
        let path = name.path();
        if self.fetch.store().evidence(&path).is_some() {
            return Ok(Came::Held);
        }
        let _place = self.place().await?;
        let mut tries = 1;
        loop {
            match self.fetch.evidence(name).await {
                Err(Failure::Unavailable { .. }) if tries < EVIDENCE_TRIES && self.is_up() => {
                    tokio::time::sleep(EVIDENCE_PAUSE * tries).await;
                    tries += 1;
                }
                ended => return ended.map(|_| Came::Fetched).map_err(|failure| failure.to_string()),
            }
        }
    }
}
