//! A whole decision, to be read: where a client is, what became of each candidate, and what the client is told.

use std::fmt;
use std::net::IpAddr;

use resolver::answer::{Answer, Facts, Kind, answer};
use resolver::asker::Asker;
use resolver::peer::PeerId;
use resolver::rank::table::THIS;
use resolver::rank::{Considered, Purpose, Ranked, Rejection};
use resolver::zone::Location;
use serde::{Deserialize, Serialize};

use super::Complaint;
use super::own::{Own, StandIn};

/// Why somebody is told whom he is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Who asks.
    pub client: Client,
    /// What DNS tells him.
    pub answers: Vec<Told>,
    /// How many bits of his address it depends on.
    pub scope: u8,
    /// Seconds until it can change.
    pub changes_in_s: Option<u16>,
    /// Somebody fares in a way that is about to change.
    pub degraded: bool,
    /// It has been seen for a while how everybody fares.
    pub settled: bool,
    /// Everybody, the best first and those without a rank last.
    pub candidates: Vec<Judged>,
    /// How many more there are than are listed.
    pub omitted: usize,
}

/// A client, and what is known of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Client {
    /// Its address.
    pub address: IpAddr,
    /// How that is known.
    pub known_by: String,
    /// What of it counts.
    pub network: String,
    /// It is of a private network of this gateway's.
    pub at_home: bool,
    /// Degrees north and east.
    pub place: Option<(f32, f32)>,
    /// Kilometres within which that is true.
    pub accuracy_km: Option<u16>,
    /// ISO 3166-1.
    pub country: Option<String>,
    /// Two letters.
    pub continent: Option<String>,
    /// Its autonomous system.
    pub asn: Option<u32>,
    /// The prefix for which databases say all this.
    pub prefix: u8,
}

/// One kind of records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// `A` or `AAAA`.
    pub kind: String,
    /// The best one first.
    pub addresses: Vec<IpAddr>,
    /// This gateway among them, where it is not known which of its addresses a client would come to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<Own>,
    /// Seconds that it holds.
    pub ttl: Option<u32>,
}

/// A candidate, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// Its id.
    pub peer: Option<PeerId>,
    /// It is the gateway that says all this.
    pub this: bool,
    /// How it fares.
    pub state: String,
    /// Why it is not told.
    pub rejected: Option<String>,
    /// What its last probe has found wrong, and where; only the operator is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complaint: Option<String>,
    /// Its rank.
    #[serde(flatten)]
    pub rank: Option<Rank>,
}

/// Where a candidate stands, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rank {
    /// How it is related to the client.
    pub tier: String,
    /// The length of the declared network that both share.
    pub declared: Option<u8>,
    /// It has just failed.
    pub suspect: bool,
    /// Milliseconds, all together.
    pub cost_ms: f64,
    /// Of these: the way there and back, another network, borders, waiting there.
    pub parts_ms: [f64; 4],
    /// The step of cost.
    pub bucket: i16,
    /// Its score in the rendezvous: higher comes first.
    pub score: f64,
    /// The part of its clients that it gets.
    pub weight: f32,
    /// How busy it says it is.
    pub load: f32,
    /// Its addresses that can be told to this client.
    pub addresses: Vec<IpAddr>,
}

impl Explanation {
    /// Explains what this asker is told; at most `most` candidates are listed.
    #[must_use]
    pub fn of(facts: &Facts, asker: &Asker, known_by: &str, most: usize) -> Self {
        let client = facts.client(asker);
        let decision = facts.peers.decide(&client, Purpose::Answer);
        let considered = facts.peers.explain(&client, Purpose::Answer);
        let stand_in = StandIn::of(asker, facts);
        Self {
            client: Client::of(asker, &client, known_by),
            answers: [("A", Kind::A), ("AAAA", Kind::Aaaa)]
                .map(|(name, kind)| told(name, kind, asker, facts, stand_in.as_ref()))
                .into(),
            scope: decision.scope,
            changes_in_s: decision.changes_in_s,
            degraded: decision.degraded,
            settled: facts.peers.settled,
            candidates: considered.iter().take(most).map(|one| Judged::of(one, facts)).collect(),
            omitted: considered.len().saturating_sub(most),
        }
    }

    /// With what was found wrong with those who are not told.
    #[must_use]
    pub fn with_complaints(mut self, of: impl Fn(&PeerId) -> Option<Complaint>) -> Self {
        for one in self.candidates.iter_mut().filter(|one| one.rejected.is_some()) {
            let complaint = one.peer.as_ref().and_then(&of);
            one.complaint = complaint.map(|complaint| format!("{}: {}", complaint.target, complaint.words));
        }
        self
    }
}

fn told(name: &str, kind: Kind, asker: &Asker, facts: &Facts, stand_in: Option<&StandIn>) -> Told {
    let (addresses, ttl, own) = match stand_in {
        Some(stand_in) => stand_in.told(kind, asker),
        None => match answer(Location::Apex, kind, asker, facts) {
            Answer::Addresses { addresses, ttl, .. } => (addresses, Some(ttl), None),
            _ => (Vec::new(), None, None),
        },
    };
    Told { kind: name.to_owned(), addresses, own, ttl }
}

impl Client {
    fn of(asker: &Asker, client: &resolver::rank::Client, known_by: &str) -> Self {
        let there = &asker.whereabouts;
        Self {
            address: asker.arrival.client,
            known_by: known_by.to_owned(),
            network: client.network().to_string(),
            at_home: client.at_home,
            place: there.place.map(|place| (place.latitude, place.longitude)),
            accuracy_km: there.place.map(|place| place.accuracy_km),
            country: there.country.map(|code| code.to_string()),
            continent: there.continent.map(|code| code.to_string()),
            asn: there.asn,
            prefix: there.prefix,
        }
    }
}

impl Judged {
    fn of(one: &Considered<'_>, facts: &Facts) -> Self {
        let standing = &facts.peers.standings[one.number as usize];
        Self {
            peer: one.candidate.id,
            this: one.number == THIS,
            state: standing.state.name().to_owned(),
            rejected: one.verdict.err().map(Rejection::words),
            complaint: None,
            rank: one.verdict.ok().map(|ranked| Rank::of(&ranked, facts)),
        }
    }
}

impl Rank {
    fn of(ranked: &Ranked, facts: &Facts) -> Self {
        let standing = &facts.peers.standings[ranked.number as usize];
        let cost = &ranked.cost;
        Self {
            tier: ranked.tier.name().to_owned(),
            declared: (ranked.prefix > 0).then_some(ranked.prefix),
            suspect: ranked.suspect,
            cost_ms: round(cost.total()),
            parts_ms: [cost.round_trip, cost.network, cost.border, cost.load].map(round),
            bucket: ranked.bucket,
            score: ranked.score,
            weight: standing.weight,
            load: standing.load,
            addresses: facts.peers.addresses(ranked).map(|endpoint| endpoint.address).collect(),
        }
    }
}

/// Hundredths of a millisecond are more than anybody knows.
fn round(ms: f64) -> f64 {
    (ms * 100.0).round() / 100.0
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.client)?;
        for told in &self.answers {
            writeln!(f, "{told}")?;
        }
        let until = self.changes_in_s.map_or("with the configuration".to_owned(), |s| format!("in {s} s"));
        let scope = self.scope;
        write!(
            f,
            "The same for whoever shares the first {scope} bits of the address; it can change {until}"
        )?;
        f.write_str(if self.degraded { ", or at any moment" } else { "" })?;
        f.write_str(if self.settled { "\n\n" } else { " (it is not long since the start)\n\n" })?;
        for (candidate, place) in self.candidates.iter().zip(1..) {
            match &candidate.rank {
                Some(rank) => writeln!(f, "{place:>3}. {candidate}\n     {rank}")?,
                None => writeln!(f, "  -  {candidate}")?,
            }
        }
        match self.omitted {
            0 => Ok(()),
            more => writeln!(f, "  and {more} more"),
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client {} ({}), counted as {}", self.address, self.known_by, self.network)?;
        f.write_str(if self.at_home { ", of a private network of this gateway\n" } else { "\n" })?;
        let text = |what: &str, fact: &Option<String>| fact.as_ref().map(|fact| format!("{what} {fact}"));
        let near =
            self.accuracy_km.filter(|km| *km > 0).map_or(String::new(), |km| format!(" (within {km} km)"));
        let known = [
            text("country", &self.country),
            text("continent", &self.continent),
            self.asn.map(|asn| format!("AS{asn}")),
            self.place.map(|(latitude, longitude)| format!("at {latitude:.2}, {longitude:.2}{near}")),
        ];
        let known: Vec<_> = known.into_iter().flatten().collect();
        match known.as_slice() {
            [] => f.write_str("  where it is on Earth is not known"),
            known => write!(f, "  {}; the same for its /{}", known.join(", "), self.prefix),
        }
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut addresses: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
        if let Some(own) = &self.own {
            addresses.insert(own.place.min(addresses.len()), own.words.clone());
        }
        match self.ttl {
            Some(ttl) => write!(f, "{}: {}, for {ttl} s", self.kind, addresses.join(", ")),
            None => write!(f, "{}: none", self.kind),
        }
    }
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.peer.map_or_else(|| "without an id".to_owned(), |id| id.to_string());
        write!(f, "{id}{}", if self.this { " (this gateway)" } else { "" })?;
        match &self.rejected {
            Some(words) => write!(f, ": {words}")?,
            None => write!(f, ": {}", self.state)?,
        }
        match &self.complaint {
            Some(complaint) => write!(f, " ({complaint})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let declared = self.declared.map_or(String::new(), |prefix| format!(" /{prefix}"));
        let [way, network, border, load] = self.parts_ms;
        write!(
            f,
            "{}{declared}; {} ms ({way} way, {network} other network, {border} borders, {load} load), bucket {}, score {:.3}",
            self.tier, self.cost_ms, self.bucket, self.score
        )?;
        if self.weight < 1.0 {
            write!(f, "; gets {:.0} % of its clients", self.weight * 100.0)?;
        }
        let addresses: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
        match addresses.as_slice() {
            [] => Ok(()),
            addresses => write!(f, "; {}", addresses.join(", ")),
        }
    }
}
