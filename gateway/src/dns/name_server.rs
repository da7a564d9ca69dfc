//! The address of a resolver, as it is written in a configuration.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The port of DNS (RFC 1035, section 4.2).
const PORT: u16 = 53;

/// A name server's address, written with or without its port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NameServer(pub SocketAddr);

/// A text that is not the address of a name server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address; write it like \"192.168.7.1\" or \"[fd00::1]:5353\"")]
pub struct NotANameServer(String);

impl FromStr for NameServer {
    type Err = NotANameServer;

    fn from_str(text: &str) -> Result<Self, NotANameServer> {
        let with_port = || text.parse::<SocketAddr>().ok();
        let alone = || text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, PORT));
        with_port().or_else(alone).map(Self).ok_or_else(|| NotANameServer(text.to_owned()))
    }
}

impl TryFrom<String> for NameServer {
    type Error = NotANameServer;

    fn try_from(text: String) -> Result<Self, NotANameServer> {
        text.parse()
    }
}

impl From<NameServer> for String {
    fn from(server: NameServer) -> Self {
        server.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_server_needs_no_port() {
        let server = |text: &str| text.parse::<NameServer>().map(|server| server.0.to_string());
        assert_eq!(server("192.168.7.1").unwrap(), "192.168.7.1:53");
        assert_eq!(server("fd00::1").unwrap(), "[fd00::1]:53");
        assert_eq!(server("[fd00::1]:5353").unwrap(), "[fd00::1]:5353");
        for refused in ["", "router", "192.168.7.1:", "192.168.7.1:99999", "[fd00::1]"] {
            assert!(server(refused).is_err(), "{refused:?}");
        }
    }
}
