//! Whether upstream answers, found out by asking: what is down is probed, and home is tried whenever it is newly connected.

use std::time::Duration;

use http::Request;
use http::header::{HeaderMap, HeaderValue, USER_AGENT};
use resolver::connectivity::Link;
use resolver::ways::{Errand, Way};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::ask::{Course, Question};
use super::client;
use super::failure::UpstreamError;
use super::home::Home;
use super::{HEADERS_WAIT, PRODUCT, Upstream};

/// How home fares, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Followed {
    /// Where it is, and who.
    pub contact: String,
    /// For how many seconds it has been connected; `None`: it is not.
    pub connected_s: Option<u64>,
    /// Requests go through it.
    pub serves: bool,
    /// Why they do not.
    pub cause: Option<String>,
}

impl Upstream {
    /// Keeps asking by a way that is down, so that its return is noticed, and looks for home. Ends with the program.
    pub async fn probe_forever(self) {
        tokio::join!(self.clone().probe_what_is_down(), self.watch_home());
    }

    async fn probe_what_is_down(self) {
        loop {
            let way = self.inner.latch.wait_for_probe().await;
            match self.probe(way).await {
                Ok(()) => self.inner.latch.succeeded(way),
                Err(error) => tracing::debug!(%error, ?way, "a probe failed"),
            }
        }
    }

    /// A new connection is tried at once: home says whom it follows itself.
    async fn watch_home(self) {
        let Some(home) = self.home_line() else { return };
        let mut since = None;
        loop {
            since = home.changed(since).await;
            home.forget();
            self.inner.latch.home_changed(since.is_some());
            let said = match since {
                None => "is not connected any more".to_owned(),
                Some(_) => match self.probe(Way::Home).await {
                    Ok(()) => "is connected".to_owned(),
                    Err(error) => format!("is connected and cannot be asked: {error}"),
                },
            };
            tracing::info!(home = %home.contact(), "home {said}");
        }
    }

    /// Whether upstream answers at all, by whichever way; for readiness and the terminal.
    ///
    /// # Errors
    /// [`UpstreamError`] of the way that was tried last.
    pub async fn try_once(&self) -> Result<Way, UpstreamError> {
        let order = self.inner.latch.order(Errand::Public).await;
        match (self.probe(order.first).await, order.then) {
            (Ok(()), _) => Ok(order.first),
            (Err(_), Some(then)) => self.probe(then).await.map(|()| then),
            (Err(error), None) => Err(error),
        }
    }

    async fn probe(&self, way: Way) -> Result<(), UpstreamError> {
        let address = self.ping();
        let (headers, for_home) = (HeaderMap::new(), HeaderMap::new());
        let question = Question { address: &address, headers, for_home, attempt: 0, apart: false };
        match self.attempt(&question, Course { way, apart: false, is_own: true }, false).await {
            Ok(mut answer) => {
                while answer.chunk().await?.is_some() {}
                Ok(())
            }
            Err(UpstreamError::Missing | UpstreamError::Refused(_) | UpstreamError::CutOff) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether upstream itself cannot be reached, found out on a connection of its own: once in this time for all who want to know,
    /// and without a place, for those who want to know have them. Whatever it answers says that it can, and nothing else.
    pub(super) async fn is_gone(&self, pause: Duration) -> bool {
        let mut looked = self.inner.looked.lock().await;
        if let Some((at, is_gone)) = *looked
            && at.elapsed() < pause
        {
            return is_gone;
        }
        let mut request = Request::new(client::empty());
        if let Ok(address) = self.ping().parse() {
            *request.uri_mut() = address;
        }
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(PRODUCT));
        let course = Course { way: Way::Direct, apart: true, is_own: true };
        let is_gone = match self.send(request, course, HEADERS_WAIT, None).await {
            Err(error @ (UpstreamError::Unreachable(_) | UpstreamError::Silent(_))) => {
                self.inner.latch.failed(Way::Direct, &error);
                self.counted(error);
                true
            }
            _ => false,
        };
        *looked = Some((Instant::now(), is_gone));
        is_gone
    }

    fn ping(&self) -> String {
        format!("{}/-/ping", self.inner.base)
    }

    /// How home fares; `None`: nobody is followed.
    #[must_use]
    pub fn home(&self) -> Option<Followed> {
        let home = self.home_line()?;
        let link = self.inner.latch.link_of_home()?;
        let cause = if let Link::Down(cause) = &link { Some(cause.clone()) } else { None };
        Some(Followed {
            contact: home.contact().to_string(),
            connected_s: home.connected_since().map(|since| since.elapsed().as_secs()),
            serves: cause.is_none(),
            cause,
        })
    }

    /// Whether upstream is asked without anybody between: who is asked for something by a gateway that it asks in its turn
    /// would wait for itself.
    #[must_use]
    pub fn is_asked_directly(&self) -> bool {
        let through_home = self.inner.latch.link_of_home().is_some_and(|link| !matches!(link, Link::Down(_)));
        !through_home && matches!(self.inner.latch.link(), Link::Up | Link::Doubtful)
    }

    /// Whom this gateway follows, the nearest first, as far as that is known.
    #[must_use]
    pub fn homes(&self) -> Vec<String> {
        self.home_line().map(Home::followed).unwrap_or_default()
    }
}
