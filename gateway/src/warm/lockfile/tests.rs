//! What real clients wrote is understood, and what nobody wrote is refused in words.
//!
//! The fixtures are lockfiles of one project (aliases, scopes, peers, platforms, workspaces, files, git), each written
//! by its client against a registry of the tests' own; only host names were replaced.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const FIXTURES: [(&str, &str); 13] = [
    ("package-lock.json", include_str!("fixtures/npm-6.json")),
    ("package-lock.json", include_str!("fixtures/npm-7.json")),
    ("package-lock.json", include_str!("fixtures/npm-10-without-addresses.json")),
    ("package-lock.json", include_str!("fixtures/npm-12.json")),
    ("pnpm-lock.yaml", include_str!("fixtures/pnpm-7.yaml")),
    ("pnpm-lock.yaml", include_str!("fixtures/pnpm-8.yaml")),
    ("pnpm-lock.yaml", include_str!("fixtures/pnpm-9.yaml")),
    ("pnpm-lock.yaml", include_str!("fixtures/pnpm-12.yaml")),
    ("yarn.lock", include_str!("fixtures/yarn-1.lock")),
    ("yarn.lock", include_str!("fixtures/yarn-3.lock")),
    ("yarn.lock", include_str!("fixtures/yarn-4.lock")),
    ("bun.lock", include_str!("fixtures/bun.lock")),
    ("pnpm-lock.yaml", include_str!("fixtures/pnpm-12-two-documents.yaml")),
];

/// The project that all but the last fixture lock, by what it needs.
const PROJECT: [&str; 32] = [
    "@native/thing-darwin-arm64@1.0.0",
    "@native/thing-linux-arm64-gnu@1.0.0",
    "@native/thing-linux-x64-gnu@1.0.0",
    "@native/thing-linux-x64-musl@1.0.0",
    "@native/thing-win32-x64@1.0.0",
    "@scope/deep.name_x@0.1.7",
    "@scope/right@1.1.0",
    "@types/left@1.0.0",
    "app-core@2.1.0",
    "chalky@2.0.0-rc.1",
    "command-line@1.0.0",
    "esprima-like@3001.1.0-dev-harmony-fb",
    "fan-out@1.0.0",
    "leaf@1.9.9",
    "leaf@2.0.0",
    "left@1.0.0",
    "native-thing@1.0.0",
    "old-thing@0.9.0",
    "plugin-host@3.0.0",
    "plugin-one@1.0.0",
    "spoke-1@1.0.0",
    "spoke-10@1.0.0",
    "spoke-11@1.0.0",
    "spoke-12@1.0.0",
    "spoke-2@1.0.0",
    "spoke-3@1.0.0",
    "spoke-4@1.0.0",
    "spoke-5@1.0.0",
    "spoke-6@1.0.0",
    "spoke-7@1.0.0",
    "spoke-8@1.0.0",
    "spoke-9@1.0.0",
];

fn registries() -> Registries {
    Registries::default().and(&"https://registry.example".parse().unwrap())
}

fn read_text(file: &str, text: &str) -> Result<Lockfile, LockfileError> {
    read(file, text.as_bytes(), &registries())
}

fn needs(lockfile: &Lockfile) -> BTreeSet<String> {
    lockfile.needs.iter().map(|need| format!("{}@{}", need.name, need.version)).collect()
}

fn refusal(file: &str, text: &str) -> String {
    read_text(file, text).unwrap_err().to_string()
}

#[test]
fn every_client_is_understood_to_need_the_same_packages() {
    let project: BTreeSet<String> = PROJECT.iter().map(|need| (*need).to_owned()).collect();
    for (number, (file, text)) in FIXTURES[..12].iter().enumerate() {
        let lockfile = read_text(file, text).unwrap();
        assert_eq!(needs(&lockfile), project, "fixture {number}, {file}");
        assert_eq!(lockfile.needs.len(), project.len(), "fixture {number}, {file}: each once");
    }
}

#[test]
fn the_format_is_recognised_by_what_stands_in_the_file() {
    use Format::{Berry, Bun, Npm, Pnpm, Yarn1};
    let formats = [Npm, Npm, Npm, Npm, Pnpm, Pnpm, Pnpm, Pnpm, Yarn1, Berry, Berry, Bun, Pnpm];
    for ((_, text), format) in FIXTURES.iter().zip(formats) {
        assert_eq!(read_text("copy-of-a-lockfile.txt", text).unwrap().format, format);
    }
}

#[test]
fn what_has_a_digest_in_the_lockfile_is_verified_by_it() {
    for (file, text) in FIXTURES {
        let lockfile = read_text(file, text).unwrap();
        let without = lockfile.needs.iter().filter(|need| need.expected.is_none()).count();
        // Berry locks digests of archives of its own.
        let expected = if lockfile.format == Format::Berry { lockfile.needs.len() } else { 0 };
        assert_eq!(without, expected, "{file}");
    }
}

#[test]
fn what_is_not_of_the_registry_is_left_out_with_the_reason() {
    for (number, (file, text)) in FIXTURES[..12].iter().enumerate() {
        let lockfile = read_text(file, text).unwrap();
        let why = |name: &str| {
            // pnpm 7 knows a repository by its address only.
            lockfile.left_out.iter().find(|left| left.what.contains(name)).map(|left| left.why.clone())
        };
        let elsewhere = Why::OtherHost("elsewhere.example".into());
        assert_eq!(why("remote-tarball"), Some(elsewhere), "fixture {number}, {file}");
        assert_eq!(why("local-thing"), Some(Why::Local), "fixture {number}, {file}");
        if text.contains("gitdep") {
            assert_eq!(why("gitdep"), Some(Why::Git), "fixture {number}, {file}");
        }
    }
}

#[test]
fn a_tarball_with_a_name_of_its_own_is_asked_for_by_it() {
    for (file, text) in FIXTURES[..12].iter().filter(|(_, text)| text.contains("3001.0001.0000")) {
        let lockfile = read_text(file, text).unwrap();
        let odd = lockfile.needs.iter().find(|need| need.name.as_str() == "esprima-like").unwrap();
        let odd = odd.file.as_ref().map(FileName::as_str);
        assert_eq!(odd, Some("esprima-like-3001.0001.0000-dev-harmony-fb.tgz"), "{file}");
    }
}

#[test]
fn what_another_platform_needs_is_marked_as_optional() {
    for (file, text) in [FIXTURES[0], FIXTURES[1], FIXTURES[3], FIXTURES[4], FIXTURES[5], FIXTURES[7]] {
        let lockfile = read_text(file, text).unwrap();
        for need in &lockfile.needs {
            assert_eq!(need.optional, need.name.scope() == Some("@native"), "{file}: {}", need.name);
        }
    }
}

#[test]
fn both_documents_of_a_pnpm_lockfile_count() {
    let lockfile = read_text(FIXTURES[12].0, FIXTURES[12].1).unwrap();
    let all = ["leaf@1.9.9", "leaf@2.0.0", "left@1.0.0"].map(str::to_owned);
    assert_eq!(needs(&lockfile), BTreeSet::from(all));
}

#[test]
fn packages_of_another_registry_are_never_asked_for_at_this_one() {
    let npm = r#"{"lockfileVersion": 3, "packages": {"node_modules/@corp/secret": {"version": "1.0.0",
        "resolved": "https://npm.corp.example/@corp/secret/-/secret-1.0.0.tgz"}}}"#;
    let yarn = "# yarn lockfile v1\n\n\"@corp/secret@^1.0.0\":\n  version \"1.0.0\"\n  \
        resolved \"https://npm.corp.example/@corp/secret/-/secret-1.0.0.tgz#da39a3ee5e6b4b0d3255bfef95601890afd80709\"\n";
    let bun = r#"{"lockfileVersion": 1, "workspaces": {}, "packages": {"@corp/secret":
        ["@corp/secret@1.0.0", "https://npm.corp.example/@corp/secret/-/secret-1.0.0.tgz", {}, ""],}}"#;
    let pnpm = "lockfileVersion: '6.0'\npackages:\n  npm.corp.example/@corp/secret@1.0.0:\n    resolution: {integrity: x}\n";
    let old = "lockfileVersion: 5.4\npackages:\n  npm.corp.example/@corp/secret/1.0.0:\n    resolution: {integrity: x}\n";
    for text in [npm, yarn, bun, pnpm, old] {
        let lockfile = read_text("lock", text).unwrap();
        assert_eq!(lockfile.needs, [], "{text}");
        assert_eq!(lockfile.left_out[0].why, Why::OtherHost("npm.corp.example".into()), "{text}");
    }
}

#[test]
fn an_old_package_is_verified_by_its_sha1() {
    let text = "# yarn lockfile v1\n\nleft@1:\n  version \"1.0.0\"\n  \
        resolved \"https://registry.example/left/-/left-1.0.0.tgz#da39a3ee5e6b4b0d3255bfef95601890afd80709\"\n";
    let need = read_text("yarn.lock", text).unwrap().needs.remove(0);
    assert!(matches!(need.expected, Some(Expected::Shasum(_))), "{need:?}");
    assert_eq!(need.file.unwrap().as_str(), "left-1.0.0.tgz");
}

#[test]
fn what_comes_inside_of_another_tarball_is_not_fetched() {
    let npm = r#"{"lockfileVersion": 3, "packages": {
        "node_modules/a/node_modules/b": {"version": "1.0.0", "inBundle": true}}}"#;
    let old = r#"{"lockfileVersion": 1, "dependencies": {"b": {"version": "1.0.0", "bundled": true}}}"#;
    let bun = r#"{"lockfileVersion": 1, "workspaces": {}, "packages": {
        "a/b": ["b@1.0.0", "", {"bundled": true}, "sha512-x"]}}"#;
    for text in [npm, old, bun] {
        let lockfile = read_text("lock", text).unwrap();
        assert_eq!((lockfile.needs, lockfile.left_out), (vec![], vec![]), "{text}");
    }
}

#[test]
fn a_file_that_is_no_lockfile_is_refused_in_words() {
    for (file, text, words) in [
        ("package.json", r#"{"name": "a", "workspaces": ["b"]}"#, "no lockfile"),
        ("deno.lock", r#"{"version": "5", "specifiers": {}}"#, "deno's lockfile"),
        ("bun.lockb", "#!/usr/bin/env bun\nbun-lockfile-format-v0\n\0\0", "--save-text-lockfile"),
        ("notes.txt", "hello", "none of the lockfiles"),
        ("yarn.lock", "", "none of the lockfiles"),
        ("package-lock.json", r#"{"lockfileVersion": 4}"#, "version 4 of package-lock.json"),
        ("pnpm-lock.yaml", "lockfileVersion: '10.0'\n", "version 10.0 of pnpm-lock.yaml"),
        ("yarn.lock", "__metadata:\n  version: 11\n", "version 11 of yarn.lock"),
        ("bun.lock", r#"{"lockfileVersion": 3, "workspaces": {}}"#, "version 3 of bun.lock"),
        ("package-lock.json", "{\n\"lockfileVersion\": 3,\n\"packages\": [\n", "line 4"),
        ("pnpm-lock.yaml", "lockfileVersion: '9.0'\npackages:\n  a: [\n", "line "),
        ("yarn.lock", "# yarn lockfile v1\n  version 1\n", "line 2: a line of no package"),
        ("yarn.lock", "# yarn lockfile v1\na@1\n", "line 2: no pattern"),
        ("package-lock.json", "{\n<<<<<<< ours\n", "line 2 begins a merge conflict"),
    ] {
        let refusal = refusal(file, text);
        assert!(refusal.contains(words), "{file}: {refusal}");
    }
    let latin1 = read("yarn.lock", b"# yarn lockfile v1\n\n\xe9@1:\n", &registries());
    assert_eq!(latin1, Err(LockfileError::NotUtf8(3)));
}

#[test]
fn a_bomb_is_refused_before_it_goes_off() {
    let aliases = "lockfileVersion: '9.0'\na: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\n\
        c: &c [*b,*b,*b,*b,*b,*b,*b,*b]\npackages: *c\n";
    let yaml = format!("lockfileVersion: '9.0'\npackages:\n  a: {}\n", "[".repeat(100_000));
    let nested = r#"{"dependencies":{"a":"#;
    let json = format!("{{\"lockfileVersion\": 1, \"dependencies\": {{\"a\": {}", nested.repeat(50_000));
    let bun = format!("{{\"lockfileVersion\": 1, \"workspaces\": {}", "[".repeat(100_000));
    for text in [aliases, &yaml, &json, &bun] {
        assert!(matches!(read_text("lock", text), Err(LockfileError::Malformed { .. })));
    }
}

#[test]
fn entries_have_a_limit() {
    let mut text = "# yarn lockfile v1\n".to_owned();
    for number in 0..=ENTRIES {
        text.push_str(&format!("a@{number}:\n  version \"{number}.0.0\"\n"));
    }
    assert_eq!(read_text("yarn.lock", &text), Err(LockfileError::TooMany));
}

#[test]
fn commas_and_comments_are_blanked_and_nothing_else() {
    let text = "{\"a,]\": [1, 2 , /* x,\n] */ ],\n// }\n\"\\\\\": \"//\",\n}";
    let plain = bun::without_trailing_commas(text);
    assert_eq!(plain.lines().count(), text.lines().count());
    let value: serde_json::Value = serde_json::from_str(&plain).unwrap();
    assert_eq!(value, serde_json::json!({"a,]": [1, 2], "\\": "//"}));
}

/// One way to spoil a text.
#[derive(Debug, Clone)]
enum Spoil {
    Replace(usize, u8),
    Cut(usize, usize),
    Repeat(usize, usize),
    Insert(usize, &'static str),
}

/// What means something in one of the formats.
const PIECES: [&str; 17] =
    ["{", "[", "\"", "\\", ": ", "&a ", "*a", "? ", "- ", "\n  ", "@", "/", "#", ",", "npm:", "é", "---\n"];

fn spoils() -> impl Strategy<Value = Spoil> {
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Spoil::Replace(at, byte)),
        (any::<usize>(), 0usize..200).prop_map(|(at, length)| Spoil::Cut(at, length)),
        (any::<usize>(), 0usize..400).prop_map(|(at, length)| Spoil::Repeat(at, length)),
        (any::<usize>(), prop::sample::select(&PIECES[..])).prop_map(|(at, piece)| Spoil::Insert(at, piece)),
    ]
}

fn spoil(bytes: &mut Vec<u8>, how: &Spoil) {
    let (Spoil::Replace(at, _) | Spoil::Cut(at, _) | Spoil::Repeat(at, _) | Spoil::Insert(at, _)) = how;
    let at = at % bytes.len().max(1);
    let end = |length: &usize| (at + length).min(bytes.len());
    match how {
        Spoil::Replace(_, with) => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = *with),
        Spoil::Cut(_, length) => _ = bytes.drain(at.min(bytes.len())..end(length)),
        Spoil::Repeat(_, length) => {
            let piece = bytes[at.min(bytes.len())..end(length)].to_vec();
            bytes.splice(at..at, piece);
        }
        Spoil::Insert(_, piece) => _ = bytes.splice(at..at, piece.bytes()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_bytes_make_it_panic(
        which in 0..FIXTURES.len(),
        how in prop::collection::vec(spoils(), 1..12),
    ) {
        let (file, text) = FIXTURES[which];
        let mut bytes = text.as_bytes().to_vec();
        for how in &how {
            spoil(&mut bytes, how);
        }
        if let Ok(lockfile) = read(file, &bytes, &registries()) {
            for need in &lockfile.needs {
                prop_assert!(!need.version.contains(['/', '%', ' ', '\n']), "{need:?}");
            }
        }
    }

    #[test]
    fn nor_do_bytes_that_were_never_a_lockfile(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read("yarn.lock", &bytes, &registries());
        let _ = read("pnpm-lock.yaml", &[b"lockfileVersion: 9\n", &bytes[..]].concat(), &registries());
        let _ = read("bun.lock", &[b"{\"lockfileVersion\": 1,", &bytes[..]].concat(), &registries());
    }
}
