//! `open-registry setup`: the lines that point a resolver or a client at the gateway.
//!
//! [`recipe`] fills in a template, [`catalogue`] has all that exist, [`addresses`] and [`site`] find out what is to be
//! filled in where nobody says.

mod addresses;
mod catalogue;
mod recipe;
mod site;

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use resolver::peer::PeerId;
use url::Url;

use crate::config::Config;

pub use addresses::{Interface, NoAddress, interfaces};
pub use catalogue::{Audience, CATALOGUE, Entry, Needs, Unknown, find};
pub use recipe::{Recipe, Values};
pub use site::{Said, Site, default_url, parse_address, parse_url};

const GUIDE: &str = include_str!("guide.txt");

/// What is to be set up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct Request {
    /// A resolver or a client, such as "dnsmasq" or "npm"; none: a short guide
    what: Option<String>,

    /// List all names that can be given
    #[arg(long, conflicts_with = "what")]
    list: bool,

    /// An address of the gateway; may be given more than once
    #[arg(long, value_name = "ip", value_parser = site::parse_address)]
    address: Vec<IpAddr>,

    /// The registry's address as clients are to write it
    #[arg(long, value_name = "url", value_parser = site::parse_url)]
    url: Option<Url>,

    /// The file with the certificate authority that clients are to trust
    #[arg(long, value_name = "file")]
    ca: Option<PathBuf>,
}

impl Request {
    /// Whether the gateway's id is to be filled in.
    #[must_use]
    pub fn is_about_peers(&self) -> bool {
        let entry = self.what.as_deref().and_then(|what| find(what).ok());
        entry.is_some_and(|entry| entry.needs == Needs::Peers)
    }

    fn said(&self) -> Said<'_> {
        Said { addresses: &self.address, url: self.url.as_ref(), ca: self.ca.as_deref() }
    }
}

/// Prints what was asked for to `out`, and what was assumed on the way to `notes`. `own` is the gateway's id, as far as that is
/// known.
///
/// # Errors
/// When the name is unknown, when no address is to be found, or when it cannot be written.
pub fn run(
    request: &Request,
    config: &Config,
    own: Option<PeerId>,
    out: &mut impl Write,
    notes: &mut impl Write,
) -> anyhow::Result<()> {
    if request.list {
        return Ok(list(out)?);
    }
    let Some(what) = &request.what else {
        let guide = Recipe(GUIDE).render(&Site::of(&request.said(), config, &[])?.values);
        return Ok(out.write_all(guide.as_bytes())?);
    };
    let entry = find(what)?;
    let needs_address = entry.needs >= Needs::Address;
    let interfaces = if needs_address { interfaces()? } else { Vec::new() };
    let mut site = Site::of(&request.said(), config, &interfaces)?;
    if needs_address {
        site.require_address()?;
    }
    if entry.needs == Needs::Peers {
        site.values.peer = Some(peer(config, own)?);
    }
    out.write_all(entry.recipe.render(&site.values).as_bytes())?;
    for note in site.notes(entry, config) {
        writeln!(notes, "note: {note}")?;
    }
    Ok(())
}

/// Who the gateway is, and where its peers connect.
fn peer(config: &Config, own: Option<PeerId>) -> anyhow::Result<(PeerId, u16)> {
    let own = own.context(
        "this is about a gateway's id, and no gateway runs here: start it once, or name its data directory with --data",
    )?;
    let listen =
        config.federation.listen.first().context("federation.listen is empty: this gateway has no peers")?;
    Ok((own, listen.port()))
}

fn list(out: &mut impl Write) -> io::Result<()> {
    for (audience, heading) in [
        (Audience::Network, "For a network: one of these, on the resolver or the DHCP server"),
        (Audience::Computer, "For one computer"),
        (Audience::Client, "For a client of the registry"),
        (Audience::Gateway, "For the computer that the gateway runs on"),
    ] {
        writeln!(out, "{heading}:")?;
        for entry in CATALOGUE.iter().filter(|entry| entry.audience == audience) {
            let others = match entry.names {
                [_] => String::new(),
                names => format!(" (also: {})", names[1..].join(", ")),
            };
            writeln!(out, "  {:<22}{}{others}", entry.names[0], entry.recipe.sentence())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
