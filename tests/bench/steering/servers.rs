//! A gateway and the others, with the same zone, the same sites and the same database.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use harness::name_servers::{NameServer, Program, Site, Steered};
use harness::packet::{self, Over, Query, Reply, kind};
use harness::{Gateway, GatewayBuilder, Identity, network};
use tempfile::TempDir;

use super::load::{self, Latency, Questions, of_client};
use super::{geography, process};

pub(crate) const ZONE: &str = "registry.open-registry.dev";
pub(crate) const GATEWAY: &str = "gateway";
pub(crate) const GDNSD: &str = "gdnsd";
/// How many clients' answers are compared before anything is measured.
const COMPARED: u32 = 1000;

/// Everybody who is asked.
pub(crate) struct Servers {
    all: Vec<Server>,
    _gateway: Gateway,
    /// The gateways of the other sites.
    _peers: Vec<Gateway>,
    _others: Vec<NameServer>,
    _folder: TempDir,
}

/// One of them.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    at: SocketAddr,
    pid: u32,
}

/// A turn in which it was asked as fast as it answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Busy {
    /// Seconds of CPU per query.
    pub(crate) cpu: f64,
    /// Queries per second.
    pub(crate) rate: f64,
    pub(crate) lost: u32,
}

impl Servers {
    /// Starts them in the network of the calling process, which has to be its own, all on one core.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let database = folder.path().join("world.mmdb");
        geography::write_database(&database);
        let sites = geography::sites();
        make_addresses(&sites);
        let steered = Steered { zone: ZONE.to_owned(), sites, database: Some(database), monitored: true };
        // They are there first: both the gateway and gdnsd look at them before they answer.
        let identities: Vec<Identity> = steered.sites.iter().map(|_| Identity::new()).collect();
        let entries = entries(&steered.sites, &identities);
        let peers = (1..steered.sites.len()).map(|site| peer(site, &identities[site], &entries)).collect();
        process::pin_to(process::SERVER);
        let gateway = start_gateway(&identities[0], &entries, steered.database.as_deref());
        let others: Vec<NameServer> = [Program::Gdnsd, Program::Knot, Program::Nsd]
            .into_iter()
            .zip(2..)
            .map(|(program, number)| program.start(&for_program(&steered, program), at(number)))
            .collect();
        process::pin_to(process::GENERATOR);
        let own = Server { name: GATEWAY, at: gateway.listener("dns"), pid: gateway.pid() };
        let theirs = others.iter().map(|server| Server {
            name: server.program().name(),
            at: server.address(),
            pid: server.pid(),
        });
        let all = std::iter::once(own).chain(theirs).collect();
        Self { all, _gateway: gateway, _peers: peers, _others: others, _folder: folder }
    }

    /// In another order each round, so that nobody always comes first.
    pub(crate) fn in_turn(&self, round: usize) -> impl Iterator<Item = &Server> {
        let first = round % self.all.len();
        self.all[first..].iter().chain(&self.all[..first])
    }

    /// How often each says what gdnsd says: that all do the same work.
    pub(crate) fn print_agreement(&self) {
        let first = |server: &Server, number| server.first_address(number);
        let gdnsd = self.all.iter().find(|server| server.name == GDNSD).expect("gdnsd is one of them");
        for server in &self.all {
            let same = (0..COMPARED).filter(|number| first(server, *number) == first(gdnsd, *number)).count();
            println!("{:10} leads {same} of {COMPARED} clients where gdnsd does", server.name);
        }
    }
}

impl Server {
    /// Asks it as fast as it answers.
    pub(crate) fn busy(&self, questions: &Questions, within: Duration) -> Busy {
        let before = process::cpu(self.pid);
        let load = load::busy(self.at, questions, within);
        let cpu = process::cpu(self.pid) - before;
        let answered = f64::from(load.answered);
        Busy { cpu: cpu / answered, rate: answered / load.seconds, lost: load.lost }
    }

    /// Asks it so many times a second.
    pub(crate) fn paced(&self, questions: &Questions, rate: u32, within: Duration) -> Latency {
        load::paced(self.at, questions, rate, within)
    }

    fn first_address(&self, number: u32) -> Option<IpAddr> {
        let query = of_client(Query::of(ZONE, kind::A), geography::client(number)).bytes();
        let answer = packet::ask(self.at, &query, Over::Udp).and_then(|answer| Reply::read(&answer));
        answer.unwrap_or_else(|| panic!("{} does not answer", self.name)).addresses().first().copied()
    }
}

/// Those that have the database need no networks, and the other way round.
fn for_program(steered: &Steered, program: Program) -> Steered {
    let mut steered = steered.clone();
    if program == Program::Gdnsd {
        steered.sites.iter_mut().for_each(|site| site.networks.clear());
    }
    steered
}

/// The sites' addresses, and all those that clients ask from.
fn make_addresses(sites: &[Site]) {
    for site in sites {
        network::ip(&["address", "add", &format!("{}/32", site.v4), "dev", "lo"]);
        network::ip(&["address", "add", &format!("{}/128", site.v6), "dev", "lo", "nodad"]);
    }
    network::ip(&["address", "add", "45.83.221.0/24", "dev", "lo"]);
    network::ip(&["route", "add", "local", "0.0.0.0/1", "dev", "lo"]);
}

/// Where the servers answer: one public address each.
fn at(number: u8) -> SocketAddr {
    SocketAddr::from(([45, 83, 221, number], 53))
}

/// All sites, each where its clients are.
fn entries(sites: &[Site], identities: &[Identity]) -> String {
    let entry = |((site, identity), (_, _, country, latitude, longitude)): (
        (&Site, &Identity),
        &geography::Place,
    )| {
        let urls = [format!("http://{}", site.v4), format!("http://[{}]", site.v6)];
        let place = format!(
            "place = {{ latitude = {latitude:?}, longitude = {longitude:?}, country = \"{country}\" }}"
        );
        identity.entry(&urls, &place)
    };
    sites.iter().zip(identities).zip(&geography::PLACES).map(entry).collect()
}

/// A gateway of another site: it answers probes.
fn peer(site: usize, identity: &Identity, entries: &str) -> Gateway {
    at_site(site, identity).offline().config_toml(entries).start()
}

/// The gateway that is asked, which is the first site's. There is no upstream.
fn start_gateway(identity: &Identity, entries: &str, database: Option<&Path>) -> Gateway {
    let toml =
        format!("[dns]\nrate_limit = 0\n[steer]\ngeoip = [{:?}]\n{entries}", database.expect("there is one"));
    at_site(0, identity).upstream("http://127.0.0.1:9").config_toml(&toml).dns(at(1)).start()
}

fn at_site(site: usize, identity: &Identity) -> GatewayBuilder {
    let [v4, v6] = [IpAddr::from(geography::v4(site)), geography::v6(site).into()];
    Gateway::builder().identity(identity).listen(SocketAddr::new(v4, 80)).listen(SocketAddr::new(v6, 80))
}
