//! Whether a request for a tarball may be sent on to a peer, and to which.
//!
//! A redirect is an offer to be quicker, and everything about it has to be right: one thing that is not, and the request is
//! served here. Packuments are never redirected: the peer's host would end up in lockfiles.

use alloc::format;
use alloc::string::String;
use core::net::IpAddr;

use crate::client::checks_digests;
use crate::peer::{PeerId, Scheme};
use crate::rank::table::THIS;
use crate::rank::{Client, Purpose, Ranked, Snapshot};

/// What a request for a tarball shows.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The operator wants redirects.
    pub enabled: bool,
    /// It is a GET for the whole: ranges belong to bytes that a client has the beginning of.
    pub whole: bool,
    /// It carries credentials, or is for a private scope.
    pub secret: bool,
    /// It was redirected before, or comes from a peer.
    pub relayed: bool,
    /// How the client speaks to us.
    pub scheme: Scheme,
    /// Its `User-Agent`.
    pub user_agent: Option<&'a str>,
}

/// Why a request is served here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Here {
    /// The operator does not want redirects.
    Disabled,
    /// It is no GET for the whole.
    NotWhole,
    /// It carries credentials, or is for a private scope.
    Secret,
    /// One hop is enough.
    Relayed,
    /// The client is not known to check digests.
    Unverified,
    /// Nobody is nearer.
    Nearest,
    /// Whoever is nearer is not known to have the bytes.
    NotHeld,
}

/// A peer to be sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Who.
    pub id: PeerId,
    /// Scheme, host and port, without a slash at the end.
    pub base: String,
}

impl Asked<'_> {
    /// Whether such a request may be redirected at all.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), Here> {
        let conditions = [
            (self.enabled, Here::Disabled),
            (self.whole, Here::NotWhole),
            (!self.secret, Here::Secret),
            (!self.relayed, Here::Relayed),
            (checks_digests(self.user_agent), Here::Unverified),
        ];
        conditions.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, here)| Err(here))
    }

    /// The nearest of those that are nearer than this gateway and known to have the bytes, which `holds` says.
    ///
    /// # Errors
    /// Why the request is served here.
    pub fn target(
        &self,
        snapshot: &Snapshot,
        client: &Client,
        mut holds: impl FnMut(&Target) -> bool,
    ) -> Result<Target, Here> {
        self.check()?;
        let https = self.scheme == Scheme::Https;
        let decision = snapshot.decide(client, Purpose::Redirect { https });
        let nearer = decision.ranked.iter().take_while(|one| one.number != THIS);
        let own = snapshot.rank_of(client, Purpose::Redirect { https }, THIS);
        let mut nearer =
            nearer.filter(|one| !one.suspect && own.is_none_or(|own| is_nearer(one, &own))).peekable();
        nearer.peek().ok_or(Here::Nearest)?;
        let mut targets = nearer.filter_map(|one| target(snapshot, one, https));
        targets.find(|target| holds(target)).ok_or(Here::NotHeld)
    }
}

/// Strictly: whoever is as near as this gateway has nothing to offer but another connection.
fn is_nearer(one: &Ranked, own: &Ranked) -> bool {
    let key = |ranked: &Ranked| (ranked.tier, core::cmp::Reverse(ranked.prefix), ranked.bucket);
    key(one) < key(own)
}

/// An address that DNS would tell as well, or one of the URLs. Never from https to http.
fn target(snapshot: &Snapshot, ranked: &Ranked, https: bool) -> Option<Target> {
    let candidate = snapshot.table.candidate(ranked.number);
    let id = candidate.id.filter(|_| candidate.admitted)?;
    let standing = &snapshot.standings[ranked.number as usize];
    let plain = snapshot.addresses(ranked).next().filter(|_| !https).map(|endpoint| match endpoint.address {
        IpAddr::V4(v4) => format!("http://{v4}"),
        IpAddr::V6(v6) => format!("http://[{v6}]"),
    });
    let mut urls = candidate
        .urls
        .iter()
        .zip(0..8_u32)
        .filter(|(url, nth)| standing.urls >> nth & 1 == 1 && (!https || url.starts_with("https://")));
    let base = plain.or_else(|| urls.next().map(|(url, _)| url.clone()))?;
    Some(Target { id, base })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::Whereabouts;
    use crate::health::State;
    use crate::links::Links;
    use crate::peer::{Endpoint, Peer};
    use crate::rank::Table;
    use crate::rank::table::{Standing, This};
    use alloc::string::ToString;
    use alloc::sync::Arc;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const NPM: Option<&str> = Some("npm/11.6.2 node/v24.1.0 linux x64");

    fn good() -> Asked<'static> {
        Asked {
            enabled: true,
            whole: true,
            secret: false,
            relayed: false,
            scheme: Scheme::Http,
            user_agent: NPM,
        }
    }

    /// A peer that serves the client's network.
    fn peer(nth: u8, urls: &[&str]) -> Peer {
        Peer {
            id: PeerId::of_key([nth; 32]),
            endpoints: vec![Endpoint { address: [8, 8, 8, nth].into(), https: false }],
            urls: urls.iter().map(ToString::to_string).collect(),
            whereabouts: Whereabouts::default(),
            networks: vec!["9.9.9.0/24".parse().unwrap()],
            capacity: 1.0,
            admitted: true,
        }
    }

    fn standing(state: State) -> Standing {
        let usable = if state.is_usable() { 0xff } else { 0 };
        Standing { endpoints: usable, urls: usable, state, ..Standing::own(true, 0.0) }
    }

    fn snapshot(peers: Vec<(Peer, Standing)>) -> Snapshot {
        let (peers, standings): (Vec<_>, Vec<_>) = peers.into_iter().unzip();
        let table = Table::new(&This::default(), peers, &Links::default());
        let own = [Standing::own(true, 0.0)];
        Snapshot::new(Arc::new(table), own.into_iter().chain(standings).collect(), true)
    }

    fn client() -> Client {
        Client::new("9.9.9.9/32".parse().unwrap(), false, Whereabouts::default())
    }

    fn one(peer: Peer) -> Snapshot {
        snapshot(vec![(peer, standing(State::Up))])
    }

    fn base(asked: &Asked<'_>, snapshot: &Snapshot) -> Result<String, Here> {
        asked.target(snapshot, &client(), |_| true).map(|target| target.base)
    }

    #[test]
    fn a_nearer_peer_that_has_the_bytes_is_where_a_client_is_sent() {
        let name = "https://npm.example.edu";
        assert_eq!(base(&good(), &one(peer(7, &[name]))).unwrap(), "http://8.8.8.7");
        let https = Asked { scheme: Scheme::Https, ..good() };
        assert_eq!(base(&https, &one(peer(7, &["http://a.example", name]))).unwrap(), name);
    }

    #[test]
    fn https_never_leads_to_http() {
        let https = Asked { scheme: Scheme::Https, ..good() };
        assert_eq!(base(&https, &one(peer(7, &["http://a.example"]))), Err(Here::Nearest));
        assert_eq!(base(&https, &one(peer(7, &[]))), Err(Here::Nearest));
    }

    #[test]
    fn whoever_has_no_such_bytes_is_passed_over() {
        let two = snapshot(vec![(peer(7, &[]), standing(State::Up)), (peer(8, &[]), standing(State::Up))]);
        for nth in [7, 8] {
            let holder = PeerId::of_key([nth; 32]);
            let target = good().target(&two, &client(), |target| target.id == holder).unwrap();
            assert_eq!(target.id, holder);
        }
        assert_eq!(good().target(&two, &client(), |_| false), Err(Here::NotHeld));
    }

    #[test]
    fn nobody_is_sent_to_a_peer_that_is_no_nearer() {
        let elsewhere = Peer { networks: Vec::new(), ..peer(7, &[]) };
        let home = This { networks: vec!["9.9.9.0/24".parse().unwrap()], ..This::default() };
        let table = Table::new(&home, [peer(7, &[])], &Links::default());
        let as_near =
            Snapshot::new(Arc::new(table), vec![Standing::own(true, 0.0), standing(State::Up)], true);
        assert_eq!(base(&good(), &as_near), Err(Here::Nearest));
        let table = Table::new(&home, [elsewhere], &Links::default());
        let farther =
            Snapshot::new(Arc::new(table), vec![Standing::own(true, 0.0), standing(State::Up)], true);
        assert_eq!(base(&good(), &farther), Err(Here::Nearest));
        let unknown = Peer { networks: Vec::new(), ..peer(7, &[]) };
        assert_eq!(base(&good(), &one(unknown)), Err(Here::Nearest), "nobody knows who is nearer");
    }

    #[test]
    fn a_redirect_leads_where_dns_would_lead() {
        let at = |longitude: f32| Whereabouts {
            place: Some(crate::geo::Place { latitude: 0.0, longitude, accuracy_km: 0 }),
            ..Whereabouts::default()
        };
        let nowhere = Whereabouts::default();
        for (this, there, here, expected) in [
            (nowhere, at(1.0), at(0.0), true),
            (nowhere, at(90.0), at(0.0), false),
            (at(90.0), at(1.0), at(0.0), true),
            (at(90.0), nowhere, at(0.0), false),
            (at(90.0), at(1.0), nowhere, false),
            (nowhere, nowhere, nowhere, false),
        ] {
            let peer = Peer { networks: Vec::new(), whereabouts: there, ..peer(7, &[]) };
            let table = Table::new(&This { whereabouts: this, ..This::default() }, [peer], &Links::default());
            let standings = vec![Standing::own(true, 0.0), standing(State::Up)];
            let snapshot = Snapshot::new(Arc::new(table), standings, true);
            for nth in 0..32 {
                let client = Client::new(IpAddr::from([9, 9, nth, 9]).into(), false, here);
                let target = good().target(&snapshot, &client, |_| true);
                let first = snapshot.decide(&client, Purpose::Answer).ranked[0].number;
                assert_eq!(
                    (target.is_ok(), first != THIS),
                    (expected, expected),
                    "{this:?} {there:?} {here:?}"
                );
            }
        }
    }

    fn state() -> impl Strategy<Value = State> {
        let others = [State::Suspect, State::Draining, State::Unknown, State::Down];
        prop_oneof![3 => Just(State::Up), 1 => prop::sample::select(others.to_vec())]
    }

    proptest! {
        #[test]
        fn each_condition_that_is_broken_means_no_redirect(
            broken in prop::collection::vec(prop::bool::weighted(0.1), 5),
            user_agent in prop::sample::select(vec![NPM, Some("yarn/4.12.0"), Some("curl/8"), None]),
            admitted in prop::bool::weighted(0.8), state in state(), quarantined in prop::bool::weighted(0.1),
            holds in prop::bool::weighted(0.8), https in prop::bool::weighted(0.3), has_https: bool,
        ) {
            let asked = Asked {
                enabled: !broken[0],
                whole: !broken[1],
                secret: broken[2],
                relayed: broken[3],
                scheme: if https { Scheme::Https } else { Scheme::Http },
                user_agent,
            };
            let peer = peer(7, if has_https { &["https://npm.example.edu"] } else { &[] });
            let standing = Standing { quarantined_s: quarantined.then_some(60), ..standing(state) };
            let snapshot = snapshot(vec![(Peer { admitted, ..peer }, standing)]);
            let redirected = asked.target(&snapshot, &client(), |_| holds);
            let expected = !broken[..4].contains(&true)
                && user_agent == NPM
                && admitted
                && state == State::Up
                && !quarantined
                && holds
                && (has_https || !https);
            prop_assert_eq!(redirected.is_ok(), expected, "{:?}", redirected);
        }
    }
}
