//! What a method and a path ask for. Paths are decoded once, part by part, and what can be read in two ways
//! is refused.

use http::Method;
use percent_encoding::percent_decode_str;
use resolver::evidence::EvidenceName;
use resolver::head;
use resolver::index::Cid;
use resolver::integrity::Integrity;
use resolver::package::{FileName, PackageName};
use resolver::trustless;

/// The longest path with its query: a scoped name, a file name and an encoded digest fit many times.
const LONGEST: usize = 8 * 1024;

/// One kind of request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// `/`
    Index,
    /// `/-/ping`
    Ping,
    /// `/-/open-registry/peer`
    Peer,
    /// `/-/open-registry/why`
    Why,
    /// `/-/open-registry/resolve/<name>/<version>`
    Resolve(PackageName, String),
    /// `/ipfs/<cid>...`, `/ipns/<name>...`, `/routing/v1/ipns/<name>`
    Trustless,
    /// `/routing/v1/providers/<cid>`; in a box, for a CID is longer than anything else here
    Providers(Box<Cid>),
    /// Whether a page of another origin may ask for one of the last three.
    Preflight,
    /// `/<name>`
    Packument(PackageName),
    /// `/<name>/<version or tag>`
    Manifest(PackageName, String),
    /// `/<name>/-/<file>.tgz`
    Tarball(PackageName, FileName),
    /// `/-/tarballs/sha512/<base64url>`
    Digest(Integrity),
    /// `/-/npm/v1/keys`, `/-/npm/v1/attestations/<name>@<version>`
    Evidence(EvidenceName),
    /// The rest of npm's API, and whom it is about when that can be told.
    PassThrough(Option<PackageName>),
}

/// Why a path is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 414.
    TooLong,
    /// 400, with words for the client.
    Invalid(String),
    /// 404: npm's API has no such thing.
    Unknown,
    /// 405.
    Method,
}

impl Route {
    /// Reads a request's method, path and query.
    pub(super) fn of(method: &Method, path: &str, query: Option<&str>) -> Result<Self, Refusal> {
        if path.len() + query.map_or(0, str::len) > LONGEST {
            return Err(Refusal::TooLong);
        }
        let reads = method == Method::GET || method == Method::HEAD;
        if let Some(route) = Self::of_ipfs(path).filter(|_| reads || method == Method::OPTIONS) {
            return Ok(if reads { route } else { Self::Preflight });
        }
        let parts = parts(path)?;
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        // `?write=true` is how npm asks for the document that it is about to change.
        let writes = !reads || query.is_some_and(|query| query.split('&').any(|pair| pair == "write=true"));
        match parts.as_slice() {
            [] if reads => Ok(Self::Index),
            [] => Err(Refusal::Method),
            ["-", "-", ..] | ["-"] => Self::of_package(&parts, writes),
            ["-", rest @ ..] => Self::of_api(rest, reads),
            _ => Self::of_package(&parts, writes),
        }
    }

    /// One word for the metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Ping => "ping",
            Self::Peer => "peer",
            Self::Why => "why",
            Self::Resolve(..) => "resolve",
            Self::Trustless => "trustless",
            Self::Providers(_) => "providers",
            Self::Preflight => "preflight",
            Self::Packument(_) => "packument",
            Self::Manifest(..) => "manifest",
            Self::Tarball(..) => "tarball",
            Self::Digest(_) => "digest",
            Self::Evidence(_) => "evidence",
            Self::PassThrough(_) => "passthrough",
        }
    }

    /// Whether nobody else has such a thing: a request for it never goes any further.
    pub(super) fn is_ours(&self) -> bool {
        let about_us = matches!(self, Self::Peer | Self::Why | Self::Resolve(..));
        about_us || matches!(self, Self::Trustless | Self::Providers(_) | Self::Preflight)
    }

    /// Whose content it is about.
    pub(super) fn package(&self) -> Option<&PackageName> {
        match self {
            Self::Packument(name) | Self::Manifest(name, _) | Self::Tarball(name, _) => Some(name),
            Self::PassThrough(name) => name.as_ref(),
            Self::Evidence(evidence) => evidence.package(),
            Self::Index | Self::Ping | Self::Peer | Self::Why | Self::Digest(_) => None,
            // Whatever is private has no address there, and is refused by name without being passed on.
            Self::Resolve(..) | Self::Trustless | Self::Providers(_) | Self::Preflight => None,
        }
    }

    /// What IPFS clients ask for. There are packages called `ipfs`, `ipns` and `routing`: theirs are `/ipfs` itself, and
    /// `/ipfs/<version or tag>`, which no CID and no IPNS name looks like (both have some 50 characters of one base, and say themselves how long
    /// they are; npm takes no tag for a version that could be one by accident), and `/ipfs/-/<file>`. Nothing else that npm asks
    /// for has three parts. What is none of ours stays theirs.
    fn of_ipfs(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix('/')?.split('/');
        let is_cid = |text: &str| trustless::parse_cid(text).is_ok();
        let is_name = |text: &str| head::parse_name(text).is_ok();
        match (parts.next()?, parts.next()?) {
            ("ipfs", cid) if is_cid(cid) => Some(Self::Trustless),
            ("ipns", name) if is_name(name) => Some(Self::Trustless),
            ("routing", "v1") => match (parts.next()?, parts.next()?, parts.next()) {
                ("ipns", name, None) if is_name(name) => Some(Self::Trustless),
                ("providers", cid, None) => {
                    trustless::parse_cid(cid).ok().map(|cid| Self::Providers(Box::new(cid)))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// `<name>/<version>`, with the name as one part or as two.
    fn of_resolve(rest: &[&str]) -> Result<Self, Refusal> {
        let (name, version) = match rest {
            [scope, name, version] if scope.starts_with('@') => {
                (package(&format!("{scope}/{name}"))?, version)
            }
            [name, version] => (package(name)?, version),
            _ => {
                return Err(Refusal::Invalid(
                    "what can be resolved is resolve/<name>/<version or tag>".into(),
                ));
            }
        };
        Ok(Self::Resolve(name, (*version).to_owned()))
    }

    fn of_api(rest: &[&str], reads: bool) -> Result<Self, Refusal> {
        match rest {
            ["ping"] if reads => Ok(Self::Ping),
            ["open-registry", "peer"] if reads => Ok(Self::Peer),
            ["open-registry", "why"] if reads => Ok(Self::Why),
            ["open-registry", "resolve", about @ ..] if reads => Self::of_resolve(about),
            // What is ours is not upstream's.
            ["open-registry", "peer" | "why"] | ["open-registry", "resolve", ..] => Err(Refusal::Method),
            ["open-registry", ..] => Err(Refusal::Unknown),
            ["tarballs", "sha512", digest] if reads => Integrity::from_base64url(digest)
                .map(Self::Digest)
                .ok_or_else(|| Refusal::Invalid("a digest here is 86 characters of base64url".into())),
            ["npm", "v1", "keys"] if reads => Ok(Self::Evidence(EvidenceName::Keys)),
            ["npm", "v1", "attestations", about @ ..] if reads => {
                EvidenceName::attestations(&about.join("/"))
                    .map(Self::Evidence)
                    .ok_or_else(|| Refusal::Invalid("attestations are those of <name>@<version>".into()))
            }
            ["package", name, ..] => Ok(Self::PassThrough(PackageName::parse(name).ok())),
            _ => Ok(Self::PassThrough(None)),
        }
    }

    fn of_package(parts: &[&str], writes: bool) -> Result<Self, Refusal> {
        let (name, rest) = match parts {
            [scope, name, rest @ ..] if scope.starts_with('@') && !scope.contains('/') => {
                (package(&format!("{scope}/{name}"))?, rest)
            }
            [name, rest @ ..] => (package(name)?, rest),
            [] => return Err(Refusal::Unknown),
        };
        if writes {
            return Ok(Self::PassThrough(Some(name)));
        }
        match rest {
            [] => Ok(Self::Packument(name)),
            // Some registries repeat the scope before the file name.
            ["-", file] => tarball(name, file),
            ["-", scope, file] if name.scope() == Some(scope) => tarball(name, file),
            [version] => Ok(Self::Manifest(name, (*version).to_owned())),
            _ => Err(Refusal::Unknown),
        }
    }
}

/// The decoded parts of a path; a slash at its end is ignored.
fn parts(path: &str) -> Result<Vec<String>, Refusal> {
    let inner =
        path.strip_prefix('/').ok_or_else(|| Refusal::Invalid("a path begins with a slash".into()))?;
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.is_empty() {
        return Ok(Vec::new());
    }
    inner.split('/').map(part).collect()
}

fn part(raw: &str) -> Result<String, Refusal> {
    let invalid = |cause: &str| Refusal::Invalid(cause.to_owned());
    let decoded = percent_decode_str(raw).decode_utf8().map_err(|_| invalid("the path is not UTF-8"))?;
    if decoded.split('/').any(|name| matches!(name, "" | "." | "..")) {
        return Err(invalid("the path has an empty part, or one of dots"));
    }
    if decoded.chars().any(|c| c.is_control() || c == '\\') {
        return Err(invalid("the path has a character that no address has"));
    }
    Ok(decoded.into_owned())
}

fn package(name: &str) -> Result<PackageName, Refusal> {
    PackageName::parse(name).map_err(|error| Refusal::Invalid(error.to_string()))
}

fn tarball(name: PackageName, file: &str) -> Result<Route, Refusal> {
    let file = FileName::parse(file).map_err(|error| Refusal::Invalid(error.to_string()))?;
    Ok(Route::Tarball(name, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(path: &str) -> Result<Route, Refusal> {
        Route::of(&Method::GET, path, None)
    }

    fn name(name: &str) -> PackageName {
        PackageName::parse(name).unwrap()
    }

    #[test]
    fn every_clients_spelling_of_a_scoped_name_is_the_same() {
        for path in ["/@s/n", "/@s%2fn", "/@s%2Fn", "/%40s%2Fn", "/@s/n/"] {
            assert_eq!(get(path), Ok(Route::Packument(name("@s/n"))), "{path}");
        }
        let file = FileName::parse("n-1.0.0.tgz").unwrap();
        for path in ["/@s/n/-/n-1.0.0.tgz", "/@s%2fn/-/n-1.0.0.tgz", "/@s/n/-/@s/n-1.0.0.tgz"] {
            assert_eq!(get(path), Ok(Route::Tarball(name("@s/n"), file.clone())), "{path}");
        }
        assert_eq!(get("/@s/n/latest"), Ok(Route::Manifest(name("@s/n"), "latest".into())));
        assert_eq!(get("/utoo/%5E1"), Ok(Route::Manifest(name("utoo"), "^1".into())));
    }

    #[test]
    fn npms_api_is_told_from_packages() {
        assert_eq!(get("/"), Ok(Route::Index));
        assert_eq!(get("/-/ping"), Ok(Route::Ping));
        assert_eq!(get("/-"), Ok(Route::Packument(name("-"))));
        assert_eq!(get("/-/npm/v1/keys"), Ok(Route::Evidence(EvidenceName::Keys)));
        let attestations = "/-/npm/v1/attestations/@s%2fn@1.0.0";
        assert_eq!(get(attestations), Ok(Route::Evidence(EvidenceName::attestations("@s/n@1.0.0").unwrap())));
        assert_eq!(get("/-/whoami"), Ok(Route::PassThrough(None)));
        assert_eq!(get("/-/package/@s%2fn/dist-tags"), Ok(Route::PassThrough(Some(name("@s/n")))));
        assert_eq!(Route::of(&Method::PUT, "/left", None), Ok(Route::PassThrough(Some(name("left")))));
        assert_eq!(
            Route::of(&Method::GET, "/left", Some("write=true")),
            Ok(Route::PassThrough(Some(name("left"))))
        );
        assert_eq!(get("/-/open-registry/peer"), Ok(Route::Peer));
        assert_eq!(Route::of(&Method::POST, "/-/open-registry/peer", None), Err(Refusal::Method));
        assert_eq!(get("/-/open-registry/why"), Ok(Route::Why));
        assert_eq!(Route::of(&Method::PUT, "/-/open-registry/why", None), Err(Refusal::Method));
        assert_eq!(get("/-/open-registry/other"), Err(Refusal::Unknown));
        let integrity = Integrity::of(b"left");
        assert_eq!(
            get(&format!("/-/tarballs/sha512/{}", integrity.base64url())),
            Ok(Route::Digest(integrity))
        );
    }

    const CID: &str = "bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi";
    const OLD_CID: &str = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG";
    const NAME: &str = "k51qzi5uqu5dm0t4vbwri4lkg76q03b4x9tsvekgvbu4zli6454ff7w8wdosa4";
    const ID: &str = "12D3KooWRawPbxPtP1eZaJpumGnyWX2DcUyd3RQnydr3eAto4Az7";

    #[test]
    fn what_ipfs_clients_ask_for_is_told_from_packages_of_the_same_name() {
        for path in [
            format!("/ipfs/{CID}"),
            format!("/ipfs/{CID}/"),
            format!("/ipfs/{CID}/%40babel/core/metadata.json"),
            format!("/ipfs/{OLD_CID}"),
            "/ipfs/bafkqaaa".to_owned(),
            format!("/ipns/{NAME}"),
            format!("/ipns/{ID}/left"),
            format!("/routing/v1/ipns/{NAME}"),
        ] {
            assert_eq!(get(&path), Ok(Route::Trustless), "{path}");
            assert_eq!(Route::of(&Method::OPTIONS, &path, None), Ok(Route::Preflight), "{path}");
        }
        let providers = format!("/routing/v1/providers/{CID}");
        assert_eq!(get(&providers), Ok(Route::Providers(Box::new(CID.parse().unwrap()))));
        // There are packages called ipfs, ipns and routing.
        for package in ["ipfs", "ipns", "routing"] {
            let name = name(package);
            assert_eq!(get(&format!("/{package}")), Ok(Route::Packument(name.clone())));
            for version in ["0.66.1", "latest", "1.0.0-rc.1", "beta", "next", "v1", "bar", "z", "k51"] {
                let manifest = Route::Manifest(name.clone(), version.into());
                assert_eq!(get(&format!("/{package}/{version}")), Ok(manifest), "{package} {version}");
            }
            let file = FileName::parse(&format!("{package}-0.66.1.tgz")).unwrap();
            assert_eq!(get(&format!("/{package}/-/{file}")), Ok(Route::Tarball(name.clone(), file)));
            let publish = Route::of(&Method::PUT, &format!("/{package}"), None);
            assert_eq!(publish, Ok(Route::PassThrough(Some(name))));
        }
        assert_eq!(get("/routing/v1/providers/nonsense"), Err(Refusal::Unknown));
        assert_eq!(get(&format!("/@s/{CID}")), Ok(Route::Packument(name(&format!("@s/{CID}")))));
    }

    #[test]
    fn a_version_is_resolved_by_every_spelling_of_its_name() {
        for path in ["@s/n/1.0.0", "@s%2fn/1.0.0", "%40s%2Fn/1.0.0"] {
            let route = get(&format!("/-/open-registry/resolve/{path}"));
            assert_eq!(route, Ok(Route::Resolve(name("@s/n"), "1.0.0".into())), "{path}");
        }
        let left = Route::Resolve(name("left"), "latest".into());
        assert_eq!(get("/-/open-registry/resolve/left/latest"), Ok(left));
        for path in ["", "/left", "/left/1.0.0/x", "/@s/n"] {
            let refused = get(&format!("/-/open-registry/resolve{path}"));
            assert!(matches!(refused, Err(Refusal::Invalid(_))), "{path}: {refused:?}");
        }
        let write = Route::of(&Method::PUT, "/-/open-registry/resolve/left/1.0.0", None);
        assert_eq!(write, Err(Refusal::Method));
    }

    #[test]
    fn a_path_that_could_climb_or_be_read_in_two_ways_is_refused() {
        for path in [
            "/..",
            "/../etc/passwd",
            "/%2e%2e/etc",
            "/left/%2e%2e",
            "/left/-/..%2f..%2fx.tgz",
            "/left//x",
            "//left",
            "/@s%2f..",
            "/left/-/a%00.tgz",
            "/left%5c..",
            "/-/tarballs/sha512/short",
            "/left/-/x.zip",
            "/%ff",
            "left",
            "/-/%2e%2e/x",
            "/.hidden",
            "/a%2fb",
            "/@s%2fn%2fm",
            "/-/npm/v1/attestations/%2e@1",
        ] {
            assert!(matches!(get(path), Err(Refusal::Invalid(_))), "{path}: {:?}", get(path));
        }
        assert_eq!(get(&format!("/{}", "a".repeat(9000))), Err(Refusal::TooLong));
        assert_eq!(get("/left/1.0.0/x/y"), Err(Refusal::Unknown));
        assert_eq!(Route::of(&Method::POST, "/", None), Err(Refusal::Method));
    }
}
