//! What happens to a request that carries credentials, or asks for something private.

/// What a request shows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exposure {
    /// It has an `Authorization`, a cookie, a one-time password, or is a log-in.
    pub credentials: bool,
    /// It is about a private scope.
    pub private: bool,
    /// It came over TLS, or never left this machine.
    pub safe_from_client: bool,
    /// It will go on over TLS, or never leave this machine.
    pub safe_to_upstream: bool,
}

/// How the request is to be treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// As anybody's: from the store, or into it.
    Public,
    /// Passed to upstream as it is, never kept, shared or logged.
    PassThrough,
    /// Not passed on: the client sent a secret over a wire that anybody can read.
    RefuseExposed,
    /// Not passed on: upstream is reached over a wire that anybody can read.
    RefuseUpstream,
}

impl Exposure {
    /// Decides.
    #[must_use]
    pub fn treatment(self) -> Treatment {
        match self {
            Self { credentials: true, safe_from_client: false, .. } => Treatment::RefuseExposed,
            Self { credentials: true, safe_to_upstream: false, .. } => Treatment::RefuseUpstream,
            Self { credentials: true, .. } | Self { private: true, .. } => Treatment::PassThrough,
            _ => Treatment::Public,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = Exposure> {
        (0..16u8).map(|bits| Exposure {
            credentials: bits & 1 != 0,
            private: bits & 2 != 0,
            safe_from_client: bits & 4 != 0,
            safe_to_upstream: bits & 8 != 0,
        })
    }

    #[test]
    fn credentials_travel_over_safe_wires_only() {
        for exposure in all().filter(|exposure| exposure.credentials) {
            let safe = exposure.safe_from_client && exposure.safe_to_upstream;
            assert_eq!(exposure.treatment() == Treatment::PassThrough, safe, "{exposure:?}");
        }
    }

    #[test]
    fn nothing_private_or_credentialed_is_treated_as_public() {
        for exposure in all() {
            let public = !exposure.private && !exposure.credentials;
            assert_eq!(exposure.treatment() == Treatment::Public, public, "{exposure:?}");
        }
    }
}
