//! `open-registry resolve`: which IPFS address a version of a package has, in the words of the gateway that runs here.

use std::io::Write;
use std::str::FromStr;

use anyhow::Context;
use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::catalogue::Resolution;
use crate::config::Config;
use crate::explain::{ask, print};
use crate::fetch::{Content, InvalidContent};

/// What is to be resolved.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Request {
    /// A package and a version or dist-tag of it: left@1.0.0, @scope/left@latest
    #[arg(value_name = "name@version")]
    version: Version,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Version(String);

/// Why a text names no version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum InvalidVersion {
    #[error(transparent)]
    Content(#[from] InvalidContent),
    #[error("{0:?} names no version; write it like left@1.0.0, or left@latest")]
    Unsaid(String),
}

impl FromStr for Version {
    type Err = InvalidVersion;

    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        match text.parse::<Content>()?.version {
            Some(_) => Ok(Self(text.to_owned())),
            None => Err(InvalidVersion::Unsaid(text.to_owned())),
        }
    }
}

/// Asks the gateway that runs here.
///
/// # Errors
/// When none runs, or it says that something is missing: then in its words, with what is known all the same.
pub async fn run(request: &Request, config: &Config, out: &mut impl Write) -> anyhow::Result<()> {
    let content = utf8_percent_encode(&request.version.0, NON_ALPHANUMERIC);
    let said: Option<Resolution> =
        ask(config.operator.listen, &format!("/resolve?content={content}")).await?;
    let said = said.context(
        "no gateway answers at operator.listen, and only the one that runs knows what it publishes",
    )?;
    print(&said, request.json, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_resolved_is_a_version() {
        for text in ["left@1.0.0", "@scope/left@latest"] {
            assert_eq!(text.parse(), Ok(Version(text.to_owned())));
        }
        for (text, words) in
            [("left", "names no version"), ("@scope/left", "names no version"), ("left@", "no version")]
        {
            let error = text.parse::<Version>().unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
