//! `open-registry doctor`: does the name lead to the gateway from here, and if it does not, what is in the way?
//!
//! [`probe`] finds out, at once and within a time limit, and leaves plain [`facts`]; [`diagnose`] is a function from
//! these to findings, each with its cause and the exact fix; [`report`] prints them.

mod diagnose;
mod facts;
mod probe;
mod report;

use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use url::Url;

use crate::config::Loaded;
use crate::setup::{parse_address, parse_url};

pub use diagnose::{Finding, Level, diagnose};
pub use facts::Facts;

/// What is to be looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct Request {
    /// An address of the gateway, to compare answers with; may be given more than once
    #[arg(long, value_name = "ip", value_parser = parse_address)]
    gateway: Vec<IpAddr>,

    /// The registry's address as clients write it
    #[arg(long, value_name = "url", value_parser = parse_url)]
    url: Option<Url>,

    /// The file with the certificate authority that clients trust for it
    #[arg(long, value_name = "file")]
    ca: Option<PathBuf>,

    /// Look at this computer as the gateway's, also before it runs one
    #[arg(long)]
    here: bool,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Looks, and prints what was found to `out`. True if there is no problem.
///
/// # Errors
/// When it cannot be written, or the file of the certificate authority cannot be read.
pub async fn run(request: &Request, loaded: &Loaded, out: &mut impl Write) -> anyhow::Result<bool> {
    let facts = probe::probe(request, loaded).await?;
    let findings = diagnose(&facts);
    match request.json {
        true => report::json(&findings, out)?,
        false => report::text(&findings, out)?,
    }
    Ok(!findings.iter().any(|finding| finding.level == Level::Problem))
}
