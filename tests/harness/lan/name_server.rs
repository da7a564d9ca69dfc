//! Real name servers, as routers and providers run them.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use hickory_proto::rr::DNSClass;
use tempfile::TempDir;

use super::Host;
use crate::dns;
use crate::network::search_path;
use crate::output::{Heard, Output, launch};

/// How long one may take until it answers.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long an answer may take that needs nobody else.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A name server on a host, at all of its addresses; it is killed when it is dropped.
#[derive(Debug)]
pub struct NameServer {
    program: &'static str,
    child: Child,
    output: Output,
    _folder: TempDir,
}

impl NameServer {
    /// dnsmasq, as it comes with most routers: it passes on what it does not know. `config` is added to what it
    /// needs to run at all.
    pub fn dnsmasq(host: &Host, config: &str) -> Self {
        // It stays who it is: in a user namespace there is nobody else to be.
        let needed = "pid-file=\nno-hosts\nno-resolv\nlog-queries\nlog-facility=-\n";
        Self::start(host, "dnsmasq", "dnsmasq.conf", &format!("{needed}{config}\n"), |command, file| {
            command.arg("--no-daemon").arg(format!("--conf-file={}", file.display()));
        })
    }

    /// unbound: it asks from the root down. `config` is added to what it needs to run at all; it begins with
    /// a clause.
    pub fn unbound(host: &Host, config: &str) -> Self {
        let needed = "server:\n\
            \x20 username: \"\"\n  chroot: \"\"\n  directory: \"\"\n  pidfile: \"\"\n  do-daemonize: no\n\
            \x20 use-syslog: no\n  logfile: \"\"\n  val-log-level: 2\n\
            \x20 interface: 0.0.0.0\n  interface: ::0\n\
            \x20 access-control: 0.0.0.0/0 allow\n  access-control: ::/0 allow\n\
            remote-control:\n  control-enable: no\n";
        Self::start(host, "unbound", "unbound.conf", &format!("{needed}{config}\n"), |command, file| {
            command.arg("-c").arg(file);
        })
    }

    /// BIND. `options` go into its options, `config` stands beside them.
    pub fn bind(host: &Host, options: &str, config: &str) -> Self {
        let text = format!(
            "controls {{ }};\noptions {{\n  pid-file none;\n  session-keyfile none;\n  lock-file none;\n  \
             listen-on {{ any; }};\n  listen-on-v6 {{ any; }};\n  allow-query {{ any; }};\n{options}\n}};\n{config}\n"
        );
        Self::start(host, "named", "named.conf", &text, |command, file| {
            command.args(["-g", "-n", "1", "-c"]).arg(file);
        })
    }

    /// What it has printed.
    pub fn log(&self) -> Vec<String> {
        self.output.lines()
    }

    fn start(
        host: &Host,
        program: &'static str,
        file: &str,
        config: &str,
        arguments: impl Fn(&mut Command, &Path),
    ) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join(file);
        fs::write(&file, config).expect("a file in a new folder");
        let mut command = Command::new(program);
        command.current_dir(folder.path()).env("PATH", search_path());
        arguments(&mut command, &file);
        let output = Output::default();
        let child = host.run(|| launch(&mut command, &output));
        let server = Self { program, child, output, _folder: folder };
        server.await_answer(host, config);
        server
    }

    /// Every one of them knows its version without asking anybody.
    fn await_answer(&self, host: &Host, config: &str) {
        let mut version = dns::question("version.bind.", "TXT");
        version.queries[0].set_query_class(DNSClass::CH);
        let answers = || host.run(|| dns::try_ask(host.at(53), &version, AT_ONCE).is_some());
        let start = Instant::now();
        while !answers() {
            let over = self.output.wait_until(Heard::is_over, Duration::from_millis(10));
            assert!(
                !over && start.elapsed() < PATIENCE,
                "{} does not answer; it said:\n{}\nwith this configuration:\n{config}",
                self.program,
                self.log().join("\n")
            );
        }
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
