//! Where an HTTP server is, as an address line says it, and which of such places are one's own.

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::links::{Class, Links};
use crate::peer::Scheme;
use crate::zone::Zone;

/// A scheme, a host and a port. Written like the authority of a URL in its one plain form (RFC 3986, section 6.2): lower case, no
/// port that the scheme means anyway, IPv6 as RFC 5952 has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    scheme: Scheme,
    host: Host,
    port: u16,
}

/// Who is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// An address; one of IPv4 is never written as IPv6.
    Address(IpAddr),
    /// A name.
    Name(String),
}

/// A text that is no authority, or not in its plain form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no authority; it looks like \"192.0.2.7\", \"[2001:db8::7]:8080\" or \"registry.example.com\""
)]
pub struct NotAnAuthority(String);

/// What is this gateway's own, so that it may sign for it.
#[derive(Debug, Clone, Copy)]
pub struct Own<'a> {
    /// The machine's links.
    pub links: &'a Links,
    /// Addresses that the operator says are this gateway's, wherever they are.
    pub addresses: &'a [IpAddr],
    /// Host names that the operator says are this gateway's; lower case.
    pub names: &'a [String],
    /// Ports that it listens on.
    pub ports: &'a [u16],
}

/// How a gateway was asked for a proof.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// Its address that the question came to; `None` behind a proxy of its own, which tells no such thing.
    pub at: Option<IpAddr>,
    /// How it came.
    pub scheme: Scheme,
}

/// Why an authority is not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    /// Somebody else's host.
    #[error(
        "{0} is not this gateway's: it is neither an address of this machine nor in zone.addresses or an own [[peer]] entry"
    )]
    Host(Authority),
    /// Nobody comes in there.
    #[error("this gateway does not listen on port {0}")]
    Port(u16),
    /// It may not be there at all.
    #[error("this was asked over {0}, and is about another scheme")]
    Scheme(&'static str),
    /// Another machine may have that address in another network.
    #[error("{0} is an address of a private network, and this gateway was not asked at it")]
    AskedElsewhere(Authority),
}

impl Authority {
    /// An address, at a port.
    #[must_use]
    pub fn at(scheme: Scheme, address: IpAddr, port: u16) -> Self {
        Self { scheme, host: Host::Address(address.to_canonical()), port }
    }

    /// Reads one in its plain form.
    ///
    /// # Errors
    /// [`NotAnAuthority`] for anything else.
    pub fn parse(scheme: Scheme, text: &str) -> Result<Self, NotAnAuthority> {
        let refused = || NotAnAuthority(text.to_owned());
        // In brackets colons do not part.
        let (host, port) = match text.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
            Some((host, port)) => (host, port.parse().map_err(|_| refused())?),
            None => (text, scheme.port()),
        };
        let host = Host::parse(host).ok_or_else(refused)?;
        let authority = Self { scheme, host, port };
        // What can be written in two ways could be signed for one and used for the other.
        if port != 0 && authority.to_string() == text { Ok(authority) } else { Err(refused()) }
    }

    /// How clients speak there.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its host as names of servers are written: without a port, and IPv6 without brackets.
    #[must_use]
    pub fn host(&self) -> String {
        match &self.host {
            Host::Address(address) => address.to_string(),
            Host::Name(name) => name.clone(),
        }
    }

    /// Its host, if that is an address.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self.host {
            Host::Address(address) => Some(address),
            Host::Name(_) => None,
        }
    }
}

impl Host {
    fn parse(text: &str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[') {
            let v6: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
            return Some(Self::Address(IpAddr::V6(v6).to_canonical()));
        }
        if let Ok(v4) = text.parse::<Ipv4Addr>() {
            return Some(Self::Address(v4.into()));
        }
        // A last label of digits would be an address to those who read it as RFC 3986 does, or WHATWG.
        let last = text.rsplit('.').next()?;
        let name: Zone = text.parse().ok()?;
        let is_number = last.starts_with(|first: char| first.is_ascii_digit());
        (!is_number).then(|| Self::Name(name.as_str().to_owned()))
    }
}

impl Own<'_> {
    /// Whether this gateway may say that an authority is its own.
    ///
    /// # Errors
    /// [`Foreign`]: somebody else may be there.
    pub fn check(&self, authority: &Authority, asked: Asked) -> Result<(), Foreign> {
        if asked.scheme != authority.scheme {
            return Err(Foreign::Scheme(asked.scheme.name()));
        }
        let port = authority.port;
        if ![Scheme::Http.port(), Scheme::Https.port()].contains(&port) && !self.ports.contains(&port) {
            return Err(Foreign::Port(port));
        }
        let foreign = || Foreign::Host(authority.clone());
        let address = match &authority.host {
            Host::Name(name) => {
                return if self.names.contains(name) { Ok(()) } else { Err(foreign()) };
            }
            Host::Address(address) => *address,
        };
        let asked_there = asked.at.is_some_and(|at| at.to_canonical() == address);
        if asked_there || self.addresses.iter().any(|own| own.to_canonical() == address) {
            return Ok(());
        }
        if !self.links.has(address) {
            return Err(foreign());
        }
        match is_everywhere_the_same(address) || asked.at.is_none() {
            true => Ok(()),
            false => Err(Foreign::AskedElsewhere(authority.clone())),
        }
    }
}

/// Whether an address leads to the same machine from everywhere: it is neither of a private network nor of a carrier's
/// (RFC 6598), of which there are many with the same numbers.
#[must_use]
pub fn is_everywhere_the_same(address: IpAddr) -> bool {
    let of_a_carrier = match address.to_canonical() {
        IpAddr::V4(v4) => v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64,
        IpAddr::V6(_) => false,
    };
    Class::of(address) == Class::Public && !of_a_carrier
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(IpAddr::V6(v6)) => write!(f, "[{v6}]")?,
            Host::Address(IpAddr::V4(v4)) => write!(f, "{v4}")?,
            Host::Name(name) => f.write_str(name)?,
        }
        if self.port == self.scheme.port() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}
