//! Whose blocks there are, and what is known of the files that they mean; kept in the data directory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use resolver::integrity::Integrity;
use resolver::package::PackageName;
use resolver::peer::PeerId;
use resolver::removed::{Blocklist, By, LONGEST_BLOCKLIST, Removal, Removals, WHOLE};
use serde::{Deserialize, Serialize};

use super::table::Fact;
use super::{Block, TooMany};

/// The files.
const OWN: &str = "blocked.json";
const HOMES: &str = "blocked.home.json";
/// Files that are known of all that is blocked: some hundred packages with thousands of versions each, in some 40 MB.
const MOST_FACTS: usize = 200_000;

/// See the module.
#[derive(Default)]
pub(super) struct Lists {
    dir: Option<PathBuf>,
    home: Option<PeerId>,
    /// What the operator blocks.
    pub(super) own: Blocklist,
    /// What home blocks.
    pub(super) homes: Blocklist,
    /// Files of packages of which something is blocked.
    pub(super) facts: BTreeMap<PackageName, BTreeSet<Fact>>,
}

/// What is kept of home's word.
#[derive(Serialize, Deserialize)]
struct Kept {
    home: PeerId,
    list: Option<String>,
}

impl Lists {
    pub(super) fn open(dir: &Path, blocks: &[Block], home: Option<PeerId>) -> Result<Self, TooMany> {
        let before = read(&dir.join(OWN)).and_then(|json| Blocklist::parse(&json).ok()).unwrap_or_default();
        let own = configured(blocks, &before)?;
        let mut lists = Self { dir: Some(dir.to_owned()), home, own, ..Self::default() };
        if lists.own != before {
            lists.keep_own();
        }
        let kept: Option<Kept> = read(&dir.join(HOMES)).and_then(|json| serde_json::from_slice(&json).ok());
        let list = kept.filter(|kept| Some(kept.home) == home).and_then(|kept| kept.list);
        lists.homes = list.and_then(|json| Blocklist::parse(json.as_bytes()).ok()).unwrap_or_default();
        Ok(lists)
    }

    /// Home says this now; whether that is news.
    pub(super) fn follow(&mut self, list: Blocklist) -> bool {
        if self.homes == list {
            return false;
        }
        self.homes = list;
        if let Some(home) = self.home {
            let list = self.homes.to_json().and_then(|json| String::from_utf8(json).ok());
            let kept = serde_json::to_vec(&Kept { home, list }).unwrap_or_default();
            self.keep(HOMES, &kept);
        }
        let Self { own, homes, facts, .. } = self;
        facts.retain(|name, _| own.of(name).is_some() || homes.of(name).is_some());
        true
    }

    /// Notes what becomes known of files that are blocked; whether that is news.
    pub(super) fn learn(&mut self, name: &PackageName, facts: impl IntoIterator<Item = Fact>) -> bool {
        let (mut is_news, mut is_learned) = (false, false);
        let mut known: usize = self.facts.values().map(BTreeSet::len).sum();
        for fact in facts {
            let Some(version) = self.blocked_version(name, &fact) else { continue };
            if let Some(integrity) = &fact.integrity {
                is_learned |= self.own.learn(name, &version, &integrity.to_string());
            }
            if known < MOST_FACTS && self.facts.entry(name.clone()).or_default().insert(fact) {
                known += 1;
                is_news = true;
            }
        }
        if is_learned {
            self.keep_own();
        }
        is_news || is_learned
    }

    /// Which version a file is of, if that is blocked, alone or with its package.
    fn blocked_version(&self, name: &PackageName, fact: &Fact) -> Option<String> {
        let of = || [&self.own, &self.homes].into_iter().filter_map(|list| list.of(name));
        let is_it = |version: &str| match &fact.version {
            Some(of_file) => of_file == version,
            None => name.conventional_file(version).is_ok_and(|file| file == fact.file),
        };
        let named = of().flat_map(Removals::iter).find(|one| is_it(&one.version));
        let whole = || of().any(|removals| removals.blocked_whole().is_some());
        let version = named.map(|one| one.version.clone());
        version.or_else(|| whole().then(|| fact.version.clone().unwrap_or_default()))
    }

    fn keep_own(&self) {
        self.keep(OWN, &self.own.to_json().unwrap_or_default());
    }

    fn keep(&self, file: &str, bytes: &[u8]) {
        let Some(dir) = &self.dir else { return };
        let unfinished = dir.join(format!("{file}.new"));
        let kept = fs::write(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, dir.join(file)));
        if let Err(error) = kept {
            tracing::error!(%error, file, "what is blocked cannot be kept: after a start it is not known until it is read again");
        }
    }
}

/// The configuration's blocks; what was known of them before stays known.
fn configured(blocks: &[Block], before: &Blocklist) -> Result<Blocklist, TooMany> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut list = Blocklist::default();
    for block in blocks {
        // The configuration was checked when it was read.
        let Ok(package) = PackageName::parse(&block.package) else { continue };
        let version = if block.version.is_empty() { WHOLE } else { block.version.as_str() }.to_owned();
        let known = before.of(&package).and_then(|of| of.iter().find(|one| one.version == version));
        let given = Some(&block.integrity).filter(|sri| Integrity::from_sri(sri).is_some()).cloned();
        let removal = Removal {
            version,
            by: By::Operator,
            reason: block.reason.clone(),
            when: known
                .map_or_else(|| u64::try_from(now.as_millis()).unwrap_or(u64::MAX), |known| known.when),
            integrity: given.or_else(|| known.and_then(|known| known.integrity.clone())),
        };
        list.put(package, removal).map_err(|_| TooMany)?;
    }
    Ok(list)
}

/// A file of ours; anything else that stands there is as good as nothing.
fn read(path: &Path) -> Option<Vec<u8>> {
    // Home's word stands in it as a text, and each of its quotes as two bytes.
    let limit = 2 * u64::try_from(LONGEST_BLOCKLIST).unwrap_or(u64::MAX) + 4096;
    let mut bytes = Vec::new();
    match fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)) {
        Ok(_) => Some(bytes),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::error!(%error, path = %path.display(), "what was blocked cannot be read");
            }
            None
        }
    }
}
