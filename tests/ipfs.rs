//! Promise: an IPFS client that knows nothing of us walks the index through a gateway and verifies all of it, and the head is a record
//! that the JavaScript implementation accepts. The clients have loopback alone.

#![allow(clippy::unwrap_used, reason = "in a test, also outside of its function, a panic is a failure")]

use std::env::consts::ARCH;
use std::path::Path;
use std::process::Command;

use harness::{Gateway, Package, Registry, RegistryBuilder, http, in_own_network, until};
use resolver::head;
use resolver::head::summary::Summary;
use resolver::index::address;
use resolver::integrity::Integrity;
use serde_json::Value;

const MIB: usize = 1024 * 1024;
const TARBALLS: [(&str, &str); 2] =
    [("/left/-/left-1.0.0.tgz", "/left/left-1.0.0.tgz"), ("/big/-/big-1.0.0.tgz", "/big/big-1.0.0.tgz")];
const CORE: &str = "/@babel/core/metadata.json";

fn gateway(registry: &Registry) -> Gateway {
    let gateway = Gateway::builder().upstream(registry.url()).start();
    for path in ["/left", TARBALLS[0].0, "/big", TARBALLS[1].0, "/@babel/core"] {
        assert_eq!(http::get(&format!("{}{path}", gateway.url())).status, 200, "{path}");
    }
    for version in ["left/1.0.0", "big/1.0.0"] {
        let url = format!("{}/-/open-registry/resolve/{version}", gateway.url());
        until(|| http::get(&url).status, |status| *status == 200);
    }
    // Of this one there is no tarball, and all else.
    let core = format!("{}/-/open-registry/resolve/@babel/core/7.0.0", gateway.url());
    until(|| http::get(&core).json(), |said| said["missing"] == "tarball");
    gateway
}

/// What Helia has read and what it thinks of the head.
fn walked(gateway: &Gateway, root: &str, paths: &[&str]) -> Value {
    let name = head::name(gateway.id().parse().unwrap());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("ipfs");
    let cpu = if ARCH == "aarch64" { "arm64" } else { "x64" };
    let node = folder.join(format!("node_modules/node-linux-{cpu}/bin/node"));
    assert!(node.exists(), "Helia is not there: run tests/ipfs/install");
    let mut walk = Command::new(node);
    walk.arg(folder.join("walk.mjs")).args([&gateway.url(), root, &name]).args(paths);
    let said = walk.output().unwrap();
    let complaint = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{complaint}\n{}", String::from_utf8_lossy(&said.stdout));
    serde_json::from_slice(&said.stdout).unwrap()
}

#[test]
fn helia_walks_the_index_through_a_gateway_and_accepts_its_head() {
    in_own_network("helia_walks_the_index_through_a_gateway_and_accepts_its_head", &[], || {
        let packages = [
            Package::new("left").version("1.0.0", |v| v.size(20_000)),
            Package::new("big").version("1.0.0", |v| v.size(10 * MIB)),
            Package::new("@babel/core").version("7.0.0", |v| v),
        ];
        let registry = packages.into_iter().fold(Registry::builder(), RegistryBuilder::package).start();
        let gateway = gateway(&registry);
        let summary = Summary::parse(&http::get(&gateway.url()).body).unwrap();
        let root = summary.root.unwrap().to_string();
        let paths = [CORE, TARBALLS[0].1, TARBALLS[1].1];

        let walked = walked(&gateway, &root, &paths);

        for (at, path) in TARBALLS {
            let bytes = http::get(&format!("{}{at}", gateway.url())).body;
            let read = &walked["files"][path];
            assert_eq!(read["length"], bytes.len(), "{path}");
            assert_eq!(read["sha512"], Integrity::of(&bytes).hex(), "{path}");
        }
        let left = http::get(&format!("{}{}", gateway.url(), TARBALLS[0].0)).body;
        let cid = address::of_tarball(&Integrity::of(&left));
        assert_eq!(walked["files"][TARBALLS[0].1]["cid"], cid.to_string(), "one block by npm's own digest");
        assert!(walked["files"][CORE]["length"].as_u64().unwrap() > 100, "{walked}");
        assert_eq!(walked["names"], serde_json::json!(["@babel", "big", "left"]));
        assert_eq!(walked["head"]["value"], format!("/ipfs/{root}"));
        assert_eq!(walked["head"]["sequence"], summary.sequence);
    });
}
