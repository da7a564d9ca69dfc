//! A network of the test's own: loopback and nothing else, with names that mean what the test says.
//!
//! ```text
//! #[test]
//! fn it_reaches_the_npm_registry() {
//!     in_own_network("it_reaches_the_npm_registry", &[(&canonical_host(), [127, 0, 0, 2].into())], || {
//!         // no route out; the canonical host is 127.0.0.2, every port is free
//!     });
//! }
//! ```
//!
//! The test binary runs itself again under `unshare`, for this one test, and the body runs in there: as root of
//! the machine, or of a user namespace where the machine allows those.

use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::unistd::geteuid;
use socket2::{Domain, Socket, Type};

use crate::runtime;

/// Names the folder that the outside made; set only inside.
const INSIDE: &str = "OPEN_REGISTRY_OWN_NETWORK";
/// Where the inside says that it ran: a test name that matches nothing would pass in silence.
const RAN: &str = "ran";
/// How long the body may take.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Runs `body` in a network that has loopback and these hosts, and no way out.
///
/// `test` is the name of the calling test, modules included. Addresses outside 127.0.0.0/8 are added to loopback.
/// Any other name fails to resolve at once. A panic inside is a panic here, with what was printed.
pub fn in_own_network(test: &str, hosts: &[(&str, IpAddr)], body: impl FnOnce()) {
    match env::var_os(INSIDE) {
        Some(folder) => inside(Path::new(&folder), hosts, body),
        None => outside(test),
    }
}

#[expect(clippy::print_stdout, reason = "what was said inside, for whoever asks for it with --nocapture")]
fn outside(test: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let command = reexecution(test, folder.path());
    let mut command = tokio::process::Command::from(command);
    let running = async { tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output()).await };
    let output = runtime::block_on(running).unwrap_or_else(|_| panic!("{test} did not end in {PATIENCE:?}"));
    let output = output.unwrap_or_else(|error| panic!("cannot run unshare (util-linux): {error}"));
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    let entered = folder.path().join(RAN).exists();
    assert!(
        entered || output.status.success(),
        "{test} cannot have a network of its own; it needs root or user namespaces:\n{said}"
    );
    assert!(entered, "{test} is not the name of the test that called in_own_network:\n{said}");
    assert!(output.status.success(), "{test} failed in its own network:\n{said}");
    println!("{said}");
}

/// The process namespace is there for its end: whatever the test started dies with it.
fn reexecution(test: &str, folder: &Path) -> Command {
    let mut command = Command::new("unshare");
    if !geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.arg(env::current_exe().expect("this test's binary"));
    command.args(["--exact", test, "--nocapture", "--include-ignored"]).env(INSIDE, folder);
    command
}

fn inside(folder: &Path, hosts: &[(&str, IpAddr)], body: impl FnOnce()) {
    fs::write(folder.join(RAN), "").expect("a file in the folder of the outside");
    ip(&["link", "set", "lo", "up"]);
    for (_, address) in hosts.iter().filter(|(_, address)| !address.is_loopback()) {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        ip(&["address", "replace", &format!("{address}/{prefix}"), "dev", "lo"]);
    }
    name_files(folder, hosts, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
    body();
}

/// Puts `hosts`, `resolv.conf` and `nsswitch.conf` of `folder` over the system's, in this mount namespace. What is
/// written to them later is seen at once.
pub(crate) fn name_files(folder: &Path, hosts: &[(&str, IpAddr)], resolv_conf: &str) {
    cover("/etc/hosts", &folder.join("hosts"), &hosts_file(hosts));
    cover("/etc/resolv.conf", &folder.join("resolv.conf"), resolv_conf);
    if Path::new("/etc/nsswitch.conf").exists() {
        cover("/etc/nsswitch.conf", &folder.join("nsswitch.conf"), "hosts: files dns\n");
    }
}

/// Where programs are found, those of administrators among them, which Debian keeps apart.
pub(crate) fn search_path() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    path
}

/// Runs iproute2 inside.
pub fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).env("PATH", search_path()).output().expect("iproute2");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {} failed: {said}", arguments.join(" "));
}

/// Runs several commands of iproute2 inside, one a line, in one process: a network of many hosts is there sooner.
pub(crate) fn ip_batch(commands: &str) {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .env("PATH", search_path())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("iproute2");
    let mut input = child.stdin.take().expect("a pipe");
    // Who has failed already reads no further.
    let _ = input.write_all(commands.as_bytes());
    drop(input);
    let output = child.wait_with_output().expect("a child of this process");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip failed: {said}\nin:\n{commands}");
}

/// Sets a variable of the kernel for this network: `net/ipv4/ip_forward`.
pub(crate) fn configure(variable: &str, value: &str) {
    fs::write(Path::new("/proc/sys").join(variable), value)
        .unwrap_or_else(|error| panic!("cannot set {variable} to {value}: {error}"));
}

fn hosts_file(hosts: &[(&str, IpAddr)]) -> String {
    let mut file = "127.0.0.1 localhost\n::1 localhost\n".to_owned();
    for (name, address) in hosts {
        writeln!(file, "{address} {name}").expect("a write to memory");
    }
    file
}

/// Puts a file of our own over one of the system's, in this mount namespace.
fn cover(target: &str, with: &Path, text: &str) {
    fs::write(with, text).expect("a file in the folder of the outside");
    let nothing: Option<&str> = None;
    mount(Some(with), target, nothing, MsFlags::MS_BIND, nothing)
        .unwrap_or_else(|error| panic!("cannot mount over {target}: {error}"));
}

/// An address that takes no connection and refuses none: connecting to it times out.
#[derive(Debug)]
pub struct DeadAddress {
    listener: TcpListener,
    /// They fill the listener's queue.
    _waiting: Vec<TcpStream>,
}

impl DeadAddress {
    /// A free port of 127.0.0.1 that is dead from now on.
    pub fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
        socket.listen(0).expect("a queue for one");
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().expect("a bound socket has an address");
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            waiting.push(stream);
            assert!(waiting.len() < 64, "the queue of a listener does not fill");
        }
        Self { listener, _waiting: waiting }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound socket has an address")
    }
}

impl Default for DeadAddress {
    fn default() -> Self {
        Self::new()
    }
}
