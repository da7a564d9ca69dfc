//! One request to upstream: the way that it goes, and the other one when that fails.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderValue, LOCATION, USER_AGENT, VIA};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use resolver::connectivity::Link;
use resolver::ways::{Errand, Order, Way};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use url::Url;

use super::answer::{Answer, Pace};
use super::client::{self, Body};
use super::failure::{self, UpstreamError};
use super::{HEADERS_WAIT, HOPS, PRODUCT, Upstream};

/// The wait for home's headers where there is no other way: a little longer than home takes to say that its upstream is
/// slow.
const HOME_WAIT: Duration = Duration::from_secs(30);
/// When what only reads has waited so long for headers, it is found out whether upstream is still there at all: a connection of
/// before says nothing of that when a router drops what is sent on it.
const SUSPICION: Duration = Duration::from_secs(3);
/// A body that is kept until it is answered, so that it can go the other way too: an audit of thousands of packages. 256
/// at once are 64 MiB.
const KEPT: u64 = 256 * 1024;

/// What is asked of upstream.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// Where it is at upstream.
    pub address: &'a str,
    /// What upstream itself is told.
    pub headers: HeaderMap,
    /// What home is told instead.
    pub for_home: HeaderMap,
    /// Counts from 0, and lengthens the wait.
    pub attempt: u32,
    /// On a connection of its own: where upstream is many servers, likely another one answers.
    pub apart: bool,
}

/// The way of one attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Course {
    pub(super) way: Way,
    /// On a connection of its own.
    pub(super) apart: bool,
    /// To upstream's own origin: how it fares says something of upstream.
    pub(super) is_own: bool,
}

/// How long a request that is passed on may wait for its answer's headers.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// At most so long.
    pub wait: Duration,
    /// It changes nothing, so that it can be given up as soon as upstream turns out to be out of reach.
    pub reads: bool,
}

impl Upstream {
    /// `GET address`, following redirects to allowed hosts; `attempt` counts from 0 and lengthens the wait.
    /// 404, 410 and other refusals come back as errors.
    ///
    /// # Errors
    /// [`UpstreamError`], which the latch has learned from already.
    pub async fn get(
        &self,
        address: &str,
        headers: HeaderMap,
        attempt: u32,
    ) -> Result<Answer, UpstreamError> {
        let for_home = headers.clone();
        self.ask(Question { address, headers, for_home, attempt, apart: false }).await
    }

    /// As [`Upstream::get`], for what home is asked otherwise than upstream.
    ///
    /// # Errors
    /// [`UpstreamError`], which the latch has learned from already.
    pub async fn ask(&self, question: Question<'_>) -> Result<Answer, UpstreamError> {
        let mut address = question.address.to_owned();
        for _ in 0..=HOPS {
            let answer = self.ask_once(&Question { address: &address, ..question.clone() }).await?;
            if !answer.head.status.is_redirection() || answer.head.status == StatusCode::NOT_MODIFIED {
                return Ok(answer);
            }
            address = self.redirected(&address, &answer.head)?;
        }
        Err(UpstreamError::Wrong("it redirects in circles".into()))
    }

    /// What home has without having been able to ask is taken when there is nothing newer.
    async fn ask_once(&self, question: &Question<'_>) -> Result<Answer, UpstreamError> {
        let is_own = self.own_path(question.address).is_some();
        let directly = Order { first: Way::Direct, then: None };
        let order = if is_own { self.inner.latch.order(Errand::Public).await } else { directly };
        let course = |way| Course { way, apart: question.apart, is_own };
        let mut first = self.attempt(question, course(order.first), order.then.is_none()).await;
        let is_enough = match &mut first {
            Ok(answer) => !answer.is_cut_off(),
            Err(error) => error.is_last_word(),
        };
        let Some(then) = order.then.filter(|_| !is_enough) else {
            return first;
        };
        if let Ok(answer) = &mut first {
            // With its place it could wait for a place that others like it have.
            answer.give_up_place();
        }
        match (first, self.attempt(question, course(then), true).await) {
            (Ok(old), Err(error)) if error != UpstreamError::Missing => Ok(old),
            // Home would say the same once more.
            (Err(UpstreamError::CutOff), Err(error)) if !error.is_last_word() => Err(UpstreamError::CutOff),
            (_, second) => second,
        }
    }

    pub(super) async fn attempt(
        &self,
        question: &Question<'_>,
        course: Course,
        is_last: bool,
    ) -> Result<Answer, UpstreamError> {
        let Question { address, attempt, .. } = *question;
        let headers = match course.way {
            Way::Home => &question.for_home,
            Way::Direct => &question.headers,
        };
        let mut request = Request::new(client::empty());
        *request.method_mut() = Method::GET;
        *request.uri_mut() =
            address.parse::<Uri>().map_err(|_| UpstreamError::Wrong("an odd address".into()))?;
        *request.headers_mut() = headers.clone();
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(PRODUCT));
        let wait = HEADERS_WAIT * 2u32.saturating_pow(attempt.min(4));
        let wait = if course.way == Way::Home && is_last { wait.max(HOME_WAIT) } else { wait };
        let place = Arc::clone(&self.inner.places).acquire_owned().await;
        let sent = self.send(request, course, wait, place.ok()).await;
        let of = (course.way, course.is_own);
        let answer = sent.map_err(|error| self.learned(error, of, attempt))?;
        match failure::of_status(&answer.head) {
            None => Ok(answer),
            Some(error) => {
                // A refusal says all by its status.
                answer.is_whole();
                Err(self.learned(error, of, attempt))
            }
        }
    }

    /// Passes a client's request on as it is. Any status is an answer. Where the client was still sending, nobody can
    /// tell whose silence or whose break it was, and the latch learns nothing from it. What is too long to be kept goes
    /// one way only.
    ///
    /// # Errors
    /// [`UpstreamError`] when no headers come in time.
    pub async fn pass<B>(
        &self,
        request: Request<B>,
        patience: Patience,
        errand: Errand,
    ) -> Result<Answer, UpstreamError>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        let uploads = !body.is_end_stream();
        let order = self.inner.latch.order(errand).await;
        let is_short = body.size_hint().upper().is_some_and(|length| length <= KEPT);
        let Some(then) = order.then.filter(|_| is_short) else {
            let request = Request::from_parts(head, body.map_err(Into::into).boxed_unsync());
            return self.pass_by(order.first, request, patience, uploads).await;
        };
        let kept = timeout(patience.wait, body.collect()).await;
        let Ok(Ok(kept)) = kept else { return Err(self.counted(UpstreamError::Client)) };
        let kept = kept.to_bytes();
        let request = || Request::from_parts(head.clone(), full(kept.clone()));
        match self.pass_by(order.first, request(), patience, false).await {
            Err(error) if !error.is_last_word() => self.pass_by(then, request(), patience, false).await,
            answered => answered,
        }
    }

    async fn pass_by(
        &self,
        way: Way,
        request: Request<Body>,
        Patience { wait, reads }: Patience,
        uploads: bool,
    ) -> Result<Answer, UpstreamError> {
        let places = if uploads { &self.inner.upload_places } else { &self.inner.places };
        let place = timeout(wait, Arc::clone(places).acquire_owned()).await;
        let place = place.map_err(|_| self.counted(UpstreamError::Queued))?;
        let sent = self.send(request, Course { way, apart: false, is_own: true }, wait, place.ok());
        let sent = tokio::select! {
            biased;
            sent = sent => sent,
            // The latch knows, for it is what has said so.
            cause = self.turns_out_to_be_gone(), if reads && way == Way::Direct => {
                return Err(self.counted(UpstreamError::Unreachable(cause)));
            }
        };
        sent.map_err(|error| match error {
            UpstreamError::Silent(_) | UpstreamError::Broken(_) if uploads => self.counted(error),
            error => self.failed(error, way),
        })
    }

    /// Returns why, once upstream itself turns out to be out of reach.
    async fn turns_out_to_be_gone(&self) -> String {
        loop {
            tokio::time::sleep(SUSPICION).await;
            if let (true, Link::Down(cause)) =
                (self.is_gone(SUSPICION).await, self.inner.latch.link_for(Errand::Private))
            {
                return cause;
            }
        }
    }

    /// A latch learns from upstream's own origin only, and one thing that fails again and again shows it only
    /// once that the server is at fault.
    pub(super) fn learned(
        &self,
        error: UpstreamError,
        (way, is_own): (Way, bool),
        attempt: u32,
    ) -> UpstreamError {
        let is_repeated =
            attempt > 0 && matches!(error, UpstreamError::ServerError(_) | UpstreamError::Busy(..));
        if is_own && !is_repeated { self.failed(error, way) } else { self.counted(error) }
    }

    /// The latch has yet to learn from an error.
    pub(super) async fn send(
        &self,
        mut request: Request<Body>,
        course: Course,
        wait: Duration,
        place: Option<OwnedSemaphorePermit>,
    ) -> Result<Answer, UpstreamError> {
        let Course { way, is_own, .. } = course;
        if let Ok(via) = HeaderValue::try_from(format!("1.1 {}", self.inner.instance)) {
            request.headers_mut().append(VIA, via);
        }
        if self.inner.latch.link() == Link::Offline {
            return Err(UpstreamError::Offline);
        }
        let timer = self.inner.metrics.upstream_started();
        let sent = timeout(wait, self.request(request, course)).await;
        let response = sent.map_err(|_| UpstreamError::Silent(wait))??;
        timer.answered();
        let (head, body) = response.into_parts();
        if let (Way::Home, Some(home)) = (way, self.home_line()) {
            home.check(&head).inspect_err(|error| {
                if *error == UpstreamError::CutOff {
                    self.inner.latch.succeeded(Way::Home);
                }
            })?;
        }
        let counts = is_own && failure::of_status(&head).is_none_or(|error| error.failure().is_none());
        let pace = Pace::default();
        let answer = Answer { head, body, upstream: self.clone(), way, counts, is_own, pace, place };
        if answer.body.is_end_stream() {
            answer.is_whole();
        }
        Ok(answer)
    }

    async fn request(
        &self,
        request: Request<Body>,
        course: Course,
    ) -> Result<Response<Incoming>, UpstreamError> {
        let sent = match (course, self.home_line()) {
            (Course { way: Way::Home, .. }, Some(home)) => {
                let path = self.own_path(&request.uri().to_string()).map(str::to_owned);
                let request = home.addressed(request, path.as_deref().unwrap_or("/"))?;
                home.line().request(request).await
            }
            (Course { apart: true, .. }, _) => self.inner.client_apart.request(request).await,
            _ => self.inner.client.request(request).await,
        };
        sent.map_err(|error| failure::of_transport(&error))
    }

    /// What follows upstream's own address, from its slash; `None`: it is somewhere else.
    pub(super) fn own_path<'a>(&self, address: &'a str) -> Option<&'a str> {
        address.strip_prefix(&self.inner.base).filter(|path| path.starts_with('/'))
    }

    fn redirected(&self, from: &str, head: &http::response::Parts) -> Result<String, UpstreamError> {
        let location = head.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let target = Url::parse(from).ok().zip(location).and_then(|(from, to)| from.join(to).ok());
        let allowed = target.and_then(|target| self.inner.origins.allowed(target.as_str()));
        allowed.ok_or_else(|| {
            UpstreamError::Wrong("it redirects to a host that upstream.tarball_hosts does not name".into())
        })
    }

    fn failed(&self, error: UpstreamError, way: Way) -> UpstreamError {
        self.inner.latch.failed(way, &error);
        self.counted(error)
    }

    pub(super) fn counted(&self, error: UpstreamError) -> UpstreamError {
        self.inner.metrics.upstream_failed(error.label());
        error
    }
}

fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}
