//! Which npm client asks, and where its tarball addresses must point.
//!
//! No single `dist.tarball` suits all clients: npm 7 and later and deno turn the public registry's address
//! into whatever registry is configured, and so keep their lockfiles portable; bun builds the address itself
//! when there is none; every other client goes wherever the document says. A `User-Agent` is believed for
//! this only: whoever lies about it gets a document that sends him elsewhere.

use alloc::format;
use alloc::string::String;

use crate::package::{FileName, PackageName};

/// Where a client's tarball addresses point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TarballPolicy {
    /// At the public registry: npm 7 and later, and deno, fetch from the configured registry all the same.
    Canonical,
    /// At the scheme, host and port that the client used.
    Own,
    /// Nowhere: bun builds them.
    Omitted,
}

/// The policy, with its addresses filled in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TarballUrls {
    /// Below this base (`https://host:port`, without a slash at its end).
    At(String),
    /// None at all.
    Omitted,
}

impl TarballPolicy {
    /// The policy for a `User-Agent` header, which may be missing.
    #[must_use]
    pub fn for_user_agent(user_agent: Option<&str>) -> Self {
        let product = user_agent.and_then(|value| value.split_ascii_whitespace().next()).unwrap_or("");
        match product.split_once('/') {
            Some(("npm", version)) if major(version) >= 7 => Self::Canonical,
            Some(("Deno", _)) => Self::Canonical,
            Some(("Bun", _)) => Self::Omitted,
            _ => Self::Own,
        }
    }

    /// Fills in the addresses.
    #[must_use]
    pub fn urls(self, canonical: &str, own: &str) -> TarballUrls {
        match self {
            Self::Canonical => TarballUrls::At(canonical.trim_end_matches('/').into()),
            Self::Own => TarballUrls::At(own.trim_end_matches('/').into()),
            Self::Omitted => TarballUrls::Omitted,
        }
    }
}

impl TarballUrls {
    /// The address of one tarball; `None` when documents carry none.
    #[must_use]
    pub fn url(&self, name: &PackageName, file: &FileName) -> Option<String> {
        match self {
            Self::At(base) => Some(format!("{base}/{}", name.tarball_path(file))),
            Self::Omitted => None,
        }
    }
}

/// Whether a client with this `User-Agent` checks the digest of every tarball that a lockfile or a packument has promised it,
/// wherever the bytes come from.
#[must_use]
pub fn checks_digests(user_agent: Option<&str>) -> bool {
    let product = user_agent.and_then(|value| value.split_ascii_whitespace().next()).unwrap_or("");
    match product.split_once('/') {
        Some(("npm", version)) => major(version) >= 7,
        Some(("yarn", version)) => major(version) == 1,
        Some(("pnpm" | "Bun" | "Deno", version)) => major(version) >= 1,
        _ => false,
    }
}

fn major(version: &str) -> u32 {
    version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_check_digests_are_known_and_no_others() {
        for (user_agent, expected) in [
            ("npm/11.6.2 node/v24.1.0 linux x64", true),
            ("npm/6.14.18 node/v20.20.2 linux x64", false),
            ("pnpm/10.21.0 npm/? node/? linux x64", true),
            ("yarn/1.22.22 npm/? node/v20.20.2 linux x64", true),
            ("yarn/4.12.0 npm/? node/? linux x64", false),
            ("Bun/1.4.5", true),
            ("Deno/2.9.6", true),
            ("utoo/1.0.0", false),
            ("vlt/1.0.0", false),
            ("curl/8.5.0", false),
            ("npm", false),
        ] {
            assert_eq!(checks_digests(Some(user_agent)), expected, "{user_agent}");
        }
        assert!(!checks_digests(None));
    }

    #[test]
    fn each_client_gets_the_addresses_that_keep_its_lockfile_portable() {
        use TarballPolicy::{Canonical, Omitted, Own};
        for (user_agent, policy) in [
            (Some("npm/6.14.18 node/v20.20.2 linux x64"), Own),
            (Some("npm/8.19.4 node/v20.20.2 linux x64 workspaces/false"), Canonical),
            (Some("npm/12.2.0 node/v24.21.0 linux x64 workspaces/false"), Canonical),
            (Some("Deno/2.9.6"), Canonical),
            (Some("Bun/1.4.5"), Omitted),
            (Some("pnpm/12.21.0 npm/? node/? linux x64"), Own),
            (Some("yarn/1.22.22 npm/? node/v20.20.2 linux x64"), Own),
            (Some("got (https://github.com/sindresorhus/got)"), Own),
            (Some("npm"), Own),
            (Some(""), Own),
            (None, Own),
        ] {
            assert_eq!(TarballPolicy::for_user_agent(user_agent), policy, "{user_agent:?}");
        }
    }
}
