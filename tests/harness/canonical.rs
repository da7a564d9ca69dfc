//! The npm registry's own address, read from the one place where it is written.

use std::fs;
use std::path::Path;

use toml_edit::DocumentMut;
use url::Url;

/// The default of `upstream.url`, without a slash at the end.
pub fn canonical_url() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/open-registry.toml");
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let config: DocumentMut = text.parse().expect("the default configuration is TOML");
    let url = config["upstream"]["url"].as_str().expect("the default configuration has upstream.url");
    url.trim_end_matches('/').to_owned()
}

/// The host in it.
pub fn canonical_host() -> String {
    let url = Url::parse(&canonical_url()).expect("upstream.url is a URL");
    url.host_str().expect("upstream.url has a host").to_owned()
}
