//! Warm requests: packuments, tarballs and 304, under load by wrk, server after server and in turn.

use std::fs;
use std::path::Path;

use harness::http::{Reply, Request};
use harness::shapes::Shape;
use harness::{ABBREVIATED, Gateway};

use crate::load::{self, Ask, Sample};
use crate::neighbours::{self, Neighbour};
use crate::options::Options;
use crate::process::free_address;
use crate::report::{Better, Finding, Report, Spread};
use crate::upstream::{Upstream, tarball_of};

const FULL: &str = "application/json";
const TARBALL: &str = "*/*";

/// One row: what is asked for.
struct Row {
    name: &'static str,
    path: &'static str,
    accept: &'static str,
    coding: &'static str,
    connections: usize,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Packument,
    Tarball,
    NotModified,
}

impl Kind {
    /// What design section 14 wants of it.
    fn wanted(self) -> (f64, f64) {
        match self {
            Self::Packument | Self::NotModified => (1.0, 0.7),
            Self::Tarball => (1.0, 0.6),
        }
    }
}

const fn packument(name: &'static str, path: &'static str, accept: &'static str) -> Row {
    Row { name, path, accept, coding: "gzip", connections: 32, kind: Kind::Packument }
}

const fn tarball(name: &'static str, path: &'static str, connections: usize) -> Row {
    Row { name, path, accept: TARBALL, coding: "gzip", connections, kind: Kind::Tarball }
}

const ROWS: [Row; 12] = [
    packument("packument-40k", "/forty", ABBREVIATED),
    packument("packument-350k", "/most", ABBREVIATED),
    packument("packument-700k", "/many", FULL),
    packument("packument-full-40m", "/largest", FULL),
    Row { coding: "zstd", ..packument("packument-full-40m-zstd", "/largest", FULL) },
    Row { coding: "identity", connections: 8, ..packument("packument-full-40m-identity", "/largest", FULL) },
    tarball("tarball-10k", "/ten/-/ten-1.0.0.tgz", 32),
    tarball("tarball-20k", "/twenty/-/twenty-1.0.0.tgz", 32),
    tarball("tarball-300k", "/middling/-/middling-1.0.0.tgz", 32),
    tarball("tarball-10m", "/heavy/-/heavy-1.0.0.tgz", 8),
    Row { kind: Kind::NotModified, ..packument("304", "/forty", ABBREVIATED) },
    Row { kind: Kind::NotModified, ..tarball("304-tarball", "/twenty/-/twenty-1.0.0.tgz", 32) },
];

/// Rows in which caches that compute are compared: the others take them seconds for each answer.
const CACHES: [(&str, f64, f64); 2] = [("verdaccio", 500.0, 100.0), ("nora", 100.0, 30.0)];
/// They are seconds over an answer: fewer pairs, and each takes them longer.
const SLOWER: u32 = 4;
const FEWER_PAIRS: usize = 3;
const CACHED: [&str; 4] = ["packument-40k", "packument-350k", "tarball-20k", "304"];

/// The upstream that these rows are about.
pub(crate) fn upstream() -> Upstream {
    let tarballs = [("ten", 10_000), ("twenty", 20_000), ("middling", 300_000), ("heavy", 10_000_000)];
    let upstream = Upstream::of(tarballs.map(|(name, bytes)| tarball_of(name, bytes)));
    let shape = |name, versions, dependencies| Shape { name, versions, dependencies, edition: 1 };
    upstream.hold(&shape("forty", 190, 12));
    upstream.hold(&shape("most", 1_650, 16));
    upstream.hold(&shape("many", 2_700, 16));
    upstream.hold(&Shape::largest("largest"));
    upstream
}

pub(crate) fn measure(options: &Options, report: &mut Report) {
    let rows: Vec<&Row> = ROWS.iter().filter(|row| options.wants(row.name, false)).collect();
    let caches: Vec<(&Row, (&'static str, f64, f64))> = CACHES
        .into_iter()
        .flat_map(|cache| ROWS.iter().map(move |row| (row, cache)))
        .filter(|(row, cache)| {
            CACHED.contains(&row.name) && options.wants(&format!("{}-{}", cache.0, row.name), true)
        })
        .collect();
    if rows.is_empty() && caches.is_empty() {
        return;
    }
    let work = tempfile::tempdir().expect("a temporary folder");
    let folder = neighbours::open(work.path());
    let upstream = upstream();
    let gateway = upstream.gateway();
    beside_files(&rows, &gateway, &folder, options, report);
    beside_caches(&caches, &gateway, &upstream, &folder, options, report);
}

/// nginx and varnish serve what the gateway served.
fn beside_files(rows: &[&Row], gateway: &Gateway, folder: &Path, options: &Options, report: &mut Report) {
    let files = neighbours::open(&folder.join("files"));
    let mut bodies = Vec::new();
    for row in rows {
        let reply = get(row, &format!("{}{}", gateway.url(), row.path));
        let ending = if reply.header("content-encoding") == Some("gzip") { ".gz" } else { "" };
        fs::write(files.join(format!("{}{ending}", row.name)), &reply.body).expect("a file in a new folder");
        bodies.push((*row, reply));
    }
    let address = free_address();
    let nginx = match neighbours::nginx(folder, address) {
        Ok(nginx) => nginx,
        Err(why) => return report.leave_out("nginx and varnish", &why),
    };
    let rivals: Vec<Neighbour> = match neighbours::varnish(folder, address) {
        Ok(varnish) => vec![nginx, varnish],
        Err(why) => {
            report.leave_out("varnish", &why);
            vec![nginx]
        }
    };
    for (row, reply) in bodies {
        match beside(row, &reply, gateway, &rivals, options) {
            Ok(finding) => report.add(finding),
            Err(why) => report.leave_out(row.name, &why),
        }
    }
}

fn beside(
    row: &Row,
    reply: &Reply,
    gateway: &Gateway,
    rivals: &[Neighbour],
    options: &Options,
) -> Result<Finding, String> {
    let mut servers =
        vec![Server::of(row, "ours", format!("{}{}", gateway.url(), row.path), gateway.pid(), reply)?];
    for rival in rivals {
        let url = format!("{}/files/{}", rival.url, row.name);
        servers.push(Server::of(row, rival.name, url, rival.program.pid(), reply)?);
    }
    let samples = in_turn(&servers, options.pairs(), options)?;
    let (ours, theirs) = samples.split_first().ok_or("no server")?;
    let least = |pair: usize| theirs.iter().map(|rival| rival[pair].cpu).fold(f64::INFINITY, f64::min);
    let most = |pair: usize| theirs.iter().map(|rival| rival[pair].rate).fold(0.0, f64::max);
    let cpu = Spread::of(ours.iter().enumerate().map(|(pair, sample)| least(pair) / sample.cpu));
    let rate = Spread::of(ours.iter().enumerate().map(|(pair, sample)| sample.rate / most(pair)));
    Ok(Finding {
        row: row.name.to_owned(),
        what: "best rival's CPU / ours".to_owned(),
        measured: cpu,
        wanted: row.kind.wanted(),
        better: Better::Higher,
        note: format!(
            "{}; rate {:.2} of theirs; {} B",
            medians(&servers, &samples),
            rate.median,
            reply.body.len()
        ),
    })
}

/// Verdaccio and NORA answer as they will: what is asked is the same, not the bytes.
fn beside_caches(
    rows: &[(&Row, (&'static str, f64, f64))],
    gateway: &Gateway,
    upstream: &Upstream,
    folder: &Path,
    options: &Options,
    report: &mut Report,
) {
    for (name, figure, floor) in CACHES {
        let rows: Vec<&Row> = rows.iter().filter(|(_, cache)| cache.0 == name).map(|(row, _)| *row).collect();
        if rows.is_empty() {
            continue;
        }
        let started = match name {
            "nora" => neighbours::nora(folder, &upstream.url()),
            _ => neighbours::verdaccio(folder, &upstream.url()),
        };
        let cache = match started {
            Ok(cache) => cache,
            Err(why) => {
                report.leave_out(name, &why);
                continue;
            }
        };
        for row in rows {
            match beside_cache(row, gateway, &cache, options) {
                Ok(finding) => report.add(Finding { wanted: (figure, floor), ..finding }),
                Err(why) => report.leave_out(&format!("{name}-{}", row.name), &why),
            }
        }
    }
}

fn beside_cache(
    row: &Row,
    gateway: &Gateway,
    cache: &Neighbour,
    options: &Options,
) -> Result<Finding, String> {
    let few = Row { connections: 4, ..*row };
    let ask = |name, base: &str, pid| {
        let url = format!("{base}{}", row.path);
        let reply = get(row, &url);
        if reply.status != 200 {
            return Err(format!("{name} answers {} to {}", reply.status, row.path));
        }
        Server::of(&few, name, url, pid, &reply)
    };
    let mut servers =
        [ask("ours", &gateway.url(), gateway.pid())?, ask(cache.name, &cache.url, cache.program.pid())?];
    servers[1].times = SLOWER;
    let samples = in_turn(&servers, options.pairs().min(FEWER_PAIRS), options)?;
    let ratio = Spread::of(samples[0].iter().zip(&samples[1]).map(|(ours, theirs)| theirs.cpu / ours.cpu));
    Ok(Finding {
        row: format!("{}-{}", cache.name, row.name),
        what: "its CPU / ours".to_owned(),
        measured: ratio,
        wanted: (0.0, 0.0),
        better: Better::Higher,
        note: medians(&servers, &samples),
    })
}

/// One server, what it is asked, and how many times as long as the others.
struct Server {
    name: &'static str,
    ask: Ask,
    pid: u32,
    times: u32,
}

impl Server {
    /// Asked once before it is measured, to see that it gives the same.
    fn of(row: &Row, name: &'static str, url: String, pid: u32, expected: &Reply) -> Result<Self, String> {
        let reply = get(row, &url);
        if reply.status != 200 || (reply.body != expected.body) {
            return Err(format!(
                "{name} gives something else at {url}: {}, {} B",
                reply.status,
                reply.body.len()
            ));
        }
        let mut headers = vec![("Accept", row.accept.to_owned()), ("Accept-Encoding", row.coding.to_owned())];
        if row.kind == Kind::NotModified {
            let Some(tag) = reply.header("etag") else { return Err(format!("{name} gives no ETag")) };
            headers.push(("If-None-Match", tag.to_owned()));
            let again = request(row, &url).header("if-none-match", tag).send();
            if again.status != 304 {
                return Err(format!("{name} answers {} where 304 was due", again.status));
            }
        }
        Ok(Self { name, ask: Ask { url, headers, connections: row.connections }, pid, times: 1 })
    }
}

/// Every server in every round, one after the other, the order turned each time.
fn in_turn(servers: &[Server], pairs: usize, options: &Options) -> Result<Vec<Vec<Sample>>, String> {
    let mut samples = vec![Vec::new(); servers.len()];
    for pair in 0..pairs {
        let mut order: Vec<usize> = (0..servers.len()).collect();
        if pair % 2 == 1 {
            order.reverse();
        }
        for nth in order {
            let Server { ask, pid, times, .. } = &servers[nth];
            samples[nth].push(load::run(ask, *pid, options.span() * *times)?);
        }
    }
    Ok(samples)
}

fn medians(servers: &[Server], samples: &[Vec<Sample>]) -> String {
    let one = |(server, samples): (&Server, &Vec<Sample>)| {
        let cpu = Spread::of(samples.iter().map(|sample| sample.cpu)).median;
        let rate = Spread::of(samples.iter().map(|sample| sample.rate)).median;
        format!("{} {cpu:.0} us {rate:.0}/s", server.name)
    };
    servers.iter().zip(samples).map(one).collect::<Vec<_>>().join(", ")
}

fn request(row: &Row, url: &str) -> Request {
    let within = std::time::Duration::from_secs(120);
    Request::get(url).header("accept", row.accept).header("accept-encoding", row.coding).within(within)
}

fn get(row: &Row, url: &str) -> Reply {
    request(row, url).send()
}
