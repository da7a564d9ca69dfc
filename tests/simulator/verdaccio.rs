//! Verdaccio, in a gateway's place.

use std::env;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::internet::Internet;
use super::measure::await_that;
use super::office::Machine;

/// Where it listens, in LANs.
const PORT: u16 = 4873;
/// How long it may take until it does.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running Verdaccio with nothing in it; it is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Verdaccio {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Verdaccio {
    /// Why there is none here, if so.
    pub(crate) fn missing() -> Option<String> {
        let missing = [program(), node()].into_iter().find(|file| !file.exists())?;
        let what = missing.file_name().unwrap_or_default().display().to_string();
        Some(format!("Verdaccio is left out: {what} is not installed (tests/bench/install)"))
    }

    /// On this machine, with this registry above it.
    ///
    /// # Panics
    /// When it does not start.
    pub(crate) fn start(internet: &Internet, machine: &Machine, above: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let address = free(machine);
        let configuration = folder.path().join("verdaccio.yaml");
        let text = format!(
            "storage: {}\nuplinks:\n  up:\n    url: {above}\n    maxage: 1d\n    timeout: 60s\npackages:\n  '**':\n    \
             access: $all\n    proxy: up\nlog:\n  type: stdout\n  level: error\n",
            folder.path().join("storage").display()
        );
        fs::write(&configuration, text).expect("a file in a new folder");
        let mut command = Command::new(node());
        command.arg(program()).arg("--config").arg(configuration).args(["--listen", &address.to_string()]);
        command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default()).env("HOME", folder.path());
        command.env("NODE_ENV", "production").current_dir(folder.path());
        command.envs(internet.authority().map(|file| ("NODE_EXTRA_CA_CERTS", file)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = machine.run(|| command.spawn()).expect("node starts");
        let started = Self { child, address, _folder: folder };
        await_that("Verdaccio", PATIENCE, || machine.run(|| TcpStream::connect(address)).is_ok());
        started
    }

    /// Where it serves clients.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Verdaccio {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// On loopback whoever binds next may have it.
fn free(machine: &Machine) -> SocketAddr {
    let listener = machine.run(|| TcpListener::bind(machine.at(PORT))).expect("a free port");
    listener.local_addr().expect("a bound socket has an address")
}

fn program() -> PathBuf {
    tests().join("bench/verdaccio/node_modules/verdaccio/bin/verdaccio")
}

fn node() -> PathBuf {
    let cpu = if env::consts::ARCH == "aarch64" { "arm64" } else { "x64" };
    tests().join(format!("clients/node_modules/node-linux-{cpu}/bin/node"))
}

fn tests() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
