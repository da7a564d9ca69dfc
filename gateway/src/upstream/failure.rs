//! How upstream fails, in words that a client may read.

use std::error::Error;
use std::io;
use std::time::Duration;

use http::StatusCode;
use http::header::RETRY_AFTER;
use hyper_util::client::legacy;
use resolver::connectivity::Failure;

use crate::swarm::NoStream;

/// Why upstream did not give what it was asked for. The text is fit for a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// It must not be asked.
    #[error("this gateway is offline")]
    Offline,
    /// No connection.
    #[error("{0}")]
    Unreachable(String),
    /// No headers within this time.
    #[error("it has not answered within {} s", .0.as_secs())]
    Silent(Duration),
    /// A body that stopped coming.
    #[error("its answer stalled")]
    Stalled,
    /// A connection that broke.
    #[error("{0}")]
    Broken(String),
    /// The client that sent a body broke it off, or sent too much.
    #[error("the request's body broke off, or is larger than any may be")]
    Client,
    /// Too many others wait for it.
    #[error("too many requests are waiting for it")]
    Queued,
    /// 5xx.
    #[error("it answered {}", .0.as_u16())]
    ServerError(StatusCode),
    /// 429, or 503 that says when to come again.
    #[error("it is busy (it answered {})", .0.as_u16())]
    Busy(StatusCode, Option<Duration>),
    /// 404 or 410: it has no such thing.
    #[error("it has no such thing")]
    Missing,
    /// Any other 4xx.
    #[error("it answered {}", .0.as_u16())]
    Refused(StatusCode),
    /// Home answers, and could not ask upstream for this.
    #[error("home cannot reach it either")]
    CutOff,
    /// An answer that is not what was asked for.
    #[error("{0}")]
    Wrong(String),
}

impl UpstreamError {
    /// What the latch learns from it; `None`: nothing, for upstream did answer.
    pub(super) fn failure(&self) -> Option<Failure> {
        match self {
            Self::Unreachable(_) => Some(Failure::Unreachable),
            Self::Silent(_) | Self::Stalled => Some(Failure::Silent),
            Self::Broken(_) => Some(Failure::Broken),
            Self::ServerError(_) => Some(Failure::ServerError),
            Self::Busy(StatusCode::TOO_MANY_REQUESTS, pause) => Some(Failure::Busy(*pause)),
            // It may be one path's trouble.
            Self::Busy(..) => Some(Failure::ServerError),
            Self::Offline
            | Self::Client
            | Self::Queued
            | Self::Missing
            | Self::Refused(_)
            | Self::CutOff
            | Self::Wrong(_) => None,
        }
    }

    /// Whether asking again may help.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        !self.is_last_word() && !matches!(self, Self::Client | Self::Queued | Self::CutOff)
    }

    /// Whether another way would lead to the same answer: upstream has given it, or must not be asked.
    pub(super) fn is_last_word(&self) -> bool {
        matches!(self, Self::Offline | Self::Missing | Self::Refused(_))
    }

    /// How long it wants to be left alone, if it has said so.
    #[must_use]
    pub fn pause(&self) -> Option<Duration> {
        match self {
            Self::Busy(_, pause) => *pause,
            _ => None,
        }
    }

    /// One word for the metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Unreachable(_) => "unreachable",
            Self::Silent(_) => "silent",
            Self::Stalled => "stalled",
            Self::Broken(_) => "broken",
            Self::Client => "client",
            Self::Queued => "queued",
            Self::ServerError(_) => "server_error",
            Self::Busy(..) => "busy",
            Self::Missing => "missing",
            Self::Refused(_) => "refused",
            Self::CutOff => "cut_off",
            Self::Wrong(_) => "wrong",
        }
    }
}

/// What a status means for a request of our own; `None`: an answer to be used.
pub(super) fn of_status(head: &http::response::Parts) -> Option<UpstreamError> {
    let pause = pause(head);
    match head.status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Some(UpstreamError::Missing),
        StatusCode::TOO_MANY_REQUESTS => Some(UpstreamError::Busy(head.status, pause)),
        StatusCode::SERVICE_UNAVAILABLE if pause.is_some() => Some(UpstreamError::Busy(head.status, pause)),
        StatusCode::REQUEST_TIMEOUT => Some(UpstreamError::ServerError(head.status)),
        status if status.is_server_error() => Some(UpstreamError::ServerError(status)),
        status if status.is_client_error() => Some(UpstreamError::Refused(status)),
        _ => None,
    }
}

/// How long it wants to be left alone, if it says so.
pub(super) fn pause(head: &http::response::Parts) -> Option<Duration> {
    head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).and_then(seconds)
}

/// What went wrong on the way to an answer.
pub(super) fn of_transport(error: &legacy::Error) -> UpstreamError {
    let of_client = error.source().and_then(|source| source.downcast_ref::<hyper::Error>());
    if of_client.is_some_and(hyper::Error::is_user) {
        return UpstreamError::Client;
    }
    let cause = cause(error);
    if error.is_connect() { UpstreamError::Unreachable(cause) } else { UpstreamError::Broken(cause) }
}

/// The innermost reason, in our own words where it is a known one: inner texts are not shown to clients.
fn cause(error: &(dyn Error + 'static)) -> String {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            match error.kind() {
                io::ErrorKind::ConnectionRefused => return "connection refused".into(),
                io::ErrorKind::ConnectionReset => return "the connection was reset".into(),
                io::ErrorKind::TimedOut => return "no connection in time".into(),
                io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                    return "no route to it".into();
                }
                _ => {}
            }
        }
        if let Some(error) = tls(error) {
            return format!("TLS: {error}");
        }
        if let Some(error) = error.downcast_ref::<NoStream>() {
            return format!("home: {error}");
        }
        if error.to_string().starts_with("failed to lookup address information")
            || error.to_string() == "dns error"
        {
            return "its name cannot be resolved".into();
        }
        next = error.source();
    }
    "the connection broke".into()
}

/// I/O errors that wrap others, each in the next, do not name them as their sources.
fn tls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(error) = error.downcast_ref() {
        return Some(error);
    }
    tls(error.downcast_ref::<io::Error>().and_then(io::Error::get_ref)?)
}

/// `Retry-After` in its two forms (RFC 9110, section 10.2.3).
fn seconds(value: &str) -> Option<Duration> {
    let digits = !value.trim().is_empty() && value.trim().bytes().all(|byte| byte.is_ascii_digit());
    if digits {
        // More digits than a number has are a long time, too; whoever waits has a bound of his own.
        return Some(Duration::from_secs(value.trim().parse().unwrap_or(u64::MAX)));
    }
    let at = httpdate::parse_http_date(value.trim()).ok()?;
    Some(at.duration_since(std::time::SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date_and_anything_else_says_nothing() {
        assert_eq!(seconds("120"), Some(Duration::from_secs(120)));
        assert_eq!(seconds(" 0 "), Some(Duration::ZERO));
        assert_eq!(seconds("99999999999999999999999999"), Some(Duration::from_secs(u64::MAX)));
        let in_two_minutes = std::time::SystemTime::now() + Duration::from_secs(120);
        let pause = seconds(&httpdate::fmt_http_date(in_two_minutes)).unwrap().as_secs();
        assert!((115..=120).contains(&pause), "{pause}");
        assert_eq!(seconds("Sat, 01 Jan 2022 00:00:00 GMT"), Some(Duration::ZERO), "it is over");
        for nothing in ["", "soon", "-5", "1.5", "12 minutes"] {
            assert_eq!(seconds(nothing), None, "{nothing}");
        }
    }
}
