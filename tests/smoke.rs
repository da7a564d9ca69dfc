//! A real project through the real npm registry, and once more without it.

use harness::clients::{Checkout, Client, Mode, Settings};
use harness::{Gateway, http};

/// Some 120 packages, scoped ones and one of 20 MB unpacked among them.
const PROJECT: &str = r#"{
    "name": "smoke", "version": "1.0.0", "private": true,
    "dependencies": {"express": "4.21.2", "typescript": "5.8.3", "@babel/core": "7.26.10"}
}"#;

#[test]
fn a_real_project_installs_through_the_npm_registry_and_then_without_any() {
    let data = tempfile::tempdir().unwrap();
    let workshop = tempfile::tempdir().unwrap();
    let checkout = Checkout::new(workshop.path(), PROJECT);

    let mut gateway = Gateway::builder().data(data.path()).start();
    let cold =
        Client::Npm11.install(&checkout, &Settings::registry(&gateway.url()), Mode::Cold).expect_success();
    let packages = checkout.installed();
    assert!(packages.len() > 100, "only {} packages were installed", packages.len());
    assert!(gateway.metric("open_registry_upstream_received_bytes_total", &[]) > 1_000_000.0);
    assert!(cold.locked().contains(harness::canonical_url().trim_end_matches('/')));
    gateway.terminate();

    let offline = Gateway::builder().data(data.path()).offline().start();
    let again =
        Client::Npm11.install(&checkout, &Settings::registry(&offline.url()), Mode::Frozen).expect_success();
    assert_eq!(checkout.installed(), packages);
    assert_eq!(again.locked(), cold.locked());
    assert_eq!(offline.metric("open_registry_upstream_requests_total", &[]), 0.0);
    assert_eq!(http::get(&format!("{}/left-pad", offline.url())).status, 503);
}
