//! All that one operator blocks, in one document: `/.federation/blocked.json` in the tree, so that whoever follows learns of all of it with one
//! small fetch whenever it changes.
//!
//! ```text
//! {"blocked": [{"package": "left", "version": "1.2.3", "by": "operator", "reason": "a court's order", "when": 1795341540123,
//!               "integrity": "sha512-..."}]}
//! ```

use alloc::borrow::ToOwned as _;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{By, NotRemovals, Removal, Removals};
use crate::package::PackageName;

/// The longest that is read, in bytes: one block of the tree, some thousand entries.
pub const LONGEST: usize = 1024 * 1024;
/// What stands around the entries, in bytes, and between two of them; and around a package's name.
const AROUND: usize = 64;
const BETWEEN: usize = 1;
const NAMED: usize = 16;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blocklist {
    packages: BTreeMap<PackageName, Removals>,
    /// In JSON, at most, in bytes.
    size: usize,
}

#[derive(Serialize, Deserialize)]
struct Entry<N, R> {
    package: N,
    #[serde(flatten)]
    removal: R,
}

#[derive(Serialize, Deserialize)]
struct Document<E> {
    blocked: Vec<E>,
}

impl Blocklist {
    /// Reads one. What later versions say beside it is passed over.
    ///
    /// # Errors
    /// [`NotRemovals`].
    pub fn parse(json: &[u8]) -> Result<Self, NotRemovals> {
        if json.len() > LONGEST {
            return Err(NotRemovals::Excessive);
        }
        let unreadable = |error: &dyn core::fmt::Display| NotRemovals::Unreadable(error.to_string());
        let read: Document<Entry<String, Removal>> =
            serde_json::from_slice(json).map_err(|error| unreadable(&error))?;
        let mut list = Self::default();
        for Entry { package, removal } in read.blocked {
            let package = PackageName::parse(&package).map_err(|error| unreadable(&error))?;
            list.put(package, removal)?;
        }
        Ok(list)
    }

    /// Writes it. Nothing blocked is no document.
    #[must_use]
    pub fn to_json(&self) -> Option<Vec<u8>> {
        let entry = |package, removal| Entry { package, removal };
        let of =
            |(name, removals)| Removals::iter(removals).map(move |one| entry(PackageName::as_str(name), one));
        let document = Document { blocked: self.packages.iter().flat_map(of).collect() };
        let is_some = !document.blocked.is_empty();
        is_some.then(|| serde_json::to_vec(&document).expect("strings and numbers are JSON"))
    }

    /// Puts a block in; of two for the same version the earlier one counts. It is an operator's, whatever it says.
    ///
    /// # Errors
    /// [`NotRemovals::Excessive`] and [`NotRemovals::Integrity`], and nothing has changed.
    pub fn put(&mut self, package: PackageName, removal: Removal) -> Result<(), NotRemovals> {
        let removal = Removal { by: By::Operator, ..removal };
        let more = super::size_of(&removal) + package.as_str().len() + NAMED + BETWEEN;
        if self.size + more + AROUND > LONGEST {
            return Err(NotRemovals::Excessive);
        }
        let mut of = self.packages.get(&package).cloned().unwrap_or_default();
        of.put(removal)?;
        // One that takes the place of another is counted with it: a little less fits then.
        self.size += more;
        self.packages.insert(package, of);
        Ok(())
    }

    /// The digest of a version that is blocked has become known; says whether that is news.
    pub fn learn(&mut self, package: &PackageName, version: &str, integrity: &str) -> bool {
        let removals = self.packages.get_mut(package);
        let Some(removals) = removals else { return false };
        let found = removals.iter().find(|one| one.version == version && one.integrity.is_none()).cloned();
        let Some(block) = found else { return false };
        let size = integrity.len() + NAMED;
        if self.size + size + AROUND > LONGEST {
            return false;
        }
        let learned = Removal { integrity: Some(integrity.to_owned()), ..block.clone() };
        removals.lift(version, By::Operator);
        let is_learned = removals.put(learned).is_ok();
        if !is_learned {
            // It was there a moment ago, so it fits.
            let _ = removals.put(block);
            return false;
        }
        self.size += size;
        true
    }

    /// What is blocked of a package.
    #[must_use]
    pub fn of(&self, package: &PackageName) -> Option<&Removals> {
        self.packages.get(package)
    }

    /// All packages of which something is blocked, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&PackageName, &Removals)> {
        self.packages.iter()
    }

    /// How many blocks there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.packages.values().map(|removals| removals.iter().count()).sum()
    }

    /// Nothing is blocked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integrity::Integrity;
    use alloc::format;
    use proptest::prelude::*;

    fn left() -> PackageName {
        PackageName::parse("left").unwrap()
    }

    fn block(version: &str) -> Removal {
        Removal {
            version: version.into(),
            by: By::Operator,
            reason: "an order".into(),
            when: 7,
            integrity: None,
        }
    }

    #[test]
    fn it_is_read_as_it_was_written_and_nothing_is_no_document() {
        let mut list = Blocklist::default();
        assert_eq!(list.to_json(), None);
        list.put(left(), block("1.0.0")).unwrap();
        list.put(left(), block("*")).unwrap();
        list.put(PackageName::parse("@s/right").unwrap(), block("2.0.0")).unwrap();
        assert!(list.learn(&left(), "1.0.0", &Integrity::of(b"left").to_string()));
        assert!(!list.learn(&left(), "1.0.0", &Integrity::of(b"other").to_string()), "what is known stays");
        let json = list.to_json().unwrap();
        let read = Blocklist::parse(&json).unwrap();
        assert_eq!(read.to_json().unwrap(), json);
        assert_eq!(
            (read.len(), read.of(&left()), read.size + AROUND >= json.len()),
            (3, list.of(&left()), true)
        );
    }

    #[test]
    fn a_block_is_an_operators_whatever_it_says() {
        let mut list = Blocklist::default();
        list.put(left(), Removal { by: By::Upstream, ..block("*") }).unwrap();
        assert!(list.of(&left()).unwrap().blocked_whole().is_some());
    }

    #[test]
    fn what_is_written_can_be_read_however_much_is_put_in() {
        let mut list = Blocklist::default();
        for nth in 0..20_000 {
            let reason = "\u{1}".repeat(80);
            let removal =
                Removal { reason, integrity: Some(Integrity::of(b"x").to_string()), ..block("1.0.0") };
            if list.put(PackageName::parse(&format!("left-{nth}")).unwrap(), removal).is_err() {
                break;
            }
        }
        assert!(list.len() > 1000 && list.len() < 20_000);
        assert_eq!(Blocklist::parse(&list.to_json().unwrap()).unwrap().len(), list.len());
    }

    proptest! {
        #[test]
        fn whatever_stands_under_a_root_is_a_list_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            flip in any::<(u8, u8)>(),
        ) {
            let _ = Blocklist::parse(&bytes);
            let mut list = Blocklist::default();
            list.put(left(), block("1.0.0")).unwrap();
            let mut json = list.to_json().unwrap();
            let at = usize::from(flip.0) % json.len();
            json[at] ^= flip.1;
            if let Ok(read) = Blocklist::parse(&json) {
                let again = read.to_json().map(|json| Blocklist::parse(&json).unwrap().to_json());
                prop_assert_eq!(again, read.to_json().map(Some));
            }
        }
    }
}
