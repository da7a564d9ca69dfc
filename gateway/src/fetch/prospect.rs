//! What is known of a content, and what a request for it would lead to now. It is only looked at: nobody is asked, and
//! nothing is changed or counts as used.

mod content;
mod words;

use std::io;
use std::time::{Duration, UNIX_EPOCH};

use resolver::connectivity::Link;
use resolver::hedge::Errand;
use resolver::integrity::{Expected, Integrity};
use resolver::package::{FileName, PackageName};
use resolver::packument::Release;
use resolver::peer::PeerId;
use resolver::plan::{self, Held, Plan, Rest, Wish};
use serde::{Deserialize, Serialize};

pub use content::{Content, InvalidContent};

use super::{Fetch, age, now_ms};
use crate::store::PackumentRecord;
use crate::takedown::Notice;
use crate::upstream::Upstream;

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum NoProspect {
    /// The packument that is held does not know the version.
    #[error(
        "the packument of {name} that is held has no version {version}; it was last confirmed {confirmed}, and whoever asks \
         for a tarball that it does not have makes this gateway ask upstream once more"
    )]
    NoVersion {
        /// The package.
        name: PackageName,
        /// What it has not.
        version: String,
        /// When upstream last said so, in words.
        confirmed: String,
    },
    /// The packument is damaged, or has just gone.
    #[error(
        "the packument of {0} that is held cannot be read ({1}); it is fetched again when it is asked for"
    )]
    Unreadable(PackageName, io::Error),
}

/// What is known of a content, and what would be done for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prospect {
    /// The package.
    pub name: String,
    /// Whether upstream can be asked.
    pub upstream: Connection,
    /// Its packument.
    pub packument: Packument,
    /// The tarball of the version that was named.
    pub tarball: Option<Tarball>,
}

/// Upstream, and the state of the latch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// The registry of record.
    pub url: String,
    /// `up`, `slow`, `down` or `offline`.
    pub state: String,
    /// Why it is down.
    pub cause: Option<String>,
}

/// A package's metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packument {
    /// The one that is held.
    pub held: Option<HeldPackument>,
    /// What a request for it would lead to.
    pub plan: Steps,
}

/// A packument that is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldPackument {
    /// The SHA-256 of what upstream sent.
    pub revision: String,
    /// Its length.
    pub bytes: u64,
    /// When upstream last sent it (RFC 3339).
    pub sent_at: Option<String>,
    /// When upstream last confirmed it; `None`: it has changed since, or a clock went wrong.
    pub confirmed_at: Option<String>,
    /// Seconds since then.
    pub confirmed_s_ago: Option<u64>,
    /// Seconds for which it is served without a question.
    pub fresh_for_s: u64,
    /// Seconds after that for which it is served while it is confirmed behind the client's back. Then upstream is first.
    pub usable_for_s: u64,
}

/// A version's tarball.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tarball {
    /// The version, where a dist-tag has named it.
    pub version: String,
    /// What it is called; `None`: that is not known yet.
    pub file: Option<String>,
    /// What its bytes must hash to; `None`: not known yet.
    pub digest: Option<String>,
    /// Who says so.
    pub digest_by: Option<String>,
    /// Its length, where it is held.
    pub held_bytes: Option<u64>,
    /// Where it would come from.
    pub address: Option<String>,
    /// What a request for it would lead to.
    pub plan: Steps,
}

/// A plan (see [`resolver::plan`]) and the reason for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steps {
    /// Where it is looked for, in this order; empty: nowhere.
    pub sources: Vec<Step>,
    /// Upstream is asked behind the client's back.
    pub confirmed_behind: bool,
    /// What keeps upstream from being asked.
    pub obstacle: Option<String>,
    /// Why all this.
    pub why: String,
}

/// One source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// `store` or `upstream`.
    pub source: String,
    /// Seconds until the next one is tried; `None`: as long as it takes.
    pub patience_s: Option<u64>,
}

impl Connection {
    /// As the latch sees it now.
    #[must_use]
    pub fn of(upstream: &Upstream) -> Self {
        let (state, cause) = match upstream.latch().link() {
            Link::Up => ("up", None),
            Link::Doubtful => ("slow", None),
            Link::Down(cause) => ("down", Some(cause)),
            Link::Offline => ("offline", None),
        };
        Self { url: upstream.base().to_owned(), state: state.to_owned(), cause }
    }
}

impl Fetch {
    /// What is known of a content, and what a request for it would lead to now.
    ///
    /// # Errors
    /// [`NoProspect`], where the packument that is held does not know the version, or cannot be read.
    pub async fn prospect(&self, content: &Content) -> Result<Prospect, NoProspect> {
        let name = &content.name;
        let held = self.inner.store.packument_unused(name);
        let link = self.inner.upstream.latch().link();
        let tarball = match &content.version {
            Some(version) => Some(self.foresee_tarball(name, version, held.as_ref(), &link).await?),
            None => None,
        };
        Ok(Prospect {
            name: name.to_string(),
            upstream: Connection::of(&self.inner.upstream),
            packument: self.foresee_packument(name, held.as_ref(), &link),
            tarball,
        })
    }

    fn foresee_packument(
        &self,
        name: &PackageName,
        held: Option<&PackumentRecord>,
        link: &Link,
    ) -> Packument {
        let packuments = &self.inner.packuments;
        if let Some(notice) = self.takedowns().of_package(name) {
            return Packument { held: None, plan: Steps::blocked(&notice) };
        }
        if held.is_none() && packuments.lately.is_absent(name, Wish::Usual) {
            return Packument { held: None, plan: Steps::absent() };
        }
        let facts =
            held.map(|held| Held { age: packuments.age(name, held), rest: packuments.lately.rest(name) });
        let plan = Plan::for_document(facts.as_ref(), Wish::Usual, &packuments.windows, link);
        let Some((record, facts)) = held.zip(facts) else {
            return Packument { held: None, plan: Steps::of(&plan, "it is not held".into()) };
        };
        let (fresh, usable) = packuments.windows.left(facts.age);
        let held = HeldPackument::of(record, fresh, usable);
        let rests = match facts.rest {
            Rest::None => "",
            Rest::Failed => ", and upstream has failed it a moment ago",
            Rest::Asked => ", and upstream wants to be left alone for a while",
        };
        let state = match (fresh.is_zero(), usable.is_zero()) {
            (false, _) => "it is fresh",
            (true, false) => "it is no longer fresh, but usable",
            (true, true) => "it is stale",
        };
        Packument { held: Some(held), plan: Steps::of(&plan, format!("{state}{rests}")) }
    }

    async fn foresee_tarball(
        &self,
        name: &PackageName,
        version: &str,
        held: Option<&PackumentRecord>,
        link: &Link,
    ) -> Result<Tarball, NoProspect> {
        let Some(record) = held else {
            // Only a packument knows what a dist-tag names.
            let file = name.conventional_file(version).ok();
            let file = file.filter(|_| version.starts_with(|first: char| first.is_ascii_digit()));
            return Ok(self.foresee_file(name, version, file, None, link));
        };
        let outline = self.outline_unused(record).await;
        let outline = outline.map_err(|error| NoProspect::Unreadable(name.clone(), error))?;
        let release = outline.release(version).ok_or_else(|| NoProspect::NoVersion {
            name: name.clone(),
            version: version.to_owned(),
            confirmed: words::ago(seconds_since(record.checked_ms)),
        })?;
        let file = Some(release.file.clone());
        Ok(self.foresee_file(name, &release.version, file, Some((release, record)), link))
    }

    fn foresee_file(
        &self,
        name: &PackageName,
        version: &str,
        file: Option<FileName>,
        release: Option<(&Release, &PackumentRecord)>,
        link: &Link,
    ) -> Tarball {
        let (expected, digest_by) = match file.as_ref().and_then(|file| self.promised(name, file, release)) {
            Some((expected, by)) => (Some(expected), Some(by.to_owned())),
            None => (None, None),
        };
        let held_bytes = match &expected {
            Some(Expected::Integrity(integrity)) => self.inner.store.blob_length(integrity),
            _ => None,
        };
        let named = release.and_then(|(release, _)| release.tarball.as_deref());
        let address = file.as_ref().map(|file| self.inner.upstream.origins().tarball(named, name, file));
        let plan = Plan::for_tarball(held_bytes.is_some(), link);
        let blocked = self.blocked_file(name, version, expected.as_ref());
        let plan = match (held_bytes, release) {
            _ if blocked.is_some() => {
                blocked.map_or_else(Steps::without_digest, |notice| Steps::blocked(&notice))
            }
            (Some(_), _) => Steps::of(&plan, "it is held, and its bytes never change".into()),
            (None, None) => Steps::of(&plan, "it is not held, and its packument comes first".into()),
            (None, Some(_)) if expected.is_none() => Steps::without_digest(),
            (None, Some(_)) => Steps::of(&plan, "it is not held".into()).after(self.asked_peers(
                expected,
                name,
                file.as_ref(),
            )),
        };
        let (file, digest) =
            (file.map(|file| file.as_str().to_owned()), expected.map(|expected| expected.to_string()));
        Tarball { version: version.to_owned(), file, digest, digest_by, held_bytes, address, plan }
    }

    /// The peers that would be asked first.
    fn asked_peers(
        &self,
        expected: Option<Expected>,
        name: &PackageName,
        file: Option<&FileName>,
    ) -> Vec<Step> {
        let (Some(Expected::Integrity(integrity)), Some(file)) = (expected, file) else { return Vec::new() };
        let asked = self.inner.downloads.asked_peers(integrity, name, file);
        let step = |(id, errand): (PeerId, Errand)| match errand {
            Errand::Held => format!("peer {id}, which says that it holds it"),
            Errand::Fetch => format!("peer {id}, whose turn it is to fetch it for this network"),
        };
        asked.into_iter().map(|one| Step { source: step(one), patience_s: None }).collect()
    }

    /// What a file must hash to, and who says so: the packument that is held, otherwise what its name stood for when it was
    /// fetched.
    fn promised(
        &self,
        name: &PackageName,
        file: &FileName,
        release: Option<(&Release, &PackumentRecord)>,
    ) -> Option<(Expected, &'static str)> {
        let fetched = self.inner.store.tarball(name, file);
        let told = |integrity: Integrity| Expected::Integrity(integrity);
        match (release.map(|(release, record)| (release.expected, record)), fetched) {
            (Some((_, record)), Some(fetched)) if fetched.is_word_of(&record.revision) => {
                Some((told(fetched.integrity), "the packument that is held"))
            }
            (Some((Some(expected @ Expected::Integrity(_)), _)), _) => {
                Some((expected, "the packument that is held"))
            }
            (_, Some(fetched)) => Some((told(fetched.integrity), "what it was when it was fetched")),
            (Some((Some(expected), _)), None) => Some((expected, "the packument that is held")),
            _ => None,
        }
    }
}

impl HeldPackument {
    fn of(record: &PackumentRecord, fresh: Duration, usable: Duration) -> Self {
        Self {
            revision: record.revision.hex(),
            bytes: record.length,
            sent_at: moment(record.fetched_ms),
            confirmed_at: moment(record.checked_ms),
            confirmed_s_ago: seconds_since(record.checked_ms),
            fresh_for_s: fresh.as_secs(),
            usable_for_s: usable.as_secs(),
        }
    }
}

impl Steps {
    fn of(plan: &Plan, why: String) -> Self {
        let step = |source: &plan::Source| match source {
            plan::Source::Store => Step { source: "store".into(), patience_s: None },
            plan::Source::Upstream { patience } => {
                Step { source: "upstream".into(), patience_s: patience.map(|patience| patience.as_secs()) }
            }
        };
        Self {
            sources: plan.sources.iter().map(step).collect(),
            confirmed_behind: plan.revalidate_behind,
            obstacle: plan.obstacle.clone(),
            why,
        }
    }

    /// The same, after others.
    fn after(mut self, mut first: Vec<Step>) -> Self {
        first.append(&mut self.sources);
        Self { sources: first, ..self }
    }

    fn absent() -> Self {
        Self::nowhere("upstream has just said that there is no such package, and is believed for a moment")
    }

    fn without_digest() -> Self {
        Self::nowhere("upstream names no digest for it, so it cannot be verified")
    }

    fn blocked(notice: &Notice) -> Self {
        Self::nowhere(&notice.to_string())
    }

    fn nowhere(why: &str) -> Self {
        Self { sources: Vec::new(), confirmed_behind: false, obstacle: None, why: why.to_owned() }
    }
}

/// `None` for a moment that tells nothing: it was taken back, or lies in the future.
fn seconds_since(moment_ms: u64) -> Option<u64> {
    (1..=now_ms()).contains(&moment_ms).then(|| age(moment_ms).as_secs())
}

fn moment(moment_ms: u64) -> Option<String> {
    let at = UNIX_EPOCH + Duration::from_millis(moment_ms);
    seconds_since(moment_ms).map(|_| humantime::format_rfc3339_seconds(at).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_that_was_taken_back_or_lies_ahead_tells_nothing() {
        assert_eq!((seconds_since(0), moment(0)), (None, None));
        assert_eq!(seconds_since(now_ms() + 60_000), None);
        assert_eq!(moment(1_800_000_000_000).is_some(), now_ms() >= 1_800_000_000_000);
        assert_eq!(moment(1_000_000_000_000).as_deref(), Some("2001-09-09T01:46:40Z"));
    }
}
