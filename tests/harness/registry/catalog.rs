//! What the registry holds and who may see it; packuments are rendered once per change.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde_json::Value;

use super::changes::Changes;
use super::documents::{Document, Form};
use crate::package::{Package, Release};

/// Everything that can change while the registry runs.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    shelves: BTreeMap<String, Shelf>,
    /// Token to user.
    accounts: BTreeMap<String, String>,
    /// Scope to the token that opens it.
    private: BTreeMap<String, String>,
    changes: Changes,
}

#[derive(Debug)]
struct Shelf {
    package: Package,
    modified: SystemTime,
    rendered: BTreeMap<Form, Arc<Document>>,
}

impl Catalog {
    /// Adds a package; of one that is there, adds or replaces the versions and the tags given.
    pub(crate) fn publish(&mut self, package: Package) {
        let newest = last_published(&package);
        let merged = match self.shelves.remove(&package.name) {
            Some(held) => {
                Shelf::new(merge(held.package, package), newest.max(held.modified + Duration::from_secs(1)))
            }
            None => Shelf::new(package, newest),
        };
        self.changed(&merged.package.name, false);
        self.shelves.insert(merged.package.name.clone(), merged);
    }

    /// Has these very bytes as the packuments of a package, whatever they are. There are no tarballs to them.
    pub(crate) fn hold(&mut self, name: &str, documents: [(Form, Bytes); 2]) {
        let mut shelf = Shelf::new(Package::new(name), SystemTime::now());
        let modified = shelf.modified;
        shelf.rendered =
            documents.map(|(form, bytes)| (form, Arc::new(Document::of(form, bytes, modified)))).into();
        self.shelves.insert(name.to_owned(), shelf);
    }

    pub(crate) fn unpublish(&mut self, name: &str) {
        self.shelves.remove(name);
        self.changed(name, true);
    }

    pub(crate) fn remove_version(&mut self, name: &str, version: &str) {
        if let Some(mut shelf) = self.shelves.remove(name) {
            shelf.package.releases.retain(|release| release.version != version);
            let shelf = Shelf::new(shelf.package, shelf.modified + Duration::from_secs(1));
            self.shelves.insert(name.to_owned(), shelf);
            self.changed(name, false);
        }
    }

    /// What has changed, for everybody to follow.
    pub(crate) fn changes(&mut self) -> &mut Changes {
        &mut self.changes
    }

    /// How many packages there are.
    pub(crate) fn count(&self) -> usize {
        self.shelves.len()
    }

    fn changed(&mut self, name: &str, is_gone: bool) {
        let scope = name.split('/').next().unwrap_or(name);
        if !self.private.contains_key(scope) {
            self.changes.note(name, is_gone);
        }
    }

    pub(crate) fn add_account(&mut self, user: &str, token: &str) {
        self.accounts.insert(token.to_owned(), user.to_owned());
    }

    pub(crate) fn close_scope(&mut self, scope: &str, token: &str) {
        self.private.insert(scope.to_owned(), token.to_owned());
    }

    /// Whose token this is.
    pub(crate) fn user(&self, token: Option<&str>) -> Option<&str> {
        self.accounts.get(token?).map(String::as_str)
    }

    /// A package, if it is there and this token may see it.
    pub(crate) fn package(&self, name: &str, token: Option<&str>) -> Option<&Package> {
        let scope = name.split('/').next().unwrap_or(name);
        let open = self.private.get(scope).is_none_or(|key| token == Some(key));
        self.shelves.get(name).filter(|_| open).map(|shelf| &shelf.package)
    }

    /// The packument, rendered now or before.
    pub(crate) fn document(&mut self, name: &str, form: Form, base: &str) -> Option<Arc<Document>> {
        Some(Arc::clone(self.shelves.get_mut(name)?.document(form, base)))
    }

    /// Renders everything there is, with all processors, so that nobody waits for it later.
    pub(crate) fn render(&mut self, base: &str) {
        let count = thread::available_parallelism().map_or(1, NonZero::get);
        let mut shelves: Vec<&mut Shelf> = self.shelves.values_mut().collect();
        let share = shelves.len().div_ceil(count).max(1);
        thread::scope(|scope| {
            for shelves in shelves.chunks_mut(share) {
                scope.spawn(|| shelves.iter_mut().for_each(|shelf| shelf.render(base)));
            }
        });
    }

    /// The packages that anybody may see.
    pub(crate) fn packages(&self) -> impl Iterator<Item = &Package> {
        self.shelves
            .values()
            .map(|shelf| &shelf.package)
            .filter(|package| self.package(&package.name, None).is_some())
    }

    /// Takes in what `npm publish` sent: the packument of one version with its tarball attached.
    pub(crate) fn upload(&mut self, document: &Value) -> Option<()> {
        let mut package = Package::new(document["name"].as_str()?);
        for (version, manifest) in document["versions"].as_object()? {
            let tarball = attachment(document, version)?;
            let now = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
            package = package.release(Release::uploaded(manifest.as_object()?.clone(), tarball, now));
        }
        for (tag, version) in document["dist-tags"].as_object()? {
            package = package.tag(tag, version.as_str()?);
        }
        self.publish(package);
        Some(())
    }
}

impl Shelf {
    fn new(package: Package, modified: SystemTime) -> Self {
        Self { package, modified, rendered: BTreeMap::new() }
    }

    fn document(&mut self, form: Form, base: &str) -> &Arc<Document> {
        let (package, modified) = (&self.package, self.modified);
        let render = || Arc::new(Document::render(package, form, base, modified));
        self.rendered.entry(form).or_insert_with(render)
    }

    fn render(&mut self, base: &str) {
        for form in [Form::Full, Form::Abbreviated] {
            self.document(form, base).gzipped();
        }
    }
}

fn merge(held: Package, news: Package) -> Package {
    let Package { name, releases, tags, readme, dated, undated, past } = news;
    let past = past.or(held.past);
    let mut merged = Package { name, readme, dated, undated, past, ..held };
    for release in releases {
        merged = merged.release(Release::clone(&release));
    }
    merged.tags.extend(tags);
    merged
}

fn last_published(package: &Package) -> SystemTime {
    let times = package.releases().filter_map(|release| humantime::parse_rfc3339(&release.published).ok());
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

fn attachment(document: &Value, version: &str) -> Option<Bytes> {
    use base64::Engine as _;
    let ending = format!("-{version}.tgz");
    let (_, attached) =
        document["_attachments"].as_object()?.iter().find(|(file, _)| file.ends_with(&ending))?;
    base64::engine::general_purpose::STANDARD.decode(attached["data"].as_str()?).ok().map(Bytes::from)
}
