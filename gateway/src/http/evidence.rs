//! Registry keys and attestations.

use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use resolver::evidence::EvidenceName;

use super::answer::{Answer, CACHE_STATUS, cache_status};
use super::body;
use super::headers::value;
use super::service::Service;
use crate::fetch::{Failure, Provenance};

impl Service {
    /// `GET /-/npm/v1/keys` and `GET /-/npm/v1/attestations/<name>@<version>`.
    pub(super) async fn evidence(&self, name: &EvidenceName, head: &Parts) -> Result<Answer, Failure> {
        let (evidence, source) = self.fetch().evidence(name).await?;
        if evidence.status == StatusCode::NOT_FOUND.as_u16() {
            return Err(Failure::NotFound(name.path()));
        }
        let mut response = Response::new(body::empty());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, value(evidence.content_type.as_deref().unwrap_or("application/json")));
        headers.insert(CONTENT_LENGTH, evidence.body.len().into());
        headers.insert(CACHE_CONTROL, value("public, max-age=300"));
        headers.insert(CACHE_STATUS, cache_status(source == Provenance::Store, None));
        if head.method != Method::HEAD {
            *response.body_mut() = body::full(evidence.body);
        }
        Ok(Answer::new(response, "ok", source.label()))
    }
}
