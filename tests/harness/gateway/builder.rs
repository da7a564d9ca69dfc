//! What a gateway is started with: flags, a configuration file, an environment, a data folder.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use tempfile::TempDir;

use super::{Gateway, Listener, binary};
use crate::ca::Ca;
use crate::clock::Clock;
use crate::identity::Identity;
use crate::port::free_port;

/// The file of the authority that the gateway trusts.
const ROOT: &str = "ca.pem";

/// sd_listen_fds(3) in bash: sockets become 3, 4 and so on, by way of numbers that none of them has.
const HAND_OVER: &str = r#"
    count=0
    for socket in $0; do eval "exec $((200 + count))<&$socket"; count=$((count + 1)); done
    for ((i = 0; i < count; i++)); do eval "exec $((3 + i))<&$((200 + i)) $((200 + i))<&-"; done
    LISTEN_PID=$$ LISTEN_FDS=$count exec "$@""#;

/// A gateway in the making: 127.0.0.1 and free ports, a data folder of its own, unless told otherwise.
#[derive(Debug, Default)]
pub struct Builder {
    upstream: Option<String>,
    data: Option<PathBuf>,
    identity: Option<Identity>,
    config: String,
    listen: Vec<SocketAddr>,
    dns: Vec<SocketAddr>,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    root: Option<String>,
    tls: Option<(PathBuf, PathBuf)>,
    tls_listen: Vec<SocketAddr>,
    handed: Vec<(String, Arc<OwnedFd>)>,
    without_operator: bool,
}

impl Builder {
    /// The registry of record.
    #[must_use]
    pub fn upstream(mut self, url: &str) -> Self {
        self.upstream = Some(url.to_owned());
        self
    }

    /// Keeps everything in this folder, which outlives the gateway.
    #[must_use]
    pub fn data(mut self, folder: &Path) -> Self {
        self.data = Some(folder.to_owned());
        self
    }

    /// Has this key, which others know already.
    #[must_use]
    pub fn identity(mut self, identity: &Identity) -> Self {
        self.identity = Some(identity.clone());
        self
    }

    /// Has peers, which connect to it here.
    #[must_use]
    pub fn peers_at(self, address: &str) -> Self {
        self.env("OPEN_REGISTRY_FEDERATION__LISTEN", address)
    }

    /// Makes no connection at all.
    #[must_use]
    pub fn offline(self) -> Self {
        self.flag("--offline")
    }

    /// Serves clients here; may be said again. Port 0 is any free one.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen.push(address);
        self
    }

    /// Answers DNS here, by datagram and by connection; may be said again.
    #[must_use]
    pub fn dns(mut self, address: SocketAddr) -> Self {
        self.dns.push(address);
        self
    }

    /// Its configuration file. Flags win over it: those of this builder, and `--listen`.
    #[must_use]
    pub fn config_toml(mut self, text: &str) -> Self {
        text.clone_into(&mut self.config);
        self
    }

    /// A variable of its environment, which has nothing else but a PATH, a HOME and a TMPDIR.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Goes by this clock.
    #[must_use]
    pub fn clock(self, clock: &Clock) -> Self {
        clock.environment().into_iter().fold(self, |builder, (key, value)| builder.env(key, &value))
    }

    /// Trusts this authority, and no other: the system's roots are replaced by it.
    #[must_use]
    pub fn trust(mut self, ca: &Ca) -> Self {
        self.root = Some(ca.pem());
        self
    }

    /// Serves https too, with the certificate and the key of these files: on a free port of 127.0.0.1, or where
    /// [`Builder::tls_listen`] says.
    #[must_use]
    pub fn tls(mut self, (cert, key): (PathBuf, PathBuf)) -> Self {
        self.tls = Some((cert, key));
        self
    }

    /// Hands this socket over under a name, as systemd does: it stays open whatever the gateway does.
    ///
    /// # Panics
    /// When the socket cannot be made to outlive an exec.
    #[must_use]
    pub fn handed(mut self, name: &str, socket: impl Into<OwnedFd>) -> Self {
        let socket = socket.into();
        fcntl(&socket, FcntlArg::F_SETFD(FdFlag::empty())).expect("a socket that children inherit");
        self.handed.push((name.to_owned(), Arc::new(socket)));
        self
    }

    /// Serves https here; may be said again.
    #[must_use]
    pub fn tls_listen(mut self, address: SocketAddr) -> Self {
        self.tls_listen.push(address);
        self
    }

    /// One more argument.
    #[must_use]
    pub fn flag(mut self, argument: &str) -> Self {
        self.flags.push(argument.to_owned());
        self
    }

    /// Without metrics, health and status.
    #[must_use]
    pub fn without_operator(mut self) -> Self {
        self.without_operator = true;
        self
    }

    /// Starts it and waits until it listens.
    pub fn start(self) -> Gateway {
        Gateway::start(self.surroundings())
    }

    /// The command that would start it, for what is not a running gateway: `open-registry check`, a refusal to start.
    /// The surroundings last as long as what is returned beside it.
    pub fn command(self) -> (Command, Surroundings) {
        let surroundings = self.surroundings();
        (surroundings.command(), surroundings)
    }

    fn surroundings(self) -> Surroundings {
        let folder = tempfile::Builder::new().prefix("open-registry-").tempdir().expect("a temporary folder");
        for name in ["home", "tmp"] {
            fs::create_dir(folder.path().join(name)).expect("a folder in a new folder");
        }
        fs::write(folder.path().join("open-registry.toml"), &self.config).expect("a file in a new folder");
        if let Some(root) = &self.root {
            fs::write(folder.path().join(ROOT), root).expect("a file in a new folder");
        }
        let data = self.data.clone().unwrap_or_else(|| folder.path().join("data"));
        if let Some(identity) = &self.identity {
            identity.keep(&data);
        }
        Surroundings { described: self, data, folder }
    }
}

/// Everything about a gateway that outlives its process.
#[derive(Debug)]
pub struct Surroundings {
    described: Builder,
    data: PathBuf,
    folder: TempDir,
}

impl Surroundings {
    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    pub(super) fn command(&self) -> Command {
        match self.described.listen.as_slice() {
            [] => self.command_at(&[anywhere()]),
            listen => self.command_at(listen),
        }
    }

    /// The program with this configuration and environment, and no flag yet that says what it is to do.
    pub(super) fn program(&self) -> Command {
        let mut command = self.launcher();
        command.arg("--config").arg(self.folder.path().join("open-registry.toml"));
        self.isolate(&mut command);
        command
    }

    pub(super) fn command_at(&self, listen: &[SocketAddr]) -> Command {
        let mut command = self.program();
        command.arg("--data").arg(&self.data);
        for address in listen {
            command.arg("--listen").arg(address.to_string());
        }
        if let Some(upstream) = &self.described.upstream {
            command.arg("--upstream").arg(upstream);
        }
        command.args(&self.described.flags);
        command
    }

    /// The program; or with sockets to be handed over, a shell that puts them where it looks for them.
    fn launcher(&self) -> Command {
        if self.described.handed.is_empty() {
            return Command::new(binary());
        }
        let mut shell = Command::new("bash");
        let sockets = self.described.handed.iter().map(|(_, socket)| socket.as_raw_fd().to_string());
        shell.arg("-c").arg(HAND_OVER).arg(sockets.collect::<Vec<_>>().join(" ")).arg(binary());
        shell
    }

    /// Every listener that it was told to have is there.
    pub(super) fn is_complete(&self, listeners: &[Listener]) -> bool {
        let count = |kind| listeners.iter().filter(|listener| listener.kind == kind).count();
        let operator = usize::from(!self.described.without_operator);
        let Builder { listen, dns, tls, tls_listen, .. } = &self.described;
        let https = if tls.is_some() { tls_listen.len().max(1) } else { 0 };
        count("http") >= listen.len().max(1)
            && count("operator") >= operator
            && count("https") >= https
            && count("dns") >= dns.len()
            && count("dns-tcp") >= dns.len()
    }

    fn isolate(&self, command: &mut Command) {
        let home = self.folder.path().join("home");
        command.env_clear().current_dir(&home);
        command.env("PATH", env::var_os("PATH").unwrap_or_default());
        command.env("HOME", &home).env("TMPDIR", self.folder.path().join("tmp"));
        for (variable, folder) in
            [("XDG_CONFIG_HOME", "config"), ("XDG_DATA_HOME", "share"), ("XDG_CACHE_HOME", "cache")]
        {
            command.env(variable, home.join(folder));
        }
        let operator = if self.described.without_operator { "" } else { "127.0.0.1:0" };
        command.env("OPEN_REGISTRY_OPERATOR__LISTEN", operator);
        // Who is to have peers says so.
        command.env("OPEN_REGISTRY_FEDERATION__LISTEN", "[]");
        // As a flag says it to the gateway itself; this is for what it is asked besides.
        if !self.described.listen.is_empty() {
            command.env("OPEN_REGISTRY_HTTP__LISTEN", list(&self.described.listen));
        }
        if !self.described.dns.is_empty() {
            command.env("OPEN_REGISTRY_DNS__LISTEN", list(&self.described.dns));
        }
        if let Some((cert, key)) = &self.described.tls {
            let listen = match self.described.tls_listen.as_slice() {
                [] => list(&[anywhere()]),
                listen => list(listen),
            };
            command.env("OPEN_REGISTRY_HTTP__TLS_LISTEN", listen);
            command.env("OPEN_REGISTRY_TLS__CERT", cert).env("OPEN_REGISTRY_TLS__KEY", key);
        }
        let names: Vec<&str> = self.described.handed.iter().map(|(name, _)| name.as_str()).collect();
        if !names.is_empty() {
            command.env("LISTEN_FDNAMES", names.join(":"));
        }
        if self.described.root.is_some() {
            command.env("SSL_CERT_FILE", self.folder.path().join(ROOT));
        }
        command.envs(self.described.environment.iter().map(|(key, value)| (key, value)));
    }
}

/// A port of loopback that nobody else is given: a restart has that of HTTP again.
fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",")
}
