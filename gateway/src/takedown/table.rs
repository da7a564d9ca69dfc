//! What requests look into: everything that is blocked, by each of its names and by digest.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use resolver::integrity::Integrity;
use resolver::package::{FileName, PackageName};
use resolver::removed::{Removal, WHOLE};
use sha2::{Digest as _, Sha256};

use super::lists::Lists;

/// Why something is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// In words: a package, or one version of it.
    pub what: String,
    /// For whoever asks; in one line.
    pub reason: String,
    /// It is home's word, and not that of this gateway's own operator.
    pub by_home: bool,
}

/// A file of a package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fact {
    /// What it is called.
    pub file: FileName,
    /// Of which version, if that is known.
    pub version: Option<String>,
    /// npm's digest, if there is one.
    pub integrity: Option<Integrity>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Table {
    packages: HashMap<PackageName, Of>,
    pub(super) digests: HashMap<Integrity, Arc<Notice>>,
    /// Of the operator, and of home.
    pub(super) count: (usize, usize),
    /// For each package, what differs when something else of it is blocked.
    pub(super) marks: Arc<BTreeMap<String, String>>,
}

/// What is blocked of a package.
#[derive(Default)]
pub(super) struct Of {
    pub(super) whole: Option<Arc<Notice>>,
    pub(super) versions: BTreeMap<String, Arc<Notice>>,
    pub(super) files: HashMap<FileName, Arc<Notice>>,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not served here: {}", self.what, self.reason)
    }
}

impl Notice {
    fn of(name: &PackageName, block: &Removal, by_home: bool) -> Arc<Self> {
        let what = match block.version.as_str() {
            WHOLE => name.to_string(),
            version => format!("{name}@{version}"),
        };
        // It may come from another gateway, and goes to terminals.
        let plain = |text: &str| text.chars().map(|one| if one.is_control() { ' ' } else { one }).collect();
        Arc::new(Self { what: plain(&what), reason: plain(&block.reason), by_home })
    }
}

impl Table {
    /// The operator's word is shown before home's.
    pub(super) fn of(lists: &Lists) -> Self {
        let mut table = Self { count: (lists.own.len(), lists.homes.len()), ..Self::default() };
        let mut marks: BTreeMap<String, Sha256> = BTreeMap::new();
        for (list, by_home) in [(&lists.own, false), (&lists.homes, true)] {
            for (name, removals) in list.iter() {
                let mark = marks.entry(name.to_string()).or_default();
                mark.update([u8::from(by_home)]);
                mark.update(removals.to_json().unwrap_or_default());
                for block in removals.iter() {
                    table.put(name, block, by_home);
                }
            }
        }
        for (name, facts) in &lists.facts {
            let Some(of) = table.packages.get_mut(name) else { continue };
            for fact in facts {
                let Some(notice) = of.notice(name, fact) else { continue };
                of.files.entry(fact.file.clone()).or_insert_with(|| Arc::clone(&notice));
                if let Some(integrity) = fact.integrity {
                    table.digests.entry(integrity).or_insert(notice);
                }
                if let Some(mark) = marks.get_mut(name.as_str()) {
                    mark.update(fact.file.as_str());
                    mark.update(fact.integrity.as_ref().map_or(&[][..], |integrity| integrity.as_bytes()));
                }
            }
        }
        let hex = |mark: Sha256| mark.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        table.marks = Arc::new(marks.into_iter().map(|(name, mark)| (name, hex(mark))).collect());
        table
    }

    fn put(&mut self, name: &PackageName, block: &Removal, by_home: bool) {
        let notice = Notice::of(name, block, by_home);
        let of = self.packages.entry(name.clone()).or_default();
        if block.version == WHOLE {
            of.whole.get_or_insert_with(|| Arc::clone(&notice));
        } else {
            of.versions.entry(block.version.clone()).or_insert_with(|| Arc::clone(&notice));
            if let Ok(file) = name.conventional_file(&block.version) {
                of.files.entry(file).or_insert_with(|| Arc::clone(&notice));
            }
        }
        if let Some(integrity) = block.integrity.as_deref().and_then(Integrity::from_sri) {
            self.digests.entry(integrity).or_insert(notice);
        }
    }

    pub(super) fn of_package(&self, name: &PackageName) -> Option<&Of> {
        if self.packages.is_empty() { None } else { self.packages.get(name) }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &PackageName> {
        self.packages.keys()
    }
}

impl Of {
    fn notice(&self, name: &PackageName, fact: &Fact) -> Option<Arc<Notice>> {
        let named = match &fact.version {
            Some(version) => self.versions.get(version),
            None => self.versions.iter().find_map(|(version, notice)| {
                name.conventional_file(version).is_ok_and(|file| file == fact.file).then_some(notice)
            }),
        };
        named.or(self.whole.as_ref()).cloned()
    }
}
