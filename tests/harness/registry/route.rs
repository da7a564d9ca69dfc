//! What a path of the registry asks for.

use http::Method;
use percent_encoding::percent_decode_str;

/// One thing a client can ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Ping,
    Search,
    Keys,
    Attestations { name: String, version: String },
    Advisories,
    Audit,
    DistTags(String),
    Whoami,
    Login(String),
    Packument(String),
    Manifest { name: String, version: String },
    Tarball { name: String, file: String },
    Publish(String),
    Replica,
    Changes,
    Unknown,
}

impl Route {
    pub(crate) fn of(method: &Method, path: &str) -> Self {
        let path = decoded(path);
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        match segments.as_slice() {
            ["-", rest @ ..] => Self::special(rest),
            _ => Self::content(method, &segments),
        }
    }

    /// Whose content this is.
    pub(crate) fn package(&self) -> Option<&str> {
        match self {
            Self::Packument(name) | Self::DistTags(name) | Self::Publish(name) => Some(name),
            Self::Manifest { name, .. } | Self::Tarball { name, .. } | Self::Attestations { name, .. } => {
                Some(name)
            }
            _ => None,
        }
    }

    /// Packuments, manifests and tarballs.
    pub(crate) fn is_content(&self) -> bool {
        matches!(self, Self::Packument(_) | Self::Manifest { .. } | Self::Tarball { .. })
    }

    fn special(segments: &[&str]) -> Self {
        match segments {
            ["ping"] => Self::Ping,
            ["whoami"] => Self::Whoami,
            ["v1", "search"] => Self::Search,
            ["npm", "v1", "keys"] => Self::Keys,
            ["npm", "v1", "attestations", subject @ ..] => Self::attestations(&subject.join("/")),
            ["npm", "v1", "security", "advisories", "bulk"] => Self::Advisories,
            ["npm", "v1", "security", "audits", ..] => Self::Audit,
            ["package", name @ .., "dist-tags"] => Self::DistTags(name.join("/")),
            ["replica"] => Self::Replica,
            ["replica", "_changes"] => Self::Changes,
            ["user", user] => Self::login(user),
            _ => Self::Unknown,
        }
    }

    fn attestations(subject: &str) -> Self {
        match subject.rsplit_once('@') {
            Some((name, version)) if !name.is_empty() => {
                Self::Attestations { name: name.to_owned(), version: version.to_owned() }
            }
            _ => Self::Unknown,
        }
    }

    fn login(user: &str) -> Self {
        user.strip_prefix("org.couchdb.user:").map_or(Self::Unknown, |user| Self::Login(user.to_owned()))
    }

    fn content(method: &Method, segments: &[&str]) -> Self {
        let scoped = segments.first().is_some_and(|first| first.starts_with('@'));
        let Some((name, rest)) = segments.split_at_checked(if scoped { 2 } else { 1 }) else {
            return Self::Unknown;
        };
        let name = name.join("/");
        match rest {
            _ if name.is_empty() => Self::Unknown,
            [] if method == Method::PUT => Self::Publish(name),
            [] => Self::Packument(name),
            ["-", file] => Self::Tarball { name, file: (*file).to_owned() },
            [version] => Self::Manifest { name, version: (*version).to_owned() },
            _ => Self::Unknown,
        }
    }
}

/// A path without its query, every escape decoded: `/@scope%2fleft?write=true` is `/@scope/left`.
pub(crate) fn decoded(path: &str) -> String {
    let path = path.split('?').next().unwrap_or(path);
    percent_decode_str(path).decode_utf8_lossy().into_owned()
}
