//! The upstream of all: a registry with documents and tarballs of real sizes, 50 ms away.

use std::time::Duration;

use harness::shapes::Shape;
use harness::{Delay, Gateway, Package, Registry};

const ROUND_TRIP: Duration = Duration::from_millis(50);

/// A registry behind a long line.
pub(crate) struct Upstream {
    line: Delay,
    pub(crate) registry: Registry,
}

impl Upstream {
    pub(crate) fn of(packages: impl IntoIterator<Item = Package>) -> Self {
        let line = Delay::of(ROUND_TRIP);
        let registry = Registry::builder().packages(packages).public_url(&line.url()).start();
        line.lead_to(registry.address());
        Self { line, registry }
    }

    /// Where clients and gateways find it.
    pub(crate) fn url(&self) -> String {
        self.line.url()
    }

    /// A gateway of its own for it, with nothing in it. A day is longer than any of the measurements.
    pub(crate) fn gateway(&self) -> Gateway {
        Gateway::builder().upstream(&self.url()).config_toml("[upstream]\nfresh = \"1d\"\n").start()
    }

    /// Holds a packument of this shape.
    pub(crate) fn hold(&self, shape: &Shape) {
        self.registry.hold(shape.name, shape.full(&self.url()), shape.abbreviated(&self.url()));
    }
}

/// A package with one tarball of so many bytes.
pub(crate) fn tarball_of(name: &str, bytes: usize) -> Package {
    Package::new(name).version("1.0.0", |version| version.size(bytes))
}
