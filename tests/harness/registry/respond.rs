//! From a route to an answer, as the npm registry gives it, or as a bare mirror does.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::answer::{Answer, text};
use super::catalog::Catalog;
use super::documents::{self, Form, entity_tag};
use super::route::Route;
use crate::package::{Package, Release, public_keys};

/// One request, read to its end.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) route: Route,
}

impl Asked {
    fn token(&self) -> Option<&str> {
        text(&self.headers, header::AUTHORIZATION).strip_prefix("Bearer ")
    }

    fn reads(&self) -> bool {
        self.method == Method::GET || self.method == Method::HEAD
    }

    fn query(&self, key: &str) -> String {
        let query = self.path.split_once('?').map_or("", |(_, query)| query);
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.find(|(name, _)| name == key).map_or_else(String::new, |(_, value)| value.into_owned())
    }
}

/// Which registry this is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Character {
    /// No validators, no compression, no abbreviated form, few endpoints.
    pub(crate) plain: bool,
    /// What `dist.tarball` begins with.
    pub(crate) base: String,
}

impl Character {
    /// Answers one request; a publish changes the catalog.
    pub(crate) fn respond(&self, catalog: &mut Catalog, asked: &Asked) -> Answer {
        match &asked.route {
            route if route.is_content() && !asked.reads() => Answer::empty(StatusCode::METHOD_NOT_ALLOWED),
            Route::Packument(name) => self.packument(catalog, asked, name),
            Route::Manifest { name, version } => self.manifest(catalog, asked, name, version),
            Route::Tarball { name, file } => self.tarball(catalog, asked, name, file),
            Route::DistTags(name) => self.dist_tags(catalog, asked, name),
            Route::Ping => Answer::json(StatusCode::OK, &json!({})),
            _ if self.plain => self.refused_by_mirror(asked),
            Route::Replica => {
                let packages = catalog.count();
                catalog.changes().root(packages)
            }
            Route::Changes => {
                catalog.changes().page(asked.path.split_once('?').map_or("", |(_, query)| query))
            }
            Route::Search => Answer::json(StatusCode::OK, &search(catalog, &asked.query("text"))),
            Route::Keys => Answer::json(StatusCode::OK, &public_keys()),
            Route::Attestations { name, version } => self.attestations(catalog, asked, name, version),
            Route::Advisories if asked.method == Method::POST => Answer::json(StatusCode::OK, &json!({})),
            Route::Audit if asked.method == Method::POST => Answer::json(StatusCode::OK, &no_advisories()),
            Route::Whoami => whoami(catalog, asked),
            Route::Login(user) if asked.method == Method::PUT => login(catalog, user),
            Route::Publish(name) => publish(catalog, asked, name),
            _ => self.not_found(),
        }
    }

    fn packument(&self, catalog: &mut Catalog, asked: &Asked, name: &str) -> Answer {
        let found = catalog.package(name, asked.token()).is_some();
        let document = catalog.document(name, self.form(asked), &self.base).filter(|_| found);
        let Some(document) = document else { return self.not_found() };
        let mut answer = Answer::of(StatusCode::OK, document.content_type(), document.bytes.clone());
        if self.plain {
            return answer;
        }
        answer.set(header::CACHE_CONTROL, "public, max-age=300");
        answer.set(header::VARY, "accept-encoding, accept");
        answer
            .validators(&document.tag, document.modified)
            .compressed(&asked.headers)
            .conditional(&asked.headers)
    }

    fn form(&self, asked: &Asked) -> Form {
        match text(&asked.headers, header::ACCEPT).contains(documents::ABBREVIATED) {
            _ if self.plain => Form::Bare,
            true => Form::Abbreviated,
            false => Form::Full,
        }
    }

    fn manifest(&self, catalog: &Catalog, asked: &Asked, name: &str, version: &str) -> Answer {
        let Some(package) = catalog.package(name, asked.token()) else { return self.not_found() };
        let version = package.dist_tags().get(version).cloned().unwrap_or_else(|| version.to_owned());
        let Some(release) = package.find(&version) else { return self.no_version(&version) };
        if self.plain {
            return Answer::json(StatusCode::OK, &release.bare(&self.base));
        }
        Answer::json(StatusCode::OK, &release.full(&self.base)).compressed(&asked.headers)
    }

    fn tarball(&self, catalog: &Catalog, asked: &Asked, name: &str, file: &str) -> Answer {
        let package = catalog.package(name, asked.token());
        let release =
            package.and_then(|package| package.releases().find(|release| release.file_name() == file));
        let Some(release) = release else { return self.not_found() };
        let answer = Answer::of(StatusCode::OK, "application/octet-stream", release.tarball.clone());
        if self.plain {
            return answer.ranged(&asked.method, &asked.headers);
        }
        let published = humantime::parse_rfc3339(&release.published).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut answer = answer.validators(&entity_tag(&release.tarball), published);
        answer.set(header::CACHE_CONTROL, "public, immutable, max-age=31557600");
        answer.conditional(&asked.headers).ranged(&asked.method, &asked.headers)
    }

    fn dist_tags(&self, catalog: &Catalog, asked: &Asked, name: &str) -> Answer {
        let package = catalog.package(name, asked.token());
        package
            .map_or_else(|| self.not_found(), |found| Answer::json(StatusCode::OK, &json!(found.dist_tags())))
    }

    fn attestations(&self, catalog: &Catalog, asked: &Asked, name: &str, version: &str) -> Answer {
        let release = catalog.package(name, asked.token()).and_then(|package| package.find(version));
        match release.filter(|release| release.is_attested()) {
            Some(release) => Answer::json(StatusCode::OK, &provenance(release)).compressed(&asked.headers),
            None => self.not_found(),
        }
    }

    fn not_found(&self) -> Answer {
        if self.plain {
            return Answer::empty(StatusCode::NOT_FOUND);
        }
        Answer::json(StatusCode::NOT_FOUND, &json!({"error": "Not found"}))
    }

    fn no_version(&self, version: &str) -> Answer {
        if self.plain {
            return Answer::empty(StatusCode::NOT_FOUND);
        }
        Answer::json(StatusCode::NOT_FOUND, &json!(format!("version not found: {version}")))
    }

    fn refused_by_mirror(&self, asked: &Asked) -> Answer {
        if asked.reads() { self.not_found() } else { Answer::empty(StatusCode::METHOD_NOT_ALLOWED) }
    }
}

fn search(catalog: &Catalog, words: &str) -> Value {
    let found: Vec<Value> =
        catalog.packages().filter(|package| package.name.contains(words)).map(hit).collect();
    json!({"total": found.len(), "objects": found, "time": "2020-01-01T00:00:00.000Z"})
}

fn hit(package: &Package) -> Value {
    let latest = package.dist_tags().get("latest").cloned().unwrap_or_default();
    let ada = json!({"username": "ada", "email": "ada@mail.example"});
    json!({
        "package": {
            "name": package.name, "version": latest, "description": format!("{}, for tests", package.name),
            "keywords": ["tests"], "date": "2020-01-01T00:00:00.000Z", "links": {}, "license": "MIT",
            "publisher": ada, "maintainers": [ada],
        },
        "score": {"final": 1.0, "detail": {"quality": 1.0, "popularity": 1.0, "maintenance": 1.0}},
        "searchScore": 1.0,
    })
}

fn no_advisories() -> Value {
    let none = json!({"info": 0, "low": 0, "moderate": 0, "high": 0, "critical": 0});
    let counts =
        json!({"vulnerabilities": none, "dependencies": 0, "devDependencies": 0, "totalDependencies": 0});
    json!({"actions": [], "advisories": {}, "muted": [], "metadata": counts})
}

/// The shape of a provenance bundle; its signature is no signature.
fn provenance(release: &Release) -> Value {
    let subject = format!("pkg:npm/{}@{}", release.name.replace('@', "%40"), release.version);
    json!({"attestations": [{
        "predicateType": "https://slsa.dev/provenance/v1",
        "bundle": {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"tlogEntries": []},
            "dsseEnvelope": {"payloadType": "application/vnd.in-toto+json", "payload": subject, "signatures": []},
        },
    }]})
}

fn whoami(catalog: &Catalog, asked: &Asked) -> Answer {
    match catalog.user(asked.token()) {
        Some(user) => Answer::json(StatusCode::OK, &json!({"username": user})),
        None => unauthorized(),
    }
}

fn login(catalog: &mut Catalog, user: &str) -> Answer {
    let token = format!("token-of-{user}");
    catalog.add_account(user, &token);
    let made = json!({"ok": true, "id": format!("org.couchdb.user:{user}"), "token": token});
    Answer::json(StatusCode::CREATED, &made)
}

fn publish(catalog: &mut Catalog, asked: &Asked, name: &str) -> Answer {
    if catalog.user(asked.token()).is_none() {
        return unauthorized();
    }
    let document: Value = serde_json::from_slice(&asked.body).unwrap_or_default();
    if document["name"] != *name || catalog.upload(&document).is_none() {
        return Answer::json(StatusCode::BAD_REQUEST, &json!({"error": "not a publishable packument"}));
    }
    Answer::json(StatusCode::CREATED, &json!({"ok": true, "id": name}))
}

fn unauthorized() -> Answer {
    let mut answer = Answer::json(StatusCode::UNAUTHORIZED, &json!({"error": "You must be logged in"}));
    answer.set(header::WWW_AUTHENTICATE, "Bearer");
    answer
}
