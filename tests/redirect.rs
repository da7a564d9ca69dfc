//! Promise: a client that checks digests is sent to a nearer gateway for a tarball that this one has, and installs the
//! same; everybody else, and whatever is not as it should be, is served where it came to. Each client can see why.

#![allow(clippy::unwrap_used, reason = "in a test, also outside of its function, a panic is a failure")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use harness::clients::{Checkout, Mode, Settings, assert_same_lines, assert_same_packages};
use harness::http::{Reply, Request};
use harness::lan::{Host, Lan};
use harness::projects::{self, Project};
use harness::{Client, Gateway, Identity, Registry, in_own_network, until};

const SOON: Duration = Duration::from_secs(20);
const NPM: &str = "npm/11.6.2 node/v24.1.0 linux x64 workspaces/false";

/// One test per client, so that each fails for itself.
macro_rules! promises {
    ($($test:ident: $client:ident,)*) => {$(
        #[test]
        fn $test() {
            installs_the_same_by_redirects(stringify!($test), Client::$client);
        }
    )*};
}

promises! {
    npm_11_installs_the_same_by_redirects: Npm11,
    pnpm_10_installs_the_same_by_redirects: Pnpm10,
    yarn_1_installs_the_same_by_redirects: Yarn1,
    bun_installs_the_same_by_redirects: Bun,
    deno_installs_the_same_by_redirects: Deno,
}

/// An Internet with a gateway in the laptop's own network, and one that is in none of its.
struct Scene {
    far: Gateway,
    near: Gateway,
    registry: Registry,
    project: Project,
    laptop: Host,
    far_host: Host,
    near_host: Host,
    _npm: Host,
    _internet: Lan,
}

impl Scene {
    fn new() -> Self {
        let internet = Lan::internet();
        let [npm, near_host, far_host, laptop] =
            ["npm", "near", "far", "laptop"].map(|name| internet.host(name));
        apart(&far_host, &internet);
        let mut project = projects::typical();
        let dependencies = project.package_json["dependencies"].as_object_mut().unwrap();
        // bun cannot install a tarball with a name of its own twice, wherever it comes from.
        dependencies.remove("esprima-like").unwrap();
        let packages = project.packages.clone();
        let registry = npm.run(|| Registry::builder().packages(packages).start_at(npm.at(80)));
        let near = start(&near_host, &registry, "");
        let id = near_host.run(|| harness::http::get(&near.url()).json())["peer"].clone();
        let network = format!("{}/24", near_host.v4());
        let network = network.replace(&format!(".{}/", near_host.v4().octets()[3]), ".0/");
        let far = start(
            &far_host,
            &registry,
            &format!(
                "[steer]\nredirect = true\n[[peer]]\nid = {id}\nurls = [\"http://{}\"]\n\
                 networks = [\"{network}\"]\nadmit = true\n",
                near_host.v4()
            ),
        );
        Self { far, near, registry, project, laptop, far_host, near_host, _npm: npm, _internet: internet }
    }

    fn ask(&self, path: &str, headers: &[(&'static str, &str)]) -> Reply {
        self.ask_by("GET", path, headers)
    }

    fn ask_by(&self, method: &str, path: &str, headers: &[(&'static str, &str)]) -> Reply {
        let request = Request::new(method, &format!("{}{path}", self.far.url())).within(SOON);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        self.laptop.run(|| request.send())
    }

    fn install(&self, client: Client, from: &Gateway, root: &Path) -> (Checkout, harness::clients::Outcome) {
        let checkout = Checkout::new(root, &self.project.package_json_text());
        let settings = Settings::registry(&from.url());
        let outcome = self.laptop.run(|| client.install(&checkout, &settings, Mode::Cold)).expect_success();
        (checkout, outcome)
    }

    /// A tarball that both gateways hold, when the one knows that the other does.
    fn tarball(&self) -> String {
        let package = &self.project.packages[0];
        let document =
            self.laptop.run(|| harness::http::get(&format!("{}/{}", self.far.url(), package.name())));
        let document = document.json();
        let latest = document["dist-tags"]["latest"].as_str().unwrap().to_owned();
        let address = document["versions"][&latest]["dist"]["tarball"].as_str().unwrap().to_owned();
        let path = address.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap();
        let at_near = format!("{}{path}", self.near.url());
        assert_eq!(self.laptop.run(|| harness::http::get(&at_near)).status, 200);
        until(|| self.ask(&path, &[("user-agent", NPM)]).status, |status| *status == 302);
        path
    }
}

/// Takes a host's neighbours away: it has the same address, and everybody is reached all the same.
fn apart(host: &Host, lan: &Lan) {
    let (address, name) = (host.v4().to_string(), lan.name());
    let octets = host.v4().octets();
    let network = format!("{}.{}.{}.0/24", octets[0], octets[1], octets[2]);
    host.output("ip", &["address", "flush", "dev", name]).expect_success();
    host.output("ip", &["address", "add", &format!("{address}/32"), "dev", name]).expect_success();
    host.output("ip", &["route", "add", &network, "dev", name]).expect_success();
}

fn start(host: &Host, registry: &Registry, config: &str) -> Gateway {
    let address: SocketAddr = host.at(80);
    let builder = Gateway::builder().listen(address).upstream(registry.url()).config_toml(config);
    host.run(|| builder.start())
}

fn installs_the_same_by_redirects(test: &str, client: Client) {
    in_own_network(test, &[], || {
        let scene = Scene::new();
        let folder = tempfile::tempdir().unwrap();
        let install = |from, name: &str| scene.install(client, from, &folder.path().join(name));
        install(&scene.near, "near");
        let (served, first) = install(&scene.far, "first");
        // What was asked behind the first one's back is known by now, or the next time.
        let redirected = || {
            scene
                .far
                .metric("open_registry_http_requests_total", &[("route", "tarball"), ("outcome", "redirect")])
        };
        let all = scene.registry.requests().iter().filter(|request| request.is_tarball()).count() / 2;
        let mut sent_on = 0.0;
        for rounds in 1.. {
            let before = redirected();
            let (again, outcome) = install(&scene.far, &format!("again-{rounds}"));
            assert_same_packages(&again.installed(), &served.installed());
            assert_same_lines(&outcome.locked(), &first.locked());
            sent_on = redirected() - before;
            if sent_on >= all as f64 * 0.9 || rounds == 5 {
                break;
            }
        }
        assert!(sent_on >= all as f64 * 0.9, "{sent_on} of {all} tarballs by redirects");
    });
}

#[test]
fn each_condition_that_is_broken_means_that_a_request_is_served_here() {
    in_own_network("each_condition_that_is_broken_means_that_a_request_is_served_here", &[], || {
        let scene = Scene::new();
        let path = scene.tarball();
        let npm = ("user-agent", NPM);
        let redirect = scene.ask(&path, &[npm]);
        assert_eq!(redirect.header("cache-control"), Some("no-store"));
        let location = redirect.header("location").unwrap().to_owned();
        assert_eq!(
            location,
            format!("{}{path}?open-registry-hop=1", scene.near.url().trim_end_matches(":80"))
        );
        let there = scene.laptop.run(|| Request::get(&location).header("user-agent", NPM).send());
        assert_eq!(there.status, 200);
        assert_eq!(scene.ask(&path, &[]).body, there.body);

        for (headers, why) in [
            (vec![], "an unknown client"),
            (vec![("user-agent", "yarn/4.12.0")], "a client that checks nothing"),
            (vec![npm, ("range", "bytes=0-0")], "a range"),
            (vec![npm, ("open-registry-peer", Identity::new().id())], "a peer"),
        ] {
            assert!([200, 206].contains(&scene.ask(&path, &headers).status), "{why}");
        }
        // Credentials over plain http are refused altogether.
        assert_eq!(scene.ask(&path, &[npm, ("authorization", "Bearer secret")]).status, 403);
        assert_eq!(scene.ask(&format!("{path}?open-registry-hop=1"), &[npm]).status, 200);
        assert_eq!(scene.ask_by("HEAD", &path, &[npm]).status, 200);
        let name = scene.project.packages[0].name().to_owned();
        assert_eq!(scene.ask(&format!("/{name}"), &[npm]).status, 200, "a packument");
    });
}

#[test]
fn a_peer_is_told_what_is_held_and_nothing_is_fetched_for_it() {
    in_own_network("a_peer_is_told_what_is_held_and_nothing_is_fetched_for_it", &[], || {
        let scene = Scene::new();
        let unheard = format!("/-/tarballs/sha512/{}", "A".repeat(86));
        scene.registry.reset_log();
        let id = Identity::new();
        let peer = ("open-registry-peer", id.id());
        assert_eq!(scene.ask_by("HEAD", &unheard, &[peer]).status, 404);
        let mut asked = scene.registry.requests();
        asked.retain(|request| request.path == unheard);
        assert!(asked.is_empty(), "{asked:?}");
    });
}

#[test]
fn a_client_is_told_why_and_the_operator_of_any_client() {
    in_own_network("a_client_is_told_why_and_the_operator_of_any_client", &[], || {
        let scene = Scene::new();
        let near = scene.near_host.run(|| harness::http::get(&scene.near.url()).json())["peer"].clone();
        let why = || scene.ask("/-/open-registry/why", &[]).json();
        let explained = until(why, |why| why["candidates"][0]["peer"] == near);
        assert_eq!(explained["client"]["address"], scene.laptop.v4().to_string());
        assert_eq!(explained["candidates"][0]["tier"], "declared network");
        assert_eq!(explained["answers"][0]["addresses"][0], scene.near_host.v4().to_string());
        let text = scene.ask("/-/open-registry/why", &[("accept", "text/plain")]).text();
        assert!(text.contains("declared network /24") && text.contains("(this gateway)"), "{text}");

        let about = |client: &str| {
            let url = format!("{}/why?client={client}", scene.far.operator_url());
            scene.far_host.run(|| harness::http::get(&url))
        };
        let laptop = about(&scene.laptop.v4().to_string()).json();
        assert_eq!(laptop["answers"], explained["answers"]);
        assert_eq!(about("8.8.8.8").json()["client"]["network"], "8.8.8.0/24");
        assert_eq!(about("nobody").status, 400);

        let said = scene.far.ask(&["explain", &scene.laptop.v4().to_string()]).expect_success();
        assert!(said.stdout.contains("declared network /24"), "{}", said.stdout);
        assert!(said.stderr.contains("the configuration alone"), "{}", said.stderr);
    });
}
