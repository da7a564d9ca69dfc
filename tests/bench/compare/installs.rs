//! Installs of a project of 600 packages by real clients: cold beside the same upstream, warm beside nginx, and
//! twenty at once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use harness::clients::{Checkout, Mode, Settings};
use harness::http::Request;
use harness::projects::Project;
use harness::{ABBREVIATED, Client, Gateway, Registry};

use crate::neighbours::{self, Neighbour};
use crate::options::Options;
use crate::process::{self, free_address};
use crate::project::{INSTALLED, name, project, tarball_path};
use crate::report::{Better, Finding, Report, Spread};
use crate::upstream::Upstream;

const CLIENTS: [(&str, Client); 2] = [("pnpm", Client::Pnpm12), ("npm", Client::Npm11)];
/// So many at once.
const TOGETHER: usize = 20;

pub(crate) fn measure(options: &Options, report: &mut Report) {
    let rows = ["cold-pnpm", "cold-npm", "warm-pnpm", "warm-npm", "parallel"];
    if !rows.iter().any(|row| options.wants(row, true)) {
        return;
    }
    let work = tempfile::tempdir().expect("a temporary folder");
    let scene = Scene::new(work.path());
    for (client_name, client) in CLIENTS {
        let row = format!("cold-{client_name}");
        if options.wants(&row, true) {
            cold(&row, client, &scene, options, report);
        }
    }
    let gateway = scene.upstream.gateway();
    for (client_name, client) in CLIENTS {
        let row = format!("warm-{client_name}");
        if options.wants(&row, true) {
            warm(&row, client, &scene, &gateway, options, report);
        }
    }
    if options.wants("parallel", true) {
        together(&scene, &gateway, report);
    }
}

/// The project, its upstream, and a place for checkouts.
struct Scene {
    upstream: Upstream,
    project: Project,
    folder: PathBuf,
    lockfiles: RefCell<BTreeMap<Client, Vec<u8>>>,
}

impl Scene {
    fn new(folder: &Path) -> Self {
        let project = project();
        let upstream = Upstream::of(project.packages.clone());
        Self { upstream, project, folder: neighbours::open(folder), lockfiles: RefCell::default() }
    }

    /// A checkout of the project, with its lockfile.
    fn checkout(&self, at: &str, client: Client) -> Checkout {
        let checkout = Checkout::new(&self.folder.join(at), &self.project.package_json_text());
        let mut lockfiles = self.lockfiles.borrow_mut();
        checkout.lock(client, lockfiles.entry(client).or_insert_with(|| self.resolve(client)));
        checkout
    }

    /// The lockfile that a client writes behind a gateway, which is the one that it writes without.
    fn resolve(&self, client: Client) -> Vec<u8> {
        let gateway = self.upstream.gateway();
        let checkout = Checkout::new(&self.folder.join("resolve"), &self.project.package_json_text());
        let settings = Settings::registry(&gateway.url());
        let resolved = client.install(&checkout, &settings, Mode::Resolve).expect_success();
        resolved.lockfile.expect("a lockfile")
    }
}

/// From an empty cache; the client's are empty too.
fn install(checkout: &Checkout, client: Client, registry: &str) -> f64 {
    let outcome = client.install(checkout, &Settings::registry(registry), Mode::Frozen).expect_success();
    outcome.duration.as_secs_f64()
}

fn cold(row: &str, client: Client, scene: &Scene, options: &Options, report: &mut Report) {
    let checkout = scene.checkout(row, client);
    let straight = || install(&checkout, client, &scene.upstream.url());
    let through = || install(&checkout, client, &scene.upstream.gateway().url());
    let pairs = turns(options, straight, through);
    report.add(seconds(row, "time / straight", &pairs, (1.05, 1.15)));
}

fn warm(row: &str, client: Client, scene: &Scene, gateway: &Gateway, options: &Options, report: &mut Report) {
    let nginx = match files(scene, &scene.folder.join(row)) {
        Ok(nginx) => nginx,
        Err(why) => return report.leave_out(row, &why),
    };
    let checkout = scene.checkout(&format!("{row}-checkout"), client);
    for registry in [gateway.url(), nginx.url.clone()] {
        install(&checkout, client, &registry);
    }
    let pairs = turns(
        options,
        || install(&checkout, client, &nginx.url),
        || install(&checkout, client, &gateway.url()),
    );
    report.add(seconds(row, "time / nginx's", &pairs, (1.05, 1.2)));
}

/// Pairs of (theirs, ours), first the one and then the other first.
fn turns(options: &Options, theirs: impl Fn() -> f64, ours: impl Fn() -> f64) -> Vec<(f64, f64)> {
    let pair = |nth: usize| {
        if nth.is_multiple_of(2) {
            let first = theirs();
            (first, ours())
        } else {
            let first = ours();
            (theirs(), first)
        }
    };
    (0..options.pairs()).map(pair).collect()
}

fn seconds(row: &str, what: &str, pairs: &[(f64, f64)], wanted: (f64, f64)) -> Finding {
    let theirs = Spread::of(pairs.iter().map(|pair| pair.0)).median;
    let ours = Spread::of(pairs.iter().map(|pair| pair.1)).median;
    Finding {
        row: row.to_owned(),
        what: what.to_owned(),
        measured: Spread::of(pairs.iter().map(|(theirs, ours)| ours / theirs)),
        wanted,
        better: Better::Lower,
        note: format!("ours {ours:.2} s, other {theirs:.2} s; {INSTALLED} packages"),
    }
}

/// nginx with what a registry at its address would serve, as files.
fn files(scene: &Scene, folder: &Path) -> Result<Neighbour, String> {
    let address = free_address();
    neighbours::open(folder);
    let packages = scene.project.packages.clone();
    let registry = Registry::builder().packages(packages).public_url(&format!("http://{address}")).start();
    for nth in 0..INSTALLED {
        for (form, accept) in [("full", "application/json"), ("abbreviated", ABBREVIATED)] {
            let reply = Request::get(&format!("{}/{}", registry.url(), name(nth)))
                .header("accept", accept)
                .header("accept-encoding", "gzip")
                .send();
            let file = folder.join(form).join(format!("{}.json", name(nth)));
            write(&file, &reply.decoded());
            write(&file.with_extension("json.gz"), &reply.body);
        }
        let path = tarball_path(nth);
        let tarball = Request::get(&format!("{}{path}", registry.url())).send();
        write(&folder.join("tarballs").join(path.trim_start_matches('/')), &tarball.body);
    }
    neighbours::nginx(folder, address)
}

fn write(file: &Path, bytes: &[u8]) {
    fs::create_dir_all(file.parent().expect("a file in a folder")).expect("a folder");
    fs::write(file, bytes).expect("a file in a new folder");
}

/// One alone, then all at once; the gateway has everything.
fn together(scene: &Scene, gateway: &Gateway, report: &mut Report) {
    let client = Client::Pnpm12;
    let checkouts: Vec<Checkout> =
        (0..TOGETHER).map(|nth| scene.checkout(&format!("together-{nth}"), client)).collect();
    let counted = |installs: &dyn Fn() -> Vec<f64>| {
        let before = process::cpu(gateway.pid());
        let times = installs();
        (process::cpu(gateway.pid()) - before, times)
    };
    install(&checkouts[0], client, &gateway.url());
    let alone: Vec<(f64, Vec<f64>)> =
        (0..3).map(|_| counted(&|| vec![install(&checkouts[0], client, &gateway.url())])).collect();
    let one = Spread::of(alone.iter().map(|(cpu, _)| *cpu)).median;
    let (cpu, times) = counted(&|| at_once(&checkouts, client, &gateway.url()));
    let times = Spread::of(times);
    let of = |value| Spread::of([value]);
    report.add(Finding {
        row: format!("parallel-{TOGETHER}-slowest"),
        what: "slowest / median".to_owned(),
        measured: of(times.most / times.median),
        wanted: (2.0, 2.0),
        better: Better::Lower,
        note: format!("{:.1} s - {:.1} s, median {:.1} s", times.least, times.most, times.median),
    });
    report.add(Finding {
        row: format!("parallel-{TOGETHER}-cpu"),
        what: "our CPU / one install's".to_owned(),
        measured: of(cpu / one),
        wanted: (20.0, 20.0),
        better: Better::Lower,
        note: format!("{cpu:.2} s of CPU, {one:.2} s for one"),
    });
}

fn at_once(checkouts: &[Checkout], client: Client, registry: &str) -> Vec<f64> {
    thread::scope(|scope| {
        let running: Vec<_> =
            checkouts.iter().map(|checkout| scope.spawn(|| install(checkout, client, registry))).collect();
        running.into_iter().map(|install| install.join().expect("an install")).collect()
    })
}
