//! The gateway's front page: facts for programs, set-up lines for people.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use http::Response;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY};
use http::request::Parts;
use resolver::connectivity::Link;
use serde_json::json;

use super::answer::Answer;
use super::body;
use super::caller::Caller;
use super::headers::{text, value};
use super::service::Service;

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
        let mut answer = if for_people { page(&caller.base) } else { Answer::json(&self.facts()) };
        answer.response.headers_mut().insert(VARY, value("Accept"));
        answer
    }

    fn facts(&self) -> serde_json::Value {
        let totals = self.fetch().store().totals();
        json!({
            "name": "open-registry",
            "version": env!("CARGO_PKG_VERSION"),
            "peer": self.prover().id(),
            "upstream": match self.fetch().upstream().latch().link() {
                Link::Up => "up",
                Link::Doubtful => "slow",
                Link::Down(_) => "down",
                Link::Offline => "offline",
            },
            "packuments": totals.packuments.load(Ordering::Relaxed),
            "tarballs": totals.blobs.load(Ordering::Relaxed),
            "bytes": totals.blob_bytes.load(Ordering::Relaxed) + totals.packument_bytes.load(Ordering::Relaxed),
        })
    }
}

fn page(base: &str) -> Answer {
    let host = base.split_once("://").map_or(base, |(_, authority)| authority);
    let port = host.rfind(':').filter(|colon| !host[*colon..].contains(']'));
    let host = &host[..port.unwrap_or(host.len())];
    let mut page = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>open-registry</title><style>body{font:16px/1.5 system-ui;max-width:44rem;margin:3rem auto;padding:0 1rem}\
         pre{background:#f3f3f3;padding:.7rem;overflow:auto}</style>\
         <h1>open-registry</h1><p>This is a cache of the npm registry. Point your client here, and change nothing else.</p>",
    );
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
