//! A real `open-registry` process, with nothing of this machine in its surroundings.

mod binary;
mod builder;

use std::net::SocketAddr;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

pub use binary::binary;
pub use builder::{Builder, Surroundings};

use crate::http;
use crate::output::{Heard, Output, launch};
use crate::place::Place;
use crate::program::{Said, finish};

/// How long starting and stopping may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// One running gateway, in the place where it was started; it is killed when it is dropped.
#[derive(Debug)]
pub struct Gateway {
    surroundings: Surroundings,
    place: Place,
    child: Child,
    output: Output,
    listeners: Vec<Listener>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Listener {
    kind: String,
    address: SocketAddr,
}

impl Gateway {
    /// A gateway to be described.
    pub fn builder() -> Builder {
        Builder::default()
    }

    fn start(surroundings: Surroundings) -> Self {
        let output = Output::default();
        let child = launch(&mut surroundings.command(), &output);
        let place = Place::here();
        let mut gateway = Self { surroundings, place, child, output, listeners: Vec::new() };
        gateway.await_listeners(0);
        gateway
    }

    /// Where clients are served: `http://127.0.0.1:40123`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Where clients are served.
    pub fn address(&self) -> SocketAddr {
        self.listening("http").expect("a gateway that has started serves clients")
    }

    /// Where clients are served over TLS; see [`Builder::tls`].
    pub fn https_address(&self) -> SocketAddr {
        self.listening("https").expect("this gateway serves https")
    }

    /// Where metrics, health and status are served.
    pub fn operator_url(&self) -> String {
        let address = self.listening("operator").expect("this gateway has an operator's listener");
        format!("http://{address}")
    }

    /// Where the first listener of this kind is: "dns", "dns-tcp", "dot", "https".
    pub fn listener(&self, kind: &str) -> SocketAddr {
        self.listening(kind).unwrap_or_else(|| panic!("this gateway has no listener of kind {kind}"))
    }

    /// The sum of every sample of `name` that has these labels; 0 when there is none.
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.place.run(|| http::metric(&self.operator_url(), name, labels))
    }

    /// What it says of itself to its operator.
    ///
    /// # Panics
    /// When that is no JSON.
    pub fn status(&self) -> Value {
        let answer = self.place.run(|| http::get(&format!("{}/status", self.operator_url())));
        serde_json::from_slice(&answer.body).expect("a status is JSON")
    }

    /// How other gateways reach it: `/ip4/127.0.0.1/tcp/40123/p2p/12D3KooW...`.
    ///
    /// # Panics
    /// When it has no peers.
    pub fn contact(&self) -> String {
        let is_there = |status: &Value| status["contacts"][0].is_string();
        let status = crate::until(|| self.status(), is_there);
        status["contacts"][0].as_str().expect("a contact").to_owned()
    }

    /// The ids of the peers that it is connected to.
    pub fn connected(&self) -> Vec<String> {
        let status = self.status();
        let peers = status["connected"].as_array().into_iter().flatten();
        peers.filter_map(|peer| Some(peer["peer"].as_str()?.to_owned())).collect()
    }

    /// Its id.
    ///
    /// # Panics
    /// When it does not say it.
    pub fn id(&self) -> String {
        self.status()["peer"].as_str().expect("an id").to_owned()
    }

    /// Runs another command of the program with this gateway's configuration, where it runs: `["setup", "npm"]`.
    pub fn ask(&self, arguments: &[&str]) -> Said {
        let mut command = self.surroundings.program();
        command.args(arguments);
        self.place.run(|| finish(command))
    }

    /// The folder that it keeps everything in.
    pub fn data(&self) -> &std::path::Path {
        self.surroundings.data()
    }

    /// The most memory that was resident at once since its start, in bytes.
    ///
    /// # Panics
    /// When it does not run.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a running process");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of KiB") * 1024
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has neither ended by itself nor been ended.
    pub fn is_running(&self) -> bool {
        !self.output.is_over()
    }

    /// Everything it has printed, this time and before its restarts.
    pub fn log(&self) -> Vec<String> {
        self.output.lines()
    }

    /// Waits for a line that `wanted` accepts; false when there was none in time.
    pub fn wait_for_log(&self, wanted: impl Fn(&str) -> bool, within: Duration) -> bool {
        self.output.wait_until(|heard| heard.lines.iter().any(|line| wanted(line)), within)
    }

    /// Asks it to stop (SIGTERM), waits, and gives its exit status.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait(PATIENCE)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("a signal to a child");
    }

    /// Waits for it to end by itself.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        assert!(
            self.output.wait_until(Heard::is_over, within),
            "it does not stop:\n{}",
            self.log().join("\n")
        );
        self.child.wait().expect("a child of this process")
    }

    /// Ends it at once (SIGKILL), as a power cut would.
    pub fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.output.wait_until(Heard::is_over, PATIENCE);
    }

    /// Starts it again where it was, with the same data on the same addresses; kills it first if it still runs.
    pub fn restart(&mut self) {
        self.kill();
        let mut command = self.surroundings.command_at(&self.addresses("http"));
        self.output = Output::after(&self.output);
        let said = self.output.lines().len();
        self.child = self.place.run(|| launch(&mut command, &self.output));
        self.await_listeners(said);
    }

    /// Waits for what it says after the first `said` lines.
    fn await_listeners(&mut self, said: usize) {
        let complete = |heard: &Heard| self.surroundings.is_complete(&listeners(&heard.lines[said..]));
        let in_time = self.output.wait_until(|heard| heard.is_over() || complete(heard), PATIENCE);
        self.listeners = listeners(&self.output.lines()[said..]);
        let complete = in_time && self.surroundings.is_complete(&self.listeners);
        assert!(complete, "open-registry does not listen; it said:\n{}", self.log().join("\n"));
    }

    fn listening(&self, kind: &str) -> Option<SocketAddr> {
        self.listeners.iter().find(|listener| listener.kind == kind).map(|listener| listener.address)
    }

    fn addresses(&self, kind: &str) -> Vec<SocketAddr> {
        self.listeners
            .iter()
            .filter(|listener| listener.kind == kind)
            .map(|listener| listener.address)
            .collect()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The listeners that these lines announce.
fn listeners(lines: &[String]) -> Vec<Listener> {
    lines.iter().filter_map(|line| listener(line)).collect()
}

fn listener(line: &str) -> Option<Listener> {
    let line: Value = serde_json::from_str(line).ok()?;
    let kind = line["listener"].as_str().filter(|_| line["message"] == "listening")?;
    Some(Listener { kind: kind.to_owned(), address: line["address"].as_str()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_read_from_the_line_that_announces_it() {
        let http = r#"{"level":"INFO","message":"listening","listener":"http","address":"[::1]:80"}"#;
        let operator =
            r#"{"level":"INFO","message":"listening","listener":"operator","address":"127.0.0.1:81"}"#;
        let other = r#"{"level":"INFO","message":"stopped","listener":"http","address":"127.0.0.1:82"}"#;
        let lines = [http, "not JSON", operator, other].map(str::to_owned);

        let found: Vec<String> =
            listeners(&lines).iter().map(|l| format!("{} {}", l.kind, l.address)).collect();

        assert_eq!(found, ["http [::1]:80", "operator 127.0.0.1:81"]);
    }
}
