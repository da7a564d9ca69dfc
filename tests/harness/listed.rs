//! What stands under the root that a gateway publishes, read and verified as anybody would.

use resolver::car::{Item, Limits, Reader};
use resolver::index::{Cid, read_file, verify};

use crate::Gateway;
use crate::http;

/// More than any test puts under a root.
const LIMITS: Limits = Limits { blocks: 10_000, bytes: 1 << 26 };

/// The root of now, if there is one.
pub fn root(gateway: &Gateway) -> Option<Cid> {
    let facts = http::get(&format!("{}/", gateway.url())).json();
    facts["hash"].as_str()?.parse().ok()
}

/// A document of the root of now: `left/removed.json`. `None`: there is none, or not yet.
///
/// # Panics
/// When what the gateway sends does not prove it.
pub fn listed(gateway: &Gateway, path: &str) -> Option<Vec<u8>> {
    let root = root(gateway)?;
    let car = http::get(&format!("{}/ipfs/{root}/{path}?format=car&dag-scope=entity", gateway.url()));
    if car.status != 200 {
        return None;
    }
    let mut reader = Reader::new(LIMITS);
    let (mut rest, mut blocks) = (&car.body[..], Vec::new());
    while let Some(item) = reader.take(&mut rest).expect("a CAR") {
        if let Item::Block(cid, bytes) = item {
            blocks.push((cid, bytes));
        }
    }
    let (found, set) = verify(&root, path.split('/'), blocks, 1 << 26).expect("a proof");
    found.target.map(|target| read_file(&set, &target, 1 << 26).expect("a file"))
}
