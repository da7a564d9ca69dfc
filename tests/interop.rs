//! What this program writes for IPFS is what others write: the fixtures that `resolver`'s unit tests compare with are still what the
//! packages of the JavaScript implementation make.

#![allow(clippy::unwrap_used, reason = "in a test, also outside of its function, a panic is a failure")]

use std::path::Path;
use std::process::Command;

#[test]
fn records_and_cars_of_the_fixtures_are_what_the_javascript_implementation_makes() {
    let check = Path::new(env!("CARGO_MANIFEST_DIR")).join("ipns/check");
    let output = Command::new(&check).output().unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {said}{complained}", check.display());
}
