//! Whatever becomes of the file: what is read is right, or is not there, and what is kept next is.

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const HOME_OF_TESTS: [u8; 32] = [7; 32];
const STATE_OF_TESTS: &[u8] = br#"{"looked":1,"current":1,"behind":0}"#;

fn open_in(folder: &TempDir) -> Database {
    Database::open(folder.path(), PeerId::of_key(HOME_OF_TESTS), 1 << 30)
}

fn blocks() -> Vec<Block> {
    let of = |nth: u32| {
        let bytes = nth.to_le_bytes().repeat(50);
        Block { cid: address::of_raw(Revision::of(&bytes).as_bytes()), bytes }
    };
    (0..200).map(of).collect()
}

fn root() -> Root {
    Root::new(address::of_node(b"a root")).unwrap()
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("followed.redb")
}

/// One that has been closed in order.
fn kept() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let database = open_in(&folder);
    database.keep(&blocks());
    database.settle(&root(), Some(STATE_OF_TESTS));
    folder
}

fn has(database: &Database, block: &Block) -> bool {
    let Some(nodes) = database.nodes() else { return false };
    let found = nodes.block(&block.cid).map(Cow::into_owned);
    assert!(
        found.as_ref().is_none_or(|bytes| *bytes == block.bytes),
        "what is read is right, or is not there"
    );
    found.is_some()
}

/// Nothing wrong is read, and what is kept from now on is there, also after another start.
fn is_sound(folder: &TempDir) {
    let settled = |database: &Database| {
        let found = database.settled();
        let right = (root(), Some(STATE_OF_TESTS.to_vec()));
        assert!(found.as_ref().is_none_or(|found| *found == right), "{found:?}");
        found.is_some()
    };
    let database = open_in(folder);
    settled(&database);
    blocks().iter().for_each(|block| _ = has(&database, block));
    // Whatever turns out to be damaged only while it is written: the next time it is whole.
    for _ in 0..2 {
        database.keep(&blocks());
        database.settle(&root(), Some(STATE_OF_TESTS));
    }
    drop(database);
    let database = open_in(folder);
    assert!(settled(&database));
    assert!(blocks().iter().all(|block| has(&database, block)));
}

#[test]
fn a_file_that_is_none_makes_room_for_one() {
    type Spoil = fn(&Path);
    let spoils: [Spoil; 4] = [
        |path| fs::write(path, b"").unwrap(),
        |path| fs::write(path, b"nobody's nodes ".repeat(1000)).unwrap(),
        |path| fs::File::options().write(true).open(path).unwrap().set_len(5000).unwrap(),
        |path| fs::remove_file(path).unwrap(),
    ];
    for spoil in spoils {
        let folder = kept();
        spoil(&file(&folder));
        is_sound(&folder);
    }
}

#[test]
fn where_no_file_can_be_nothing_is_known_and_nothing_breaks() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(file(&folder)).unwrap();
    let database = open_in(&folder);
    database.keep(&blocks());
    database.settle(&root(), None);
    assert!(database.settled().is_none() && database.nodes().is_none());
    fs::remove_dir(file(&folder)).unwrap();
    is_sound(&folder);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_changed_in_the_file_nothing_wrong_is_read(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
    ) {
        let folder = kept();
        let mut bytes = fs::read(file(&folder)).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
        for (at, byte) in changes {
            bytes[at.index(used)] = byte;
        }
        fs::write(file(&folder), bytes).unwrap();
        is_sound(&folder);
    }
}
