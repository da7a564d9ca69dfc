//! What becomes of a peer's request: what it wishes for, and whether it gets that.

/// What a peer wants of this gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wish {
    /// What is held, and nothing else.
    Held,
    /// A tarball: if it is not held, it is to be fetched from upstream, for both.
    Fetch,
    /// What a client gets, with upstream's own bytes: this gateway is the peer's home.
    Home,
}

/// What a peer's request shows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Petition {
    /// What is wanted.
    pub wish: Wish,
    /// This gateway shares.
    pub shares: bool,
    /// It came on a stream, whose connection proves who has sent it.
    pub proved: bool,
    /// Its sender is on a network of ours.
    pub near: bool,
    /// It carries credentials, or is a log-in.
    pub credentials: bool,
    /// It is about a private scope.
    pub private: bool,
}

/// How it is to be treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// Answered with what is held, or with 404.
    Held,
    /// Answered with what is held, or with what upstream has; never by asking a peer.
    Fetch,
    /// Answered as its home does.
    Home,
    /// There is no such thing, as far as peers are to know.
    Hidden,
    /// Refused.
    Refused(Refusal),
}

/// Why it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing is shared.
    #[error("this gateway shares nothing with peers")]
    NotShared,
    /// Secrets are for upstream alone.
    #[error(
        "this request carries credentials, and peers are never given any: send it to the registry itself, and \
         revoke the token if you did not expect this"
    )]
    Credentials,
    /// Not everybody may have this gateway's line used.
    #[error("only gateways on a common network fetch for each other")]
    TooFar,
    /// Anybody could say it.
    #[error("a home is asked over the connection between gateways, which proves who asks")]
    NotProved,
    /// Whoever follows this gateway has its private packages from elsewhere.
    #[error("this package is private to this gateway")]
    Private,
}

impl Wish {
    /// As the header says it; `None`: this version knows no such wish.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Fetch, Self::Home].into_iter().find(|wish| wish.name() == text)
    }

    /// One word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Fetch => "fetch",
            Self::Home => "home",
        }
    }
}

impl Petition {
    /// Decides.
    #[must_use]
    pub fn treatment(self) -> Treatment {
        match self {
            Self { shares: false, .. } => Treatment::Refused(Refusal::NotShared),
            Self { credentials: true, .. } => Treatment::Refused(Refusal::Credentials),
            Self { wish: Wish::Home, proved: false, .. } => Treatment::Refused(Refusal::NotProved),
            // To whoever follows this gateway, 404 would be upstream's word.
            Self { wish: Wish::Home, private: true, .. } => Treatment::Refused(Refusal::Private),
            Self { private: true, .. } => Treatment::Hidden,
            Self { wish: Wish::Home, .. } => Treatment::Home,
            Self { wish: Wish::Fetch, near: false, .. } => Treatment::Refused(Refusal::TooFar),
            Self { wish: Wish::Fetch, .. } => Treatment::Fetch,
            Self { wish: Wish::Held, .. } => Treatment::Held,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = Petition> {
        let wishes = [Wish::Held, Wish::Fetch, Wish::Home];
        wishes.into_iter().flat_map(|wish| {
            (0..32u8).map(move |bits| Petition {
                wish,
                shares: bits & 1 != 0,
                proved: bits & 2 != 0,
                near: bits & 4 != 0,
                credentials: bits & 8 != 0,
                private: bits & 16 != 0,
            })
        })
    }

    #[test]
    fn nothing_is_given_by_who_shares_nothing_and_nothing_private_or_credentialed_by_anybody() {
        for petition in all() {
            let given = matches!(petition.treatment(), Treatment::Held | Treatment::Fetch | Treatment::Home);
            let may = petition.shares && !petition.credentials && !petition.private;
            assert!(may || !given, "{petition:?}");
        }
    }

    #[test]
    fn a_home_is_asked_by_who_proves_itself_and_a_fetch_by_who_is_near() {
        for petition in all().filter(|one| one.shares && !one.credentials && !one.private) {
            let expected = match petition.wish {
                Wish::Held => Treatment::Held,
                Wish::Fetch if petition.near => Treatment::Fetch,
                Wish::Fetch => Treatment::Refused(Refusal::TooFar),
                Wish::Home if petition.proved => Treatment::Home,
                Wish::Home => Treatment::Refused(Refusal::NotProved),
            };
            assert_eq!(petition.treatment(), expected, "{petition:?}");
        }
    }

    #[test]
    fn a_peer_does_not_learn_which_scopes_are_private() {
        for petition in all().filter(|one| one.shares && !one.credentials && one.wish != Wish::Home) {
            assert_eq!(petition.treatment() == Treatment::Hidden, petition.private, "{petition:?}");
        }
    }

    #[test]
    fn a_wish_is_a_word_or_none_that_is_known() {
        assert_eq!(Wish::parse("fetch"), Some(Wish::Fetch));
        assert_eq!(Wish::parse("home"), Some(Wish::Home));
        for unknown in ["", "held", "Fetch", "fetch, home", "moon"] {
            assert_eq!(Wish::parse(unknown), None, "{unknown}");
        }
    }
}
