//! A project as somebody checked it out, and the home directory of that somebody.
//!
//! ```text
//! <root>/project/   package.json, the lockfile, .npmrc or .yarnrc.yml, node_modules
//! <root>/home/      HOME, XDG directories, every cache of the client, the output of its last run
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::{Client, Mode, tree};

/// A directory with a package.json, and a home of its own.
#[derive(Debug, Clone)]
pub struct Checkout {
    root: PathBuf,
}

impl Checkout {
    /// A checkout in `root`, which is created. `package_json` is the text of its package.json.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn new(root: &Path, package_json: &str) -> Self {
        let checkout = Self { root: root.to_owned() };
        fs::create_dir_all(checkout.directory()).expect("a directory for the project");
        fs::create_dir_all(checkout.home()).expect("a home for its user");
        checkout.write("package.json", package_json.as_bytes());
        checkout
    }

    /// Where package.json, the lockfile and node_modules are.
    pub fn directory(&self) -> PathBuf {
        self.root.join("project")
    }

    /// Where the client keeps what it remembers.
    pub fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// The client's lockfile, if it has written one.
    pub fn lockfile(&self, client: Client) -> Option<Vec<u8>> {
        fs::read(self.directory().join(client.lockfile())).ok()
    }

    /// Puts a lockfile in place, as a checkout does.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn lock(&self, client: Client, lockfile: &[u8]) {
        self.write(client.lockfile(), lockfile);
    }

    /// Every installed package and the digest of its files.
    pub fn installed(&self) -> BTreeMap<String, String> {
        tree::installed(&self.directory())
    }

    /// Brings the directory to where `mode` begins.
    pub(super) fn prepare(&self, client: Client, mode: Mode) {
        gone(fs::remove_dir_all(self.directory().join("node_modules")));
        if mode != Mode::Warm {
            gone(fs::remove_dir_all(self.home()));
        }
        if matches!(mode, Mode::Cold | Mode::Resolve) {
            gone(fs::remove_file(self.directory().join(client.lockfile())));
        }
        fs::create_dir_all(self.home()).expect("a home for the user");
    }

    /// Writes the client's own settings; the ones of another registry are forgotten.
    pub(super) fn configure(&self, (file, text): &(&str, String)) {
        self.write(file, text.as_bytes());
    }

    fn write(&self, file: &str, bytes: &[u8]) {
        fs::write(self.directory().join(file), bytes).expect("the project's directory can be written");
    }
}

fn gone(removed: io::Result<()>) {
    if let Err(error) = removed {
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "what is left of the last run stays: {error}");
    }
}
