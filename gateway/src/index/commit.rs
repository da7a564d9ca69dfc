//! One change of the index: rows, nodes, root and head in one transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use redb::ReadableTable;
use resolver::head::Root;
use resolver::index::{Cid, Folder};
use resolver::package::PackageName;

use super::database::Trouble;
use super::head::{Record, now};
use super::listing::{Difference, Rows};
use super::tables::{
    BEGINNING, BLOCKS, FILES, FileRow, HEEDED, MADE_BY, META, RECORD, REVIEWED, ROOT, SEQUENCE, SINCE, Tree,
    keys_of, read_file_key, read_number,
};
use super::transaction::{drop_places, exchange, grow, leave};
use super::{Inner, Published};

/// What is to be committed.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) differences: Vec<Difference>,
    /// The review has come so far; `None`: there was none.
    pub(super) reviewed: Option<Reviewed>,
    /// Everything has been listed once.
    pub(super) is_begun: bool,
    /// The head is to be signed again, also when the root stays.
    pub(super) is_due: bool,
    /// What is blocked has been heeded; `None`: as before.
    pub(super) heeded: Option<Heeded>,
}

/// What differs for a package whenever something else of it is blocked.
pub(super) type Heeded = Arc<BTreeMap<String, String>>;

/// How far what is listed has been compared with what is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reviewed {
    UpTo(String),
    All,
}

/// What the index says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct State {
    pub(super) made_by: Vec<u8>,
    pub(super) since: Option<u64>,
    /// Not everything that is held has been listed yet.
    pub(super) is_beginning: bool,
    /// Where the review goes on, if there is one.
    pub(super) reviewed: Option<String>,
    pub(super) record: Option<Record>,
    pub(super) tree: Option<Tree>,
}

impl Batch {
    /// Nothing would be different.
    pub(super) fn is_empty(&self) -> bool {
        let changes = self.differences.iter().any(|difference| difference.weight() > 0);
        !changes && self.reviewed.is_none() && !self.is_begun && !self.is_due && self.heeded.is_none()
    }
}

impl Inner {
    /// What the index says of itself. Blocks for a moment.
    pub(super) fn state(&self) -> Result<State, Trouble> {
        self.database.read(|read| {
            let meta = read.open_table(META)?;
            let word = |word: &str| -> Result<Option<Vec<u8>>, redb::Error> {
                Ok(meta.get(word)?.map(|row| row.value().to_vec()))
            };
            let record = word(RECORD)?.and_then(|bytes| Record::read(&self.basis.identity, &bytes));
            let tree = word(ROOT)?
                .map(|bytes| Tree::read(&bytes).ok_or_else(|| unreadable("the root")))
                .transpose()?;
            Ok(State {
                made_by: word(MADE_BY)?.unwrap_or_default(),
                since: word(SINCE)?.and_then(|bytes| read_number(&bytes)),
                is_beginning: word(BEGINNING)?.is_some(),
                reviewed: word(REVIEWED)?.and_then(|bytes| String::from_utf8(bytes).ok()),
                record,
                tree,
            })
        })
    }

    /// What was blocked when that was last heeded. Blocks for a moment.
    pub(super) fn heeded(&self) -> Result<Heeded, Trouble> {
        self.database.read(|read| {
            let row = read.open_table(META)?.get(HEEDED)?;
            let read = |row: &[u8]| serde_json::from_slice(row).map_err(|_| unreadable("what is blocked"));
            row.map_or_else(|| Ok(Heeded::default()), |row| read(row.value()).map(Arc::new))
        })
    }

    /// What is listed in a directory. Blocks for a moment.
    pub(super) fn listed(&self, folder: &Folder) -> Result<Rows, Trouble> {
        let (from, to) = keys_of(folder);
        self.database.read(|read| {
            let mut rows = Rows::new();
            for row in read.open_table(FILES)?.range::<&str>(from.as_str()..to.as_str())? {
                let (key, value) = row?;
                let file = key.value().split_once('\0').map_or("", |(_, file)| file).to_owned();
                let row = FileRow::read(value.value())
                    .ok_or_else(|| unreadable(&format!("the row of {folder}/{file}")))?;
                rows.insert(file, row);
            }
            Ok(rows)
        })
    }

    /// The packages that have listed the document with this address. Blocks for a moment.
    pub(super) fn packages_with(&self, cid: &Cid, most: usize) -> Result<Vec<PackageName>, Trouble> {
        let cid = cid.to_bytes();
        self.database.read(|read| {
            let blocks = read.open_table(BLOCKS)?;
            let mut names = Vec::new();
            for row in blocks.range::<(&[u8], &str)>((cid.as_slice(), "")..)?.take(most) {
                let (key, _) = row?;
                let (of, key) = key.value();
                if of != cid {
                    break;
                }
                names.extend(read_file_key(key).map(|(name, _)| name));
            }
            Ok(names)
        })
    }

    /// The next names that are listed, behind this one. Blocks for a moment.
    pub(super) fn names_behind(&self, after: &str, most: usize) -> Result<Vec<PackageName>, Trouble> {
        self.database.read(|read| {
            let files = read.open_table(FILES)?;
            let (mut names, mut after) = (Vec::new(), after.to_owned());
            while names.len() < most {
                // A name is followed by NUL; what begins with it and a greater octet is another one.
                let from = if after.is_empty() { String::new() } else { format!("{after}\u{1}") };
                let Some(row) = files.range::<&str>(from.as_str()..)?.next() else { break };
                let key = row?.0.value().to_owned();
                let name = key.split('\0').next().unwrap_or_default();
                names.extend(PackageName::parse(name));
                name.clone_into(&mut after);
            }
            Ok(names)
        })
    }

    /// Everything that is held is to be listed, from nothing or once more. Blocks.
    pub(super) fn begin(&self, made_by: &[u8], since: u64) -> Result<(), Trouble> {
        self.database.write(|write| {
            let mut meta = write.open_table(META)?;
            if meta.get(MADE_BY)?.is_none() {
                meta.insert(BEGINNING, [].as_slice())?;
            }
            meta.insert(MADE_BY, made_by)?;
            meta.insert(SINCE, since.to_be_bytes().as_slice())?;
            meta.insert(REVIEWED, [].as_slice())?;
            Ok(())
        })
    }

    /// Commits a batch with the root that it makes, and with the head of that when everything has been listed. Blocks.
    pub(super) fn commit(&self, batch: &Batch) -> Result<(), Trouble> {
        self.database.write(|write| {
            let mut left = Vec::new();
            for difference in &batch.differences {
                left.extend(exchange(write, difference)?);
            }
            let mut meta = write.open_table(META)?;
            match &batch.reviewed {
                Some(Reviewed::UpTo(name)) => drop(meta.insert(REVIEWED, name.as_bytes())?),
                Some(Reviewed::All) => drop(meta.remove(REVIEWED)?),
                None => {}
            }
            if batch.is_begun {
                meta.remove(BEGINNING)?;
            }
            if let Some(heeded) = &batch.heeded {
                let json = serde_json::to_vec(&**heeded).map_err(|error| Trouble::Io(error.to_string()))?;
                meta.insert(HEEDED, json.as_slice())?;
            }
            let before = meta.get(ROOT)?.and_then(|row| Tree::read(row.value()));
            let grown = grow(write, before, &batch.differences)?;
            if let Some((tree, _)) = &grown {
                meta.insert(ROOT, tree.write().as_slice())?;
            }
            let (tree, gone) = grown.map_or((before, Vec::new()), |(tree, gone)| (Some(tree), gone));
            let displaced = [gone, left].concat();
            if meta.get(BEGINNING)?.is_some() {
                // Nobody has been told of a root yet.
                return drop_places(write, displaced);
            }
            let sequence = match tree.and_then(|tree| Root::new(tree.root.cid).ok()) {
                Some(root) => self.sign(&mut meta, root, batch.is_due)?,
                None => u64::try_from(now().as_millis()).unwrap_or(u64::MAX),
            };
            leave(write, sequence, &displaced)
        })
    }

    /// Signs a root that is new, or `again`; says the sequence of the newest head.
    fn sign(
        &self,
        meta: &mut redb::Table<'_, &'static str, &'static [u8]>,
        root: Root,
        again: bool,
    ) -> Result<u64, Trouble> {
        let identity = &self.basis.identity;
        let signed = meta.get(RECORD)?.and_then(|row| Record::read(identity, row.value()));
        if let Some(signed) = signed.filter(|signed| signed.head.root == root && !again) {
            return Ok(signed.head.sequence);
        }
        let last = meta.get(SEQUENCE)?.and_then(|row| read_number(row.value()));
        let record = Record::sign(identity, root, last, now());
        meta.insert(RECORD, record.bytes.as_slice())?;
        meta.insert(SEQUENCE, record.head.sequence.to_be_bytes().as_slice())?;
        Ok(record.head.sequence)
    }

    /// What is to be published, as it was committed. Blocks for a moment.
    pub(super) fn committed(&self) -> Result<Option<Published>, Trouble> {
        let State { record, tree, is_beginning, .. } = self.state()?;
        let both = record.zip(tree).filter(|_| !is_beginning);
        // An index of nothing has another root than its last head.
        let both = both.filter(|(record, tree)| *record.head.root.cid() == tree.root.cid);
        Ok(both.map(|(record, tree)| record.published(&tree)))
    }
}

/// A row that nobody has written as it is; a former version may have.
fn unreadable(what: &str) -> redb::Error {
    redb::Error::Corrupted(what.to_owned())
}
