//! Small signed documents: the registry's keys, and the attestations of versions. pnpm asks for them for
//! every package, even with a frozen lockfile, and for most of them upstream has none; both answers are kept.

use std::time::Duration;

use http::StatusCode;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE};
use resolver::evidence::EvidenceName;
use resolver::plan::{Held, Plan, Rest, Source, Windows, Wish};

use super::decode;
use super::failure::Failure;
use super::flights::Flight;
use super::packuments::confirmed_ms;
use super::{FIRST_BYTE, Fetch, Provenance, age, now_ms};
use crate::store::{Evidence, StoreError};
use crate::upstream::{Answer, UpstreamError, headers};

/// How long an answer is believed unasked.
const FRESH: Duration = Duration::from_secs(3600);
/// How long the absence of one is: a version's attestations come with its publication, or a little later.
const FRESH_ABSENCE: Duration = Duration::from_secs(15 * 60);
/// The longest answer that is kept: bundles have some 20 KB.
const LONGEST: u64 = 1024 * 1024;

impl Fetch {
    /// A small signed document, or upstream's word that it has none.
    ///
    /// # Errors
    /// [`Failure`], when it is neither held nor to be had.
    pub async fn evidence(&self, name: &EvidenceName) -> Result<(Evidence, Provenance), Failure> {
        let path = name.path();
        let held = self.inner.store.evidence(&path);
        let fresh = if held.as_ref().is_some_and(|held| held.status == 404) { FRESH_ABSENCE } else { FRESH };
        let link = self.inner.upstream.latch().link();
        let facts = held.as_ref().map(|held| Held { age: age(held.checked_ms), rest: Rest::None });
        let plan = Plan::for_document(facts.as_ref(), Wish::Usual, &Windows::fresh(fresh), &link);
        if plan.revalidate_behind {
            drop(self.evidence_of_upstream(name));
        }
        let mut failure = Failure::unavailable(&path, plan.obstacle.unwrap_or_default());
        for source in plan.sources {
            match (source, &held) {
                (Source::Store, Some(held)) => return Ok((held.clone(), Provenance::Store)),
                (Source::Store, None) => {}
                (Source::Upstream { patience }, _) => {
                    let asked = self.evidence_of_upstream(name);
                    match tokio::time::timeout(patience.unwrap_or(FIRST_BYTE), asked).await {
                        Ok(Ok(given)) => return Ok(given),
                        Ok(Err(failed)) => failure = failed,
                        Err(_) => {
                            self.inner.upstream.latch().overdue();
                            failure = Failure::unavailable(&path, "upstream is slow");
                        }
                    }
                }
            }
        }
        Err(failure)
    }

    /// Asks upstream, whatever is held; one request however many ask.
    fn evidence_of_upstream(&self, name: &EvidenceName) -> Flight<(Evidence, Provenance)> {
        self.inner.evidence.join(name, || {
            let (fetch, name) = (self.clone(), name.clone());
            async move { fetch.ask_for_evidence(&name).await }
        })
    }

    async fn ask_for_evidence(&self, name: &EvidenceName) -> Result<(Evidence, Provenance), Failure> {
        let path = name.path();
        let address = format!("{}/{path}", self.inner.upstream.base());
        let wanted = headers(&[(ACCEPT, "application/json"), (ACCEPT_ENCODING, "gzip")]);
        let given = match self.inner.upstream.get(&address, wanted, 0).await {
            Ok(answer) if answer.head.status == StatusCode::OK => {
                let source = Provenance::of(&answer);
                received(answer).await.map(|evidence| (evidence, source))
            }
            Ok(answer) => Err(UpstreamError::Refused(answer.head.status)),
            Err(UpstreamError::Missing) => Ok((none(), Provenance::Upstream)),
            Err(error) => Err(error),
        };
        let (evidence, source) = given.map_err(|error| Failure::of(&path, &error))?;
        if self.is_worth_keeping(name).await {
            match self.inner.store.keep_evidence(&path, evidence.clone()).await {
                Ok(()) | Err(StoreError::Full) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok((evidence, source))
    }

    /// Whether it is about something that is held: nobody fills the state with versions that he made up.
    async fn is_worth_keeping(&self, name: &EvidenceName) -> bool {
        let EvidenceName::Attestations(package, version) = name else {
            return true;
        };
        let Some(document) = self.held(package) else {
            return false;
        };
        let outline = self.outline(&document).await;
        outline
            .is_ok_and(|outline| outline.release(version).is_some_and(|release| release.version == *version))
    }
}

async fn received(answer: Answer) -> Result<Evidence, UpstreamError> {
    let content_type = answer.header(CONTENT_TYPE).map(str::to_owned);
    let checked_ms = confirmed_ms(&answer);
    let body = decode::text(answer, LONGEST).await?;
    Ok(Evidence { status: 200, content_type, body, checked_ms })
}

fn none() -> Evidence {
    Evidence { status: 404, content_type: None, body: String::new(), checked_ms: now_ms() }
}
