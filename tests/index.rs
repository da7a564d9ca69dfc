//! Promise: what is held is published under one root, and everybody can verify it: by HTTP as blocks and CARs, by DNS, and on the
//! command line.

#![allow(clippy::unwrap_used, reason = "in a test, also outside of its function, a panic is a failure")]

use std::collections::BTreeMap;
use std::process::Command;

use gateway::identity::is_signed_by;
use harness::http::{Reply, Request};
use harness::{ABBREVIATED, Gateway, Package, Registry, RegistryBuilder, Said, in_own_network, until};
use resolver::car::{Item, Limits, Reader};
use resolver::head::summary::Summary;
use resolver::head::{Head, Signed, dns};
use resolver::index::{BlockSet, Cid, address, lookup, read_file, verify};
use resolver::integrity::Integrity;
use resolver::peer::PeerId;
use serde_json::Value;

const LEFT: &str = "/left/-/left-1.0.0.tgz";
const CORE: &str = "/@babel/core/-/core-7.0.0.tgz";
const BIG: &str = "/big/-/big-1.0.0.tgz";
/// Where the command looks by itself.
const OPERATOR: &str = "127.0.0.1:6737";
const ZONE: &str = "registry.open-registry.dev";
const MIB: usize = 1024 * 1024;

struct Scene {
    gateway: Gateway,
    registry: Registry,
}

impl Scene {
    fn new() -> Self {
        let packages = [
            Package::new("left").version("1.0.0", |v| v.size(20_000)).version("1.1.0", |v| v),
            Package::new("@babel/core").version("7.0.0", |v| v),
            Package::new("big").version("1.0.0", |v| v.size(10 * MIB)),
            Package::new("ipfs").version("0.66.1", |v| v),
            Package::new("@private/left").version("1.0.0", |v| v),
        ];
        let registry = packages.into_iter().fold(Registry::builder(), RegistryBuilder::package).start();
        let config = "[private]\nscopes = [\"@private\"]\n";
        let gateway = Gateway::builder().upstream(registry.url()).config_toml(config);
        let gateway = gateway.dns("127.0.0.1:0".parse().unwrap());
        let gateway = gateway.env("OPEN_REGISTRY_OPERATOR__LISTEN", OPERATOR).start();
        Self { gateway, registry }
    }

    /// In a network of its own, for the command looks at one address.
    fn held_in(test: &str, run: impl Fn(&Self)) {
        in_own_network(test, &[], || {
            let scene = Self::new();
            for path in ["/left", LEFT, "/@babel/core", CORE, "/big", BIG] {
                assert_eq!(scene.get(path).status, 200, "{path}");
            }
            scene.until_listed("big", "1.0.0");
            scene.until_listed("@babel/core", "7.0.0");
            scene.until_listed("left", "1.0.0");
            run(&scene);
        });
    }

    fn request(&self, method: &str, path: &str) -> Request {
        Request::new(method, &format!("{}{path}", self.gateway.url()))
    }

    fn get(&self, path: &str) -> Reply {
        self.request("GET", path).send()
    }

    fn until_listed(&self, name: &str, version: &str) -> Value {
        let path = format!("/-/open-registry/resolve/{name}/{version}");
        let listed = until(|| self.get(&path), |reply| reply.status != 404 && reply.status != 429);
        assert_eq!(listed.status, 200, "{}", listed.text());
        listed.json()
    }

    fn summary(&self) -> Summary {
        Summary::parse(&self.get("/").body).unwrap()
    }

    fn root(&self) -> Cid {
        *self.summary().root.unwrap().cid()
    }

    fn id(&self) -> PeerId {
        self.gateway.id().parse().unwrap()
    }

    /// A CAR, each of its blocks verified.
    fn car(&self, path: &str) -> (Reply, Vec<(Cid, Vec<u8>)>) {
        let reply = self.get(path);
        assert_eq!((reply.status, &reply.cut), (200, &None), "{path}: {}", reply.text());
        let mut reader = Reader::new(Limits { blocks: 10_000, bytes: 64 * MIB as u64 });
        let (mut rest, mut blocks) = (&reply.body[..], Vec::new());
        while let Some(item) = reader.take(&mut rest).unwrap() {
            if let Item::Block(cid, bytes) = item {
                blocks.push((cid, bytes));
            }
        }
        reader.finish().unwrap();
        (reply, blocks)
    }

    /// The document at a path below a root, out of a CAR that proves it.
    fn proved(&self, root: &Cid, path: &str) -> Option<Vec<u8>> {
        let (_, blocks) = self.car(&format!("/ipfs/{root}/{path}?format=car&dag-scope=entity"));
        let (found, set) = verify(root, path.split('/'), blocks, 64 * MIB).unwrap();
        found.target.map(|target| read_file(&set, &target, 64 * MIB).unwrap())
    }

    fn resolve(&self, what: &str) -> Said {
        self.gateway.ask(&["resolve", what])
    }

    /// What dig prints of the texts of a name, each as the strings that it consists of.
    fn dig(&self, name: &str) -> Vec<Vec<Vec<u8>>> {
        let server = self.gateway.listener("dns");
        let (address, port) = (format!("@{}", server.ip()), server.port().to_string());
        let dig = ["+short", "+notcp", "+ignore", "+bufsize=1232", &address, "-p", &port, name, "TXT"];
        let said = Command::new("dig").args(dig).output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        let strings =
            |line: &str| line.trim_matches('"').split("\" \"").map(|one| one.as_bytes().to_vec()).collect();
        said.lines().map(strings).collect()
    }
}

fn told(texts: &[Vec<Vec<u8>>]) -> dns::Told {
    dns::read(texts.iter().map(|text| text.iter().map(Vec::as_slice))).unwrap_or_default()
}

fn head_of(record: &[u8], id: PeerId) -> Head {
    let verify = |_: &[u8; 32], message: &[u8], signature: &[u8; 64]| is_signed_by(id, message, signature);
    *Signed::read(record, id).unwrap().check(verify).unwrap().head()
}

#[test]
fn the_front_page_says_which_root_is_published_and_how_old_it_is() {
    in_own_network("the_front_page_says_which_root_is_published_and_how_old_it_is", &[], || {
        let scene = Scene::new();
        let before = scene.summary();
        assert_eq!((before.root, before.sequence, before.blocks), (None, 0, 0));
        assert_eq!(scene.get(&format!("/ipns/{}?format=ipns-record", scene.id())).status, 404);
        assert!(scene.dig(ZONE).is_empty());
        assert_eq!(scene.get("/left").status, 200);
        let after = until(|| scene.summary(), |summary| summary.root.is_some());
        assert_eq!(after.peer, scene.id());
        assert!(after.sequence > 1_700_000_000_000 && after.blocks >= 4, "{after:?}");
        assert!(after.cumulative_size > 1000, "{after:?}");
        let page = scene.request("GET", "/").header("accept", "text/html").send().text();
        let root = after.root.unwrap().to_string();
        assert!(page.contains(&root) && page.contains("signed ") && page.contains("s ago"), "{page}");
        let status = scene.gateway.ask(&["status"]).expect_success().stdout;
        assert!(status.contains("index     root ") && status.contains("blocks"), "{status}");
        assert_eq!(scene.gateway.status()["index"]["root"], root);
        assert!(scene.gateway.metric("open_registry_index_roots_total", &[]) >= 1.0);
        assert!(scene.gateway.metric("open_registry_index_blocks", &[]) >= 4.0);
    });
}

#[test]
fn a_block_is_given_to_whoever_names_it_and_only_as_what_its_name_says() {
    Scene::held_in("a_block_is_given_to_whoever_names_it_and_only_as_what_its_name_says", |scene| {
        let root = scene.root();
        let asked = scene.registry.packument_requests() + scene.registry.tarball_requests();
        let path = format!("/ipfs/{root}");
        let by_query = scene.get(&format!("{path}?format=raw"));
        let by_accept = scene.request("GET", &path).header("accept", "application/vnd.ipld.raw").send();
        assert_eq!((by_query.status, &by_query.body), (200, &by_accept.body));
        address::check(&root, &by_query.body).unwrap();
        for (name, value) in [
            ("content-type", "application/vnd.ipld.raw".to_owned()),
            ("etag", format!("\"{root}.raw\"")),
            ("cache-control", "public, max-age=29030400, immutable".to_owned()),
            ("x-ipfs-path", path.clone()),
            ("x-ipfs-roots", root.to_string()),
            ("content-disposition", format!("attachment; filename=\"{root}.bin\"")),
            ("x-content-type-options", "nosniff".to_owned()),
            ("access-control-allow-origin", "*".to_owned()),
        ] {
            assert_eq!(by_query.header(name), Some(value.as_str()), "{name}");
        }
        let head = scene.request("HEAD", &format!("{path}?format=raw")).send();
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.header("content-length"), Some(by_query.body.len().to_string().as_str()));
        let etag = by_query.header("etag").unwrap().to_owned();
        let again = scene.request("GET", &format!("{path}?format=raw")).header("if-none-match", &etag).send();
        assert_eq!((again.status, again.body.len()), (304, 0));

        // A tarball's address is npm's digest.
        let tarball = scene.get(LEFT);
        let cid = address::of_tarball(&Integrity::of(&tarball.body));
        assert_eq!(scene.get(&format!("/ipfs/{cid}?format=raw")).body, tarball.body);
        assert_eq!(scene.get("/ipfs/bafkqaaa?format=raw").status, 200, "the probe of IPFS clients");

        let foreign = address::of_raw(&[7; 32]);
        for (path, accept, status) in [
            (path.clone(), "", 400),
            (path.clone(), "text/html", 406),
            (format!("{path}/left?format=raw"), "", 400),
            (format!("{path}?format=tar"), "", 406),
            (format!("/ipfs/{foreign}?format=raw"), "", 404),
            (format!("/ipfs/{foreign}?format=car"), "", 404),
            (format!("/ipfs/{foreign}/left?format=car"), "", 404),
        ] {
            let request = scene.request("GET", &path);
            let request = if accept.is_empty() { request } else { request.header("accept", accept) };
            let reply = request.send();
            assert_eq!(reply.status, status, "{path} {accept}: {}", reply.text());
        }
        let browser = scene.request("GET", &path).header("accept", "text/html,*/*;q=0.8").send();
        assert_eq!(browser.header("content-type"), Some("text/plain; charset=utf-8"));
        let absent = scene.request("GET", &format!("/ipfs/{foreign}?format=raw"));
        assert_eq!(absent.header("cache-control", "only-if-cached").send().status, 412);
        let preflight = scene.request("OPTIONS", &path).header("origin", "https://example.com").send();
        assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (204, Some("*")));
        assert!(preflight.header("access-control-allow-methods").unwrap().contains("GET"));
        let after = scene.registry.packument_requests() + scene.registry.tarball_requests();
        assert_eq!(after, asked, "something was fetched");
        assert!(scene.gateway.metric("open_registry_index_blocks_sent_total", &[]) >= 3.0);
    });
}

#[test]
fn a_car_proves_each_document_and_the_absence_of_what_is_not_there() {
    Scene::held_in("a_car_proves_each_document_and_the_absence_of_what_is_not_there", |scene| {
        let root = scene.root();
        for (path, at) in
            [("left/left-1.0.0.tgz", LEFT), ("@babel/core/core-7.0.0.tgz", CORE), ("big/big-1.0.0.tgz", BIG)]
        {
            assert_eq!(scene.proved(&root, path).unwrap(), scene.get(at).body, "{path}");
        }
        let metadata = scene.proved(&root, "@babel/core/metadata.json").unwrap();
        let metadata: Value = serde_json::from_slice(&metadata).unwrap();
        assert_eq!(metadata["versions"]["7.0.0"]["name"], "@babel/core");
        let install: Value =
            serde_json::from_slice(&scene.proved(&root, "left/install.json").unwrap()).unwrap();
        let given = scene
            .request("GET", "/left")
            .header("accept", ABBREVIATED)
            .header("user-agent", "npm/11.0.0")
            .send();
        assert_eq!(install["versions"], given.json()["versions"]);
        for absent in
            ["right", "left/left-1.1.0.tgz", "@private/left/metadata.json", "@babel/none", "left/a/b"]
        {
            assert_eq!(scene.proved(&root, absent), None, "{absent}");
        }
    });
}

#[test]
fn a_car_has_what_was_asked_for_and_no_more() {
    Scene::held_in("a_car_has_what_was_asked_for_and_no_more", |scene| {
        let root = scene.root();
        let big = format!("/ipfs/{root}/big/big-1.0.0.tgz?format=car");
        let leaves = |query: &str| {
            let (_, blocks) = scene.car(&format!("{big}{query}"));
            let leaves = blocks.iter().filter(|(cid, _)| cid.codec() == address::RAW);
            leaves.map(|(_, bytes)| bytes.len()).collect::<Vec<_>>()
        };
        let length = scene.get(BIG).body.len();
        let all = leaves("");
        assert_eq!((all.iter().sum::<usize>(), all.len()), (length, length.div_ceil(MIB)));
        assert_eq!(leaves("&dag-scope=block"), [0; 0]);
        assert_eq!(leaves("&entity-bytes=0:0"), [MIB]);
        assert_eq!(leaves(&format!("&entity-bytes={}:{}", MIB - 1, MIB)), [MIB, MIB]);
        assert_eq!(leaves("&entity-bytes=-1:*"), [length % MIB]);
        assert_eq!(leaves(&format!("&entity-bytes={length}:*")), [0; 0], "behind its end");

        let package = format!("/ipfs/{root}/left?format=car");
        let (entity, listed) = scene.car(&format!("{package}&dag-scope=entity"));
        let (_, whole) = scene.car(&package);
        assert_eq!(whole.len(), listed.len() + 3, "two documents and a tarball");
        assert_eq!(
            entity.header("content-type"),
            Some("application/vnd.ipld.car; version=1; order=dfs; dups=n")
        );
        assert_eq!(entity.header("accept-ranges"), Some("none"));
        assert!(entity.header("x-ipfs-roots").unwrap().starts_with(&format!("{root},")), "{entity:?}");
        let request = scene.request("GET", &format!("{package}&dag-scope=entity"));
        assert_eq!(request.header("if-none-match", entity.header("etag").unwrap()).send().status, 304);
        assert_ne!(entity.header("etag"), scene.car(&package).0.header("etag"));
        let head = scene.request("HEAD", &package).send();
        assert_eq!((head.status, head.body.len()), (200, 0));
        let ranged = scene.request("GET", &package).header("range", "bytes=0-9").send();
        assert_eq!(ranged.status, 200, "a CAR has no ranges");

        // All of the index: every block once, and each way through it ends.
        let (_, blocks) = scene.car(&format!("/ipfs/{root}?format=car"));
        let mut times = BTreeMap::new();
        blocks.iter().for_each(|(cid, _)| *times.entry(*cid).or_insert(0) += 1);
        assert!(times.values().all(|times| *times == 1), "{times:?}");
        let mut set = BlockSet::within(64 * MIB);
        blocks.into_iter().for_each(|(cid, bytes)| set.insert(cid, bytes).unwrap());
        let found = lookup::resolve(&set, &root, ["big", "big-1.0.0.tgz"]).unwrap();
        assert_eq!(read_file(&set, &found.target.unwrap(), 64 * MIB).unwrap().len(), length);
    });
}

#[test]
fn the_head_is_the_same_by_http_and_by_dns_and_a_new_root_shows_by_both() {
    Scene::held_in("the_head_is_the_same_by_http_and_by_dns_and_a_new_root_shows_by_both", |scene| {
        let (id, summary) = (scene.id(), scene.summary());
        let (root, name) = (summary.root.unwrap(), resolver::head::name(id));
        let record = scene.get(&format!("/ipns/{id}?format=ipns-record"));
        assert_eq!(record.header("content-type"), Some("application/vnd.ipfs.ipns-record"));
        assert!(record.header("cache-control").unwrap().starts_with("public, max-age="));
        let head = head_of(&record.body, id);
        assert_eq!((head.root, head.sequence), (root, summary.sequence));
        let accept = "application/vnd.ipfs.ipns-record";
        for path in [format!("/ipns/{name}"), format!("/routing/v1/ipns/{name}")] {
            assert_eq!(
                scene.request("GET", &path).header("accept", accept).send().body,
                record.body,
                "{path}"
            );
        }
        let etag = record.header("etag").unwrap();
        let again =
            scene.request("GET", &format!("/ipns/{id}?format=ipns-record")).header("if-none-match", etag);
        assert_eq!(again.send().status, 304);
        let stranger = PeerId::of_key([7; 32]);
        assert_eq!(scene.get(&format!("/ipns/{stranger}?format=ipns-record")).status, 404);

        let by_dns = told(&scene.dig(ZONE));
        assert_eq!((by_dns.root, &by_dns.records), (Some(root), &vec![record.body.to_vec()]));
        let link = scene.dig(&format!("_dnslink.{ZONE}"));
        assert_eq!(dns::read_link(link[0].iter().map(Vec::as_slice)), Some(root));
        let who = scene.dig(&format!("direct.{ZONE}"));
        assert_eq!(who, [[b"client=127.0.0.1".to_vec()]]);

        // What stands below our name is what stands below the root of now, for as long as that is the root.
        let below = scene.get(&format!("/ipns/{name}/left/metadata.json?format=car"));
        assert_eq!(below.body, scene.get(&format!("/ipfs/{root}/left/metadata.json?format=car")).body);
        assert!(!below.header("cache-control").unwrap().contains("immutable"));
        assert_eq!(scene.get(&format!("/ipns/{stranger}/left?format=car")).status, 400);

        assert_eq!(scene.get("/left/-/left-1.1.0.tgz").status, 200);
        let newer = until(|| scene.summary(), |newer| newer.root != Some(root));
        assert!(newer.sequence > summary.sequence);
        until(|| told(&scene.dig(ZONE)).root, |told| *told == newer.root);
        assert!(scene.proved(newer.root.unwrap().cid(), "left/left-1.1.0.tgz").is_some());
        assert!(
            scene.proved(root.cid(), "left/left-1.0.0.tgz").is_some(),
            "whoever is in the old tree comes to its end"
        );
    });
}

#[test]
fn packages_called_as_the_routes_of_ipfs_are_go_on_being_npms() {
    Scene::held_in("packages_called_as_the_routes_of_ipfs_are_go_on_being_npms", |scene| {
        assert_eq!(scene.get("/ipfs").json()["name"], "ipfs");
        for version in ["0.66.1", "latest"] {
            assert_eq!(scene.get(&format!("/ipfs/{version}")).json()["version"], "0.66.1", "{version}");
        }
        assert_eq!(scene.get("/ipfs/-/ipfs-0.66.1.tgz").status, 200);
        assert_eq!(scene.get("/ipns").status, 404, "upstream has no such package");
        scene.until_listed("ipfs", "latest");
        assert!(scene.proved(&scene.root(), "ipfs/ipfs-0.66.1.tgz").is_some());
    });
}

#[test]
fn a_version_has_an_address_and_what_is_missing_is_said() {
    Scene::held_in("a_version_has_an_address_and_what_is_missing_is_said", |scene| {
        let root = scene.root();
        let tarball = scene.get(CORE);
        let core = scene.until_listed("@babel/core", "latest");
        let integrity = Integrity::of(&tarball.body);
        assert_eq!(core["version"], "7.0.0");
        assert_eq!(core["cid"], address::of_tarball(&integrity).to_string());
        assert_eq!(core["path"], format!("/ipfs/{root}/@babel/core/core-7.0.0.tgz"));
        assert_eq!(
            (&core["integrity"], &core["size"]),
            (&integrity.to_string().into(), &tarball.body.len().into())
        );
        assert_eq!(
            (&core["holders"][0]["peer"], &core["holders"][0]["this"]),
            (&scene.gateway.id().into(), &true.into())
        );
        let asked = scene.registry.packument_requests() + scene.registry.tarball_requests();
        for (what, missing) in [
            ("none/1.0.0", "package"),
            ("@private/left/1.0.0", "package"),
            ("left/9.9.9", "version"),
            ("left/1.1.0", "tarball"),
        ] {
            let reply = scene.get(&format!("/-/open-registry/resolve/{what}"));
            assert_eq!(
                (reply.status, &reply.json()["missing"]),
                (404, &missing.into()),
                "{what}: {}",
                reply.text()
            );
        }
        let unheld = scene.get("/-/open-registry/resolve/left/1.1.0").json();
        let document = scene.get("/left").json();
        assert_eq!(unheld["integrity"], document["versions"]["1.1.0"]["dist"]["integrity"]);
        assert_eq!(scene.registry.packument_requests() + scene.registry.tarball_requests(), asked);

        let said = scene.resolve("@babel/core@latest").expect_success().stdout;
        for words in ["@babel/core@7.0.0", core["cid"].as_str().unwrap(), "(this gateway)", "/core-7.0.0.tgz"]
        {
            assert!(said.contains(words), "{words}: {said}");
        }
        let json = scene.gateway.ask(&["resolve", "--json", "@babel/core@latest"]).expect_success().stdout;
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), core);
        for (what, words) in [
            ("left@1.1.0", "the tarball of left@1.1.0"),
            ("left", "names no version"),
            ("none@1", "package none"),
        ] {
            let said = scene.resolve(what);
            assert!(!said.success && said.stderr.contains(words), "{what}: {said:?}");
        }
    });
}

#[test]
fn ipfs_clients_are_told_who_has_a_block() {
    Scene::held_in("ipfs_clients_are_told_who_has_a_block", |scene| {
        let root = scene.root();
        let path = format!("/routing/v1/providers/{root}");
        let reply = scene.get(&path);
        let provider = &reply.json()["Providers"][0];
        assert_eq!((&provider["ID"], &provider["Schema"]), (&scene.gateway.id().into(), &"peer".into()));
        let port = scene.gateway.address().port();
        assert_eq!(provider["Addrs"][0], format!("/ip4/127.0.0.1/tcp/{port}/http"));
        assert_eq!(provider["Protocols"][0], "transport-ipfs-gateway-http");
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
        let lines = scene.request("GET", &path).header("accept", "application/x-ndjson").send();
        assert_eq!(lines.header("content-type"), Some("application/x-ndjson"));
        assert_eq!(&serde_json::from_slice::<Value>(&lines.body).unwrap(), provider);
        let foreign = scene.get(&format!("/routing/v1/providers/{}", address::of_raw(&[7; 32])));
        assert_eq!((foreign.status, &foreign.json()["Providers"]), (200, &Value::Array(Vec::new())));
    });
}
