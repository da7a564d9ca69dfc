//! Why a client cannot have what he asked for.

use std::sync::Arc;

use crate::store::StoreError;
use crate::takedown::Notice;
use crate::upstream::UpstreamError;

/// Why content cannot be had. The texts are fit for a client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Upstream said that there is no such thing.
    #[error("{0} not found")]
    NotFound(String),
    /// Upstream will not give it to anybody without credentials, or to anybody at all.
    #[error("upstream refuses {what} (it answered {status})")]
    Refused {
        /// What was asked for.
        what: String,
        /// Upstream's status.
        status: u16,
    },
    /// Not held, and not to be had now.
    #[error("{what} is not held here, and {cause}")]
    Unavailable {
        /// What was asked for.
        what: String,
        /// Why it cannot be had.
        cause: String,
    },
    /// This gateway's operator, or home's, does not serve it (RFC 7725).
    #[error("{0}")]
    Blocked(Arc<Notice>),
    /// Our own disk.
    #[error("this gateway cannot use its disk; its log says why")]
    Disk,
}

impl Failure {
    /// What an attempt's failure means for whoever asked for `what`.
    pub(super) fn of(what: &str, error: &UpstreamError) -> Self {
        let what = what.to_owned();
        match error {
            UpstreamError::Missing => Self::NotFound(what),
            UpstreamError::Refused(status) => Self::Refused { what, status: status.as_u16() },
            UpstreamError::Offline => Self::Unavailable { what, cause: error.to_string() },
            passing => Self::Unavailable { what, cause: format!("upstream fails: {passing}") },
        }
    }

    /// The same failure, for whoever asked for `what`.
    pub(super) fn about(self, what: &str) -> Self {
        let what = what.to_owned();
        match self {
            Self::NotFound(_) => Self::NotFound(what),
            Self::Refused { status, .. } => Self::Refused { what, status },
            Self::Unavailable { cause, .. } => Self::Unavailable { what, cause },
            Self::Blocked(notice) => Self::Blocked(notice),
            Self::Disk => Self::Disk,
        }
    }

    /// Why, for whoever gets what is held instead.
    pub(super) fn cause(&self) -> String {
        match self {
            Self::Unavailable { cause, .. } => cause.clone(),
            other => other.to_string(),
        }
    }

    pub(super) fn unavailable(what: &str, cause: impl Into<String>) -> Self {
        Self::Unavailable { what: what.to_owned(), cause: cause.into() }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the store refuses");
        Self::Disk
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::from(StoreError::Io(error))
    }
}
