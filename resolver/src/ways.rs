//! Which way upstream is asked: through home, the gateway that is followed, or directly. One latch for each
//! (see [`crate::connectivity`]), and one word for whoever only wants to know whether upstream can be asked.

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use crate::connectivity::{Connectivity, Failure, Link};

/// How long after the start a connection with home is waited for: a name, a connection and a handshake take less around
/// the whole world, and no client takes it for an outage.
const GRACE: Duration = Duration::from_secs(3);

/// A way to upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// Over the connection with home, which asks in its turn.
    Home,
    /// By upstream's own address.
    Direct,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// What everybody gets.
    Public,
    /// It carries credentials, or is about a private scope: nobody but upstream is told of it.
    Private,
}

/// Which ways one request goes, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// This one is tried.
    pub first: Way,
    /// Then this one, if there is one.
    pub then: Option<Way>,
}

/// Whether there is a connection with home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// There is.
    Connected,
    /// There is none.
    Absent,
    /// It must not be asked, for this one would be asked in its turn, or for another reason.
    Barred(&'static str),
}

/// Both ways. `now` is the time since the start.
#[derive(Debug, Default)]
pub struct Ways {
    offline: bool,
    direct: Connectivity,
    /// `None`: nobody is followed.
    home: Option<Connectivity>,
}

impl Ways {
    /// Nobody is followed; upstream is taken to be there until it shows otherwise.
    #[must_use]
    pub fn new(offline: bool) -> Self {
        Self { offline, direct: Connectivity::new(offline), home: None }
    }

    /// Home is there from now on, until it shows otherwise. Offline nobody is followed.
    pub fn follow(&mut self) {
        self.home = (!self.offline).then(|| Connectivity::new(false));
    }

    /// What a request may expect that goes whichever way is open.
    #[must_use]
    pub fn link(&self, home: Home, now: Duration) -> Link {
        let direct = self.direct.link(now);
        match (self.link_of_home(home, now), direct) {
            (None, direct) => direct,
            (Some(Link::Down(home)), Link::Down(direct)) => Link::Down(format!("{direct}; and home: {home}")),
            (Some(Link::Down(_)), direct) => direct,
            (Some(open), _) => open,
        }
    }

    /// What one may expect that only upstream itself may see.
    #[must_use]
    pub fn link_for(&self, errand: Errand, home: Home, now: Duration) -> Link {
        match errand {
            Errand::Public => self.link(home, now),
            Errand::Private => self.direct.link(now),
        }
    }

    /// Which ways a request goes: through home wherever it can, directly else, or when home has failed it. A way that is
    /// known to be down is nobody's second.
    #[must_use]
    pub fn order(&self, errand: Errand, home: Home, now: Duration) -> Order {
        let direct = Order { first: Way::Direct, then: None };
        match (errand, self.link_of_home(home, now)) {
            (Errand::Private, _) | (_, None | Some(Link::Down(_))) => direct,
            _ if matches!(self.direct.link(now), Link::Down(_)) => Order { first: Way::Home, then: None },
            _ => Order { first: Way::Home, then: Some(Way::Direct) },
        }
    }

    /// How much longer a request waits for a connection with home; nothing, when it is there or will not be.
    #[must_use]
    pub fn grace(&self, home: Home, now: Duration) -> Duration {
        match (&self.home, home) {
            (Some(_), Home::Absent) => GRACE.saturating_sub(now),
            _ => Duration::ZERO,
        }
    }

    /// Which way must be probed next, and when; `None` while nothing needs to be known.
    #[must_use]
    pub fn probe_at(&self, home: Home) -> Option<(Duration, Way)> {
        let of_home = self.home.as_ref().filter(|_| home == Home::Connected);
        let of_home = of_home.and_then(Connectivity::probe_at).map(|at| (at, Way::Home));
        of_home.into_iter().chain(self.direct.probe_at().map(|at| (at, Way::Direct))).min()
    }

    /// A way has led to an answer; says whether that opened it.
    pub fn succeeded(&mut self, way: Way) -> bool {
        self.of(way).is_some_and(Connectivity::succeeded)
    }

    /// An attempt by this way has failed; says whether that closed it.
    pub fn failed(&mut self, way: Way, failure: Failure, cause: &str, now: Duration) -> bool {
        self.of(way).is_some_and(|latch| latch.failed(failure, cause, now))
    }

    /// Somebody has waited longer than he should have to, by the way that requests go now.
    pub fn overdue(&mut self, home: Home, now: Duration) {
        let way = self.order(Errand::Public, home, now).first;
        if let Some(latch) = self.of(way) {
            latch.overdue(now);
        }
    }

    /// There is a new connection with home: what the one before was like says nothing of it.
    pub fn connected(&mut self) {
        if let Some(home) = &mut self.home {
            home.succeeded();
        }
    }

    /// What is known of home alone; `None`: nobody is followed.
    #[must_use]
    pub fn link_of_home(&self, home: Home, now: Duration) -> Option<Link> {
        let latch = self.home.as_ref()?;
        Some(match home {
            Home::Connected => latch.link(now),
            Home::Absent => Link::Down(String::from("it is not connected")),
            Home::Barred(why) => Link::Down(why.into()),
        })
    }

    fn of(&mut self, way: Way) -> Option<&mut Connectivity> {
        match way {
            Way::Home => self.home.as_mut(),
            Way::Direct => Some(&mut self.direct),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn of(offline: bool) -> Ways {
        let mut ways = Ways::new(offline);
        ways.follow();
        ways
    }

    fn following() -> Ways {
        of(false)
    }

    fn down(ways: &mut Ways, way: Way) {
        assert!(ways.failed(way, Failure::Unreachable, "no way", s(1)));
    }

    #[test]
    fn home_is_asked_first_and_upstream_itself_when_home_fails() {
        let mut ways = following();
        let order = |ways: &Ways, home| ways.order(Errand::Public, home, s(2));
        let both = Order { first: Way::Home, then: Some(Way::Direct) };
        assert_eq!(order(&ways, Home::Connected), both);
        let direct = Order { first: Way::Direct, then: None };
        assert_eq!(order(&ways, Home::Absent), direct);
        assert_eq!(order(&ways, Home::Barred("a circle")), direct);
        down(&mut ways, Way::Direct);
        assert_eq!(order(&ways, Home::Connected), Order { first: Way::Home, then: None });
        down(&mut ways, Way::Home);
        assert_eq!(order(&ways, Home::Connected), direct);
        ways.connected();
        assert_eq!(order(&ways, Home::Connected).first, Way::Home);
    }

    #[test]
    fn upstream_can_be_asked_as_long_as_one_way_is_open() {
        let mut ways = following();
        down(&mut ways, Way::Direct);
        assert_eq!(ways.link(Home::Connected, s(2)), Link::Up);
        assert_eq!(ways.link_for(Errand::Private, Home::Connected, s(2)), Link::Down("no way".into()));
        let Link::Down(cause) = ways.link(Home::Absent, s(2)) else { panic!("no way is open") };
        assert_eq!(cause, "no way; and home: it is not connected");
        assert!(ways.succeeded(Way::Direct));
        assert_eq!(ways.link(Home::Absent, s(2)), Link::Up);
    }

    #[test]
    fn whoever_follows_nobody_goes_directly() {
        let mut ways = Ways::new(false);
        for home in [Home::Connected, Home::Absent] {
            assert_eq!(ways.order(Errand::Public, home, s(0)), Order { first: Way::Direct, then: None });
            assert_eq!(ways.grace(home, s(0)), Duration::ZERO);
        }
        down(&mut ways, Way::Direct);
        assert_eq!(ways.link(Home::Connected, s(2)), Link::Down("no way".into()));
        assert!(!ways.failed(Way::Home, Failure::Unreachable, "x", s(2)));
    }

    #[test]
    fn home_is_waited_for_at_the_start_and_never_again() {
        let ways = following();
        assert_eq!(ways.grace(Home::Absent, s(1)), s(2));
        assert_eq!(ways.grace(Home::Connected, s(1)), Duration::ZERO);
        assert_eq!(ways.grace(Home::Barred("a circle"), s(1)), Duration::ZERO);
        assert_eq!(ways.grace(Home::Absent, s(3)), Duration::ZERO);
    }

    #[test]
    fn slowness_is_that_of_the_way_that_was_gone() {
        let mut ways = following();
        ways.overdue(Home::Connected, s(10));
        assert_eq!(ways.link(Home::Connected, s(11)), Link::Doubtful);
        assert_eq!(ways.link_for(Errand::Private, Home::Connected, s(11)), Link::Up);
        assert_eq!(ways.link(Home::Absent, s(11)), Link::Up, "nobody has gone directly");
    }

    #[test]
    fn offline_neither_way_is_gone() {
        let mut ways = of(true);
        assert_eq!(ways.link(Home::Connected, s(1)), Link::Offline);
        ways.failed(Way::Home, Failure::Unreachable, "x", s(1));
        assert_eq!((ways.probe_at(Home::Connected), ways.grace(Home::Absent, s(0))), (None, s(0)));
    }

    fn way() -> impl Strategy<Value = Way> {
        prop_oneof![Just(Way::Home), Just(Way::Direct)]
    }

    proptest! {
        /// Whatever has happened: both are noticed when they come back, private things go directly, and what is said
        /// of upstream fits what is done.
        #[test]
        fn a_way_that_is_down_is_probed_and_no_secret_goes_through_home(
            events in proptest::collection::vec((way(), any::<bool>(), 0u64..30), 0..60),
            is_connected: bool,
        ) {
            let (mut ways, mut now) = (following(), s(0));
            let home = if is_connected { Home::Connected } else { Home::Absent };
            for (way, succeeds, later) in events {
                now += s(later);
                if succeeds { ways.succeeded(way); } else { ways.failed(way, Failure::Silent, "x", now); }
                let private = ways.order(Errand::Private, home, now);
                prop_assert_eq!(private, Order { first: Way::Direct, then: None });
                let order = ways.order(Errand::Public, home, now);
                let link = ways.link(home, now);
                if order.first == Way::Home || order.then.is_some() {
                    prop_assert!(is_connected);
                    prop_assert!(!matches!(link, Link::Down(_)));
                }
                if let Link::Down(_) = link {
                    let (at, _) = ways.probe_at(home).unwrap();
                    prop_assert!(at <= now + s(15));
                }
            }
        }
    }
}
