//! Which addresses a tarball may be fetched from: upstream's own origin and the hosts that the operator
//! named, never whatever host a document points at (server-side request forgery).

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::package::{FileName, PackageName};

/// Where tarballs may come from.
#[derive(Debug, Clone)]
pub struct Origins {
    upstream: Origin,
    /// Upstream's base address, without a slash at its end.
    base: String,
    others: Vec<String>,
}

/// Scheme and authority of an address, lower case, default port left out.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    scheme: String,
    authority: String,
}

impl Origins {
    /// `upstream` is an absolute http or https address; `others` are `host` or `host:port`. `None` when
    /// `upstream` is not such an address.
    #[must_use]
    pub fn new(upstream: &str, others: &[String]) -> Option<Self> {
        let base = upstream.trim_end_matches('/').into();
        let others = others.iter().map(|host| host.to_ascii_lowercase()).collect();
        Some(Self { upstream: split(upstream)?.0, base, others })
    }

    /// The address to fetch a tarball from: the document's own, when it is allowed; otherwise the
    /// conventional one at upstream.
    #[must_use]
    pub fn tarball(&self, named: Option<&str>, name: &PackageName, file: &FileName) -> String {
        named
            .and_then(|address| self.allowed(address))
            .unwrap_or_else(|| format!("{}/{}", self.base, name.tarball_path(file)))
    }

    /// `address`, when its host is one that may be asked. Upstream's own host is asked by upstream's own
    /// scheme, whatever the document says; other hosts never by a weaker scheme than upstream's.
    #[must_use]
    pub fn allowed(&self, address: &str) -> Option<String> {
        let (origin, path) = split(address)?;
        if origin.authority == self.upstream.authority {
            return Some(format!("{}://{}{path}", self.upstream.scheme, origin.authority));
        }
        let downgrade = self.upstream.scheme == "https" && origin.scheme == "http";
        (self.others.contains(&origin.authority) && !downgrade)
            .then(|| format!("{}://{}{path}", origin.scheme, origin.authority))
    }
}

/// Origin and path (with query, without fragment) of an absolute http(s) address; `None` for anything else,
/// and for whatever two parsers could read in two ways: credentials, backslashes, spaces, controls.
fn split(address: &str) -> Option<(Origin, String)> {
    if !address.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return None;
    }
    let (scheme, rest) = address.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "https" => ":443",
        "http" => ":80",
        _ => return None,
    };
    let rest = rest.split('#').next().unwrap_or(rest);
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.is_empty() || authority.contains('@') {
        return None;
    }
    let authority = authority.to_ascii_lowercase();
    let authority = authority.strip_suffix(default_port).map_or_else(|| authority.clone(), Into::into);
    let path = if path.starts_with('/') { path.into() } else { format!("/{path}") };
    Some((Origin { scheme, authority }, path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    fn origins() -> Origins {
        Origins::new("https://up.example/", &["CDN.example".to_string(), "mirror.example:8443".to_string()])
            .unwrap()
    }

    #[test]
    fn a_document_cannot_send_us_to_a_strange_host() {
        let (name, file) = (PackageName::parse("@s/a").unwrap(), FileName::parse("a-1.0.0.tgz").unwrap());
        let conventional = "https://up.example/@s/a/-/a-1.0.0.tgz";
        for named in [
            "http://169.254.169.254/latest/meta-data",
            "https://up.example@evil.example/a.tgz",
            "https://up.example:8443/a.tgz",
            "https://up.example.evil.example/a.tgz",
            "https://evil.example\\@up.example/a.tgz",
            "http://cdn.example/a.tgz",
            "file:///etc/passwd",
            "//up.example/a.tgz",
            "https:///a.tgz",
            "",
        ] {
            assert_eq!(origins().tarball(Some(named), &name, &file), conventional, "{named}");
        }
        assert_eq!(origins().tarball(None, &name, &file), conventional);
    }

    #[test]
    fn upstreams_own_and_configured_hosts_are_asked_as_the_document_says() {
        for (named, asked) in [
            ("https://up.example/odd/place.tgz", "https://up.example/odd/place.tgz"),
            ("https://UP.example:443/odd.tgz#x", "https://up.example/odd.tgz"),
            ("http://up.example/odd.tgz", "https://up.example/odd.tgz"),
            ("https://cdn.example/a.tgz?v=1", "https://cdn.example/a.tgz?v=1"),
            ("https://mirror.example:8443/a.tgz", "https://mirror.example:8443/a.tgz"),
        ] {
            assert_eq!(origins().allowed(named).as_deref(), Some(asked), "{named}");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_allowed_hosts_is_ever_asked(address: String) {
            if let Some(allowed) = origins().allowed(&address) {
                let rest = allowed.strip_prefix("https://").unwrap();
                prop_assert!(["up.example/", "cdn.example/", "mirror.example:8443/"].iter().any(|host| rest.starts_with(host)));
            }
        }
    }
}
