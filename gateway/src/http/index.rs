//! The gateway's front page: facts for programs, set-up lines for people.

use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::Response;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY};
use http::request::Parts;
use resolver::connectivity::Link;
use resolver::head::summary::Summary;
use serde_json::{Value, json};

use super::answer::Answer;
use super::body;
use super::caller::Caller;
use super::headers::{text, value};
use super::service::Service;
use crate::index::Published;

/// How to point each client here; `{}` stands for the gateway's address and `{host}` for its host.
const SET_UP: [(&str, &str); 6] = [
    ("npm, pnpm 10, yarn 1, bun, deno (.npmrc)", "registry={}/"),
    ("npm, once for all projects", "npm config set registry {}/"),
    ("pnpm 11 and later, by environment", "pnpm_config_registry={}/"),
    ("yarn 2 and later (.yarnrc.yml)", "npmRegistryServer: \"{}\"\nunsafeHttpWhitelist: [\"{host}\"]"),
    ("deno, by environment", "NPM_CONFIG_REGISTRY={}/"),
    ("try it", "npm view lodash version --registry {}/"),
];

impl Service {
    /// `GET /`.
    pub(super) fn index(&self, head: &Parts, caller: &Caller) -> Answer {
        let for_people = text(&head.headers, ACCEPT).is_some_and(|accept| accept.contains("text/html"));
        let published = self.catalogue().published();
        let mut answer = if for_people {
            page(&caller.base, published.as_deref())
        } else {
            Answer::json(&self.facts(published.as_deref()))
        };
        answer.response.headers_mut().insert(VARY, value("Accept"));
        answer
    }

    /// What is published, and what is held; of the first, what [`Summary`] reads.
    fn facts(&self, published: Option<&Published>) -> Value {
        let totals = self.fetch().store().totals();
        let peer = self.prover().id();
        let summary = Summary {
            root: published.map(|published| published.root),
            sequence: published.map_or(0, |published| published.sequence),
            peer,
            cumulative_size: published.map_or(0, |published| published.cumulative_size),
            blocks: published.map_or(0, |published| published.blocks),
        };
        let mut facts = json!({
            "name": "open-registry",
            "version": env!("CARGO_PKG_VERSION"),
            "upstream": match self.fetch().upstream().latch().link() {
                Link::Up => "up",
                Link::Doubtful => "slow",
                Link::Down(_) => "down",
                Link::Offline => "offline",
            },
            "packuments": totals.packuments.load(Ordering::Relaxed),
            "tarballs": totals.blobs.load(Ordering::Relaxed),
            "bytes": totals.blob_bytes.load(Ordering::Relaxed) + totals.packument_bytes.load(Ordering::Relaxed),
        });
        let summary = serde_json::from_slice(&summary.to_json()).unwrap_or_default();
        if let (Value::Object(facts), Value::Object(summary)) = (&mut facts, summary) {
            facts.extend(summary);
        }
        facts
    }
}

/// What is published, in a sentence; nothing before the first time.
fn sentence(published: &Published) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let age = now.saturating_sub(Duration::from_millis(published.sequence));
    let age = humantime::format_duration(Duration::from_secs(age.as_secs()));
    let root = published.root;
    format!(
        "<p>The root of its index is <code>{root}</code>, signed {age} ago. What it names, anybody can verify.</p>"
    )
}

fn page(base: &str, published: Option<&Published>) -> Answer {
    let host = base.split_once("://").map_or(base, |(_, authority)| authority);
    let port = host.rfind(':').filter(|colon| !host[*colon..].contains(']'));
    let host = &host[..port.unwrap_or(host.len())];
    let mut page = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>open-registry</title><style>body{font:16px/1.5 system-ui;max-width:44rem;margin:3rem auto;padding:0 1rem}\
         pre{background:#f3f3f3;padding:.7rem;overflow:auto}code{overflow-wrap:anywhere}</style>\
         <h1>open-registry</h1><p>This is a cache of the npm registry. Point your client here, and change nothing else.</p>",
    );
    page.push_str(&published.map(sentence).unwrap_or_default());
    for (who, line) in SET_UP {
        let line = line.replace("{}", base).replace("{host}", host);
        // Writing to a string cannot fail.
        let _ = write!(page, "<h2>{who}</h2><pre>{}</pre>", escape(&line));
    }
    page.push_str("</html>\n");
    let mut response = Response::new(body::full(page));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, value("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, value("default-src 'none'; style-src 'unsafe-inline'"));
    headers.insert(CACHE_CONTROL, value("no-store"));
    Answer::new(response, "ok", "none")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
