//! What this gateway answers its followers.

use http::StatusCode;
use http::request::Parts;
use hyper::body::Incoming;

use super::answer::Answer;
use super::caller::Caller;
use super::route::Route;
use super::service::Service;

impl Service {
    /// A follower's request, which a stream has brought: it shares, and asks for nothing private, without credentials.
    #[allow(clippy::unused_async, clippy::needless_pass_by_value, reason = "what is to come needs it")]
    pub(super) async fn as_home(&self, _: &Route, _: Parts, _: Incoming, _: &Caller) -> Answer {
        Answer::error(StatusCode::FORBIDDEN, "this gateway is nobody's home")
    }
}
