//! Fetches again what the store has found spoilt before anybody asked for it.

use resolver::plan::Wish;

use crate::store::Lost;

use super::{Fetch, TarballRequest};

impl Fetch {
    /// Fetches one after the other, as long as there is a store. What cannot be had now is fetched when somebody asks
    /// for it.
    pub async fn repair_forever(self) {
        let Some(mut lost) = self.inner.store.lost() else {
            return;
        };
        while let Some(lost) = lost.recv().await {
            let again = match &lost {
                Lost::Tarball(name, file, integrity) => {
                    let request = TarballRequest::Named(name.clone(), file.clone(), Some(*integrity));
                    self.tarball(&request, true).await.map(drop)
                }
                Lost::Packument(name) => self.packument(name, Wish::Usual).await.map(drop),
            };
            if let Err(failure) = again {
                tracing::info!(?lost, %failure, "what was lost cannot be fetched again yet");
            }
        }
    }
}
