//! Home, the gateway whose word on metadata is taken: whom the configuration names, and how the rest learns of it.

use anyhow::bail;
use resolver::peer::PeerId;

use crate::config::Config;
use crate::swarm::{Contact, Swarm};
use crate::terminal::say;
use crate::upstream::{Following, Upstream, UpstreamError};

/// From now on upstream is asked through home, if there is one and it may be asked.
///
/// # Errors
/// When it is this gateway itself.
pub(super) fn follow(config: &Config, own: PeerId, swarm: Swarm, upstream: &Upstream) -> anyhow::Result<()> {
    let Some(contact) = &config.federation.home else { return Ok(()) };
    if contact.id == own {
        bail!(
            "federation.home (--federate) names this gateway itself ({contact}): name the one that is to be followed, or \
             leave it out"
        );
    }
    upstream.follow(Following { contact: contact.clone(), own, swarm });
    Ok(())
}

/// Where upstream is looked for first.
pub(super) fn first(home: Option<&Contact>, upstream: &Upstream) -> String {
    home.map_or_else(|| upstream.base().to_owned(), Contact::to_string)
}

/// Tells people what has come of looking for it.
pub(super) fn tell(home: Option<&Contact>, upstream: &Upstream, answered: Result<(), UpstreamError>) {
    let cause = upstream.home().and_then(|home| home.cause);
    match (home.filter(|_| cause.is_some()), answered) {
        (_, Err(UpstreamError::Offline)) => say("Offline: serving what is held, connecting to nobody"),
        (Some(_), Ok(())) => {
            say(&format!("Home does not answer ({}); upstream itself does", cause.unwrap_or_default()));
        }
        (None, Ok(())) => say(if home.is_some() { "Home answers" } else { "Upstream answers" }),
        (_, Err(error)) => {
            let who =
                if home.is_some() { "Neither home nor upstream answers" } else { "Upstream does not answer" };
            say(&format!("{who} ({error}); serving what is held"));
        }
    }
}
