//! What the facts mean for one address, and for one resolver.

use std::net::IpAddr;

use resolver::links::Class;

use super::super::facts::{Answer, Asked, Behind, Facts, Lookup};
use super::kinds::{is_behind_stub, is_bind, is_stub};
use crate::setup::Values;

/// The facts, and what follows from all of them together.
pub(super) struct View<'a> {
    pub(super) facts: &'a Facts,
    /// The gateway's addresses: as named, else where one answered.
    pub(super) gateways: Vec<IpAddr>,
}

/// Where an address leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leads {
    /// To a gateway, or where one should be.
    Home,
    /// To somebody else.
    Elsewhere,
}

/// What a resolver's answers come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The name leads to the gateway.
    Good(Vec<IpAddr>),
    /// No answer, and why.
    Mute(String),
    /// The name has no address.
    Emptied,
    /// The gateway's private addresses are missing, its public ones are not.
    Stripped(Vec<IpAddr>),
    /// There is no such name.
    NoName,
    /// The name leads elsewhere.
    Elsewhere(Vec<IpAddr>),
    /// IPv4 leads to the gateway, IPv6 elsewhere.
    Leaks(Vec<IpAddr>),
    /// Some addresses lead to the gateway, others elsewhere.
    Mixed(Vec<IpAddr>),
    /// The answer does not pass DNSSEC validation.
    Bogus,
    /// The resolver cannot find out, although the gateway answers, and would refuse private addresses that way.
    Denied,
    /// The resolver cannot find out.
    Broken,
    /// The resolver does not want to, with the name of its code.
    Refuses(String),
}

impl<'a> View<'a> {
    pub(super) fn of(facts: &'a Facts) -> Self {
        let named = facts.named.clone();
        let answering = facts.doors.iter().filter(|door| matches!(door.behind, Behind::Gateway { .. }));
        let gateways =
            if named.is_empty() { answering.map(|door| door.address.ip()).collect() } else { named };
        Self { facts, gateways }
    }

    /// Where an address leads. An address at which nobody answers is taken for a gateway's that is down where it is
    /// known to be one, or is private and could be.
    pub(super) fn leads(&self, ip: IpAddr) -> Leads {
        let named = self.facts.named.contains(&ip);
        let could_be = named || (self.facts.named.is_empty() && Class::of(ip) < Class::Public);
        let door = self.facts.doors.iter().find(|door| door.address.ip() == ip);
        match door.map(|door| (&door.behind, door.instead)) {
            Some((Behind::Gateway { .. } | Behind::Untrusted(_), _) | (_, Some(_))) => Leads::Home,
            Some((Behind::Other(_), None)) if !named => Leads::Elsewhere,
            _ if could_be => Leads::Home,
            _ => Leads::Elsewhere,
        }
    }

    /// Whether all of these lead to the gateway, and there is at least one.
    pub(super) fn all_home(&self, addresses: &[IpAddr]) -> bool {
        !addresses.is_empty() && addresses.iter().all(|ip| self.leads(*ip) == Leads::Home)
    }

    /// What programs on this host get, if that is an address.
    pub(super) fn found(&self) -> &[IpAddr] {
        match &self.facts.system {
            Lookup::Found(addresses) => addresses,
            Lookup::Failed(_) => &[],
        }
    }

    pub(super) fn verdict(&self, asked: &Asked) -> Verdict {
        let addresses = asked.addresses();
        if !addresses.is_empty() {
            return self.of_addresses(addresses);
        }
        match (&asked.a, &asked.aaaa) {
            (Answer::Silence(why), _) => Verdict::Mute(why.clone()),
            (Answer::ServerFailure, _) | (_, Answer::ServerFailure) => {
                let unchecked = asked.unchecked.as_ref();
                let found = unchecked.is_some_and(|answer| matches!(answer, Answer::Addresses(_)));
                let found = found || (is_stub(asked) && self.stub_validates());
                match () {
                    () if found => Verdict::Bogus,
                    () if self.could_deny(asked) => Verdict::Denied,
                    () => Verdict::Broken,
                }
            }
            (Answer::NoSuchName, _) => Verdict::NoName,
            (Answer::Refused, _) => Verdict::Refuses("REFUSED".into()),
            (Answer::Code(code), _) => Verdict::Refuses(code.clone()),
            (Answer::Addresses(_), _) => Verdict::Emptied,
        }
    }

    /// Whether systemd-resolved fails although a server behind it leads to the gateway. It validates also what is not
    /// to be checked.
    fn stub_validates(&self) -> bool {
        let setting = self.facts.resolved.as_ref().and_then(|resolved| resolved.dnssec.as_deref());
        let mut behind = self.facts.resolvers.iter().filter(|asked| is_behind_stub(asked));
        setting.is_some_and(|setting| setting != "no")
            && behind.any(|asked| self.all_home(&asked.addresses()))
    }

    /// BIND's `deny-answer-addresses` turns an answer into SERVFAIL, as an unreachable server does. This is said
    /// where the gateway answers, with a private address.
    fn could_deny(&self, asked: &Asked) -> bool {
        let is_private = |ip: IpAddr| Class::of(ip) < Class::Public;
        is_bind(asked) && self.facts.authorities.iter().flat_map(Asked::addresses).any(is_private)
    }

    fn of_addresses(&self, addresses: Vec<IpAddr>) -> Verdict {
        let strangers: Vec<IpAddr> =
            addresses.iter().copied().filter(|ip| self.leads(*ip) == Leads::Elsewhere).collect();
        let all_v6 = strangers.iter().all(IpAddr::is_ipv6);
        match strangers.len() {
            0 => Verdict::Good(addresses),
            all if all == addresses.len() && self.is_stripped(&addresses) => Verdict::Stripped(addresses),
            all if all == addresses.len() => Verdict::Elsewhere(addresses),
            _ if all_v6 && addresses.iter().any(IpAddr::is_ipv4) => Verdict::Leaks(strangers),
            _ => Verdict::Mixed(strangers),
        }
    }

    /// Whether these are what is left of the gateway's own answer without its private addresses.
    fn is_stripped(&self, addresses: &[IpAddr]) -> bool {
        let own: Vec<IpAddr> = self.facts.authorities.iter().flat_map(Asked::addresses).collect();
        let (private, public): (Vec<IpAddr>, Vec<IpAddr>) =
            own.iter().partition(|ip| Class::of(**ip) < Class::Public);
        !private.is_empty() && !public.is_empty() && addresses.iter().all(|ip| public.contains(ip))
    }

    /// What recipes are filled in with; `None` where no address of the gateway is known.
    pub(super) fn values(&self) -> Option<Values> {
        (!self.gateways.is_empty()).then(|| Values {
            zone: self.facts.zone.clone(),
            gateways: self.gateways.clone(),
            url: self.facts.url.clone(),
            ca: None,
            peer: None,
        })
    }

    /// The registry's address as it is written in a configuration.
    pub(super) fn url(&self) -> &str {
        self.facts.url.as_str().trim_end_matches('/')
    }
}

/// `192.168.7.9, fd00::9`
pub(super) fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
