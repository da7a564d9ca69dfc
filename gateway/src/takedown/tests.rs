use super::*;

fn name(name: &str) -> PackageName {
    PackageName::parse(name).unwrap()
}

fn file(version: &str) -> FileName {
    name("left").conventional_file(version).unwrap()
}

fn block(version: &str) -> Block {
    Block {
        package: "left".into(),
        version: version.into(),
        reason: "an order".into(),
        integrity: String::new(),
    }
}

fn fact(file: &FileName, version: Option<&str>, bytes: &[u8]) -> Fact {
    Fact { file: file.clone(), version: version.map(Into::into), integrity: Some(Integrity::of(bytes)) }
}

fn home() -> Option<PeerId> {
    Some(PeerId::of_key([7; 32]))
}

#[test]
fn a_version_is_blocked_by_name_at_once_and_by_digest_as_soon_as_that_is_known_and_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let takedowns = Takedowns::open(dir.path(), &[block("1.0.0")], None).unwrap();
    let left = name("left");
    let words = "left@1.0.0 is not served here: an order";
    assert_eq!(takedowns.of_version(&left, "1.0.0").unwrap().to_string(), words);
    assert_eq!(takedowns.of_file(&left, &file("1.0.0")).unwrap().to_string(), words);
    assert!(takedowns.of_package(&left).is_none() && takedowns.of_version(&left, "2.0.0").is_none());
    assert!(takedowns.of_digest(&Integrity::of(b"one")).is_none());

    let before = takedowns.document().unwrap();
    let other = FileName::parse("other.tgz").unwrap();
    takedowns
        .learn(&left, [fact(&other, Some("1.0.0"), b"one"), fact(&file("2.0.0"), Some("2.0.0"), b"two")]);
    assert!(takedowns.of_file(&left, &other).is_some(), "whatever it is called");
    for takedowns in [takedowns, Takedowns::open(dir.path(), &[block("1.0.0")], None).unwrap()] {
        assert!(takedowns.of_digest(&Integrity::of(b"one")).is_some());
        assert!(takedowns.of_digest(&Integrity::of(b"two")).is_none());
        assert_ne!(takedowns.document().unwrap(), before, "followers learn it, too");
        assert_eq!(takedowns.count(), (1, 0));
    }
    let lifted = Takedowns::open(dir.path(), &[], None).unwrap();
    assert!(lifted.of_version(&left, "1.0.0").is_none() && lifted.document().is_none());
}

#[test]
fn since_when_something_is_blocked_outlives_a_restart_and_a_new_reason() {
    let dir = tempfile::tempdir().unwrap();
    let open = |reason: &str| {
        let block = Block { reason: reason.into(), ..block("") };
        Takedowns::open(dir.path(), &[block], None).unwrap()
    };
    let when = |takedowns: &Takedowns| {
        let list = Blocklist::parse(&takedowns.document().unwrap()).unwrap();
        list.of(&name("left")).unwrap().blocked_whole().unwrap().when
    };
    let first = when(&open("an order"));
    std::thread::sleep(std::time::Duration::from_millis(5));
    assert_eq!(when(&open("another order")), first);
}

#[test]
fn all_files_of_a_blocked_package_are_blocked_by_digest() {
    let takedowns =
        Takedowns::of(Lists::open(tempfile::tempdir().unwrap().path(), &[block("")], None).unwrap());
    let left = name("left");
    assert!(takedowns.of_package(&left).is_some() && takedowns.of_file(&left, &file("9.9.9")).is_some());
    let marks = takedowns.marks();
    takedowns.learn(&left, [fact(&file("1.0.0"), None, b"one")]);
    takedowns.learn(&name("right"), [fact(&file("1.0.0"), None, b"two")]);
    assert_eq!(takedowns.of_digest(&Integrity::of(b"one")).unwrap().what, "left");
    assert!(takedowns.of_digest(&Integrity::of(b"two")).is_none());
    assert_ne!(takedowns.marks(), marks);
}

#[test]
fn what_home_blocks_counts_until_home_lifts_it_and_is_known_after_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let homes = Takedowns::open(tempfile::tempdir().unwrap().path(), &[block("1.0.0")], None).unwrap();
    let json = homes.document().unwrap();
    let open = |home| Takedowns::open(dir.path(), &[block("2.0.0")], home).unwrap();
    let (takedowns, left) = (open(home()), name("left"));
    let mut changed = takedowns.changed();
    assert!(takedowns.follow(Some(&json)).unwrap());
    assert!(changed.has_changed().unwrap() && !takedowns.follow(Some(&json)).unwrap());
    changed.mark_unchanged();
    assert!(takedowns.of_version(&left, "1.0.0").unwrap().by_home);
    assert!(!takedowns.of_version(&left, "2.0.0").unwrap().by_home);
    let own = Blocklist::parse(&takedowns.document().unwrap()).unwrap();
    assert_eq!(own.len(), 1, "what home blocks is not this operator's word");

    assert!(takedowns.follow(Some(b"nonsense")).is_err());
    assert!(takedowns.of_version(&left, "1.0.0").is_some() && !changed.has_changed().unwrap());
    let again = open(home());
    assert!(again.of_version(&left, "1.0.0").is_some());
    assert!(open(Some(PeerId::of_key([8; 32]))).of_version(&left, "1.0.0").is_none(), "another's word");
    assert!(again.follow(None).unwrap());
    assert!(again.of_version(&left, "1.0.0").is_none() && again.of_version(&left, "2.0.0").is_some());
    assert!(open(home()).of_version(&left, "1.0.0").is_none());
}

#[test]
fn words_from_elsewhere_are_one_line() {
    let homes = Takedowns::none();
    let json = br#"{"blocked":[{"package":"left","version":"*","by":"operator","reason":"a\u001b[2J\nb","when":1}]}"#;
    homes.follow(Some(json)).unwrap();
    assert_eq!(homes.of_package(&name("left")).unwrap().to_string(), "left is not served here: a [2J b");
}
