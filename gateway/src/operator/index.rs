//! What operators are told of the index: its head, and where a version stands in it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{Operator, typed, words};
use crate::catalogue::Catalogue;
use crate::fetch::Content;
use crate::http::Body;

const QUESTION: &str = "ask /resolve?content=<package>@<version or dist-tag>\n";

/// The head of now; all is null while nothing is published.
pub(super) fn status(catalogue: &Catalogue) -> Value {
    let published = catalogue.published();
    let published = published.as_deref();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let age = |sequence| now.saturating_sub(Duration::from_millis(sequence)).as_secs();
    json!({
        "root": published.map(|published| published.root.to_string()),
        "sequence": published.map(|published| published.sequence),
        "age_s": published.map(|published| age(published.sequence)),
        "packages": published.map(|published| published.packages),
        "blocks": published.map(|published| published.blocks),
        "bytes": published.map(|published| published.cumulative_size),
    })
}

impl Operator {
    /// `/resolve?content=<package>@<version>`: where it is to be had, or in words what of it is missing.
    pub(super) async fn resolve(&self, query: Option<&str>) -> Response<Body> {
        let content = query.and_then(|query| query.strip_prefix("content="));
        let content = content.map(|content| percent_decode_str(content).decode_utf8_lossy().parse());
        let (name, version) = match content {
            Some(Ok(Content { name, version: Some(version) })) => (name, version),
            Some(Err(error)) => return words(StatusCode::BAD_REQUEST, format!("{error}\n")),
            _ => return words(StatusCode::BAD_REQUEST, QUESTION),
        };
        match self.inner.catalogue.resolve(&name, &version).await {
            Ok(resolution) => typed(StatusCode::OK, "application/json", json!(resolution).to_string()),
            Err(unresolved) if unresolved.missing.is_some() => {
                words(StatusCode::NOT_FOUND, format!("{unresolved}\n"))
            }
            Err(unresolved) => words(StatusCode::SERVICE_UNAVAILABLE, format!("{unresolved}\n")),
        }
    }
}
