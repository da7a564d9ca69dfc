//! What a home has to say to all who follow it, as the swarm carries it: a text that its author has signed. What is in it, and
//! whether it is to be believed, others know.

use std::sync::Arc;
use std::time::Duration;

use libp2p::gossipsub::{
    self, Behaviour, ConfigBuilder, IdentTopic, IdentityTransform, MessageAcceptance, MessageAuthenticity,
    MessageId, ValidationMode, WhitelistSubscriptionFilter,
};
use resolver::peer::PeerId;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;
use tokio::time::timeout;

/// The longest text, and what stands around it when it is passed on.
pub(super) const LONGEST: usize = resolver::directory::LONGEST;
const AROUND: usize = 1024;
/// The longest that asking for one may take.
const ASKING: Duration = Duration::from_secs(20);
/// How often members see to it that each has as many others to pass on to as is meant.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// What to do with a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Worth {
    /// It is new, and taken; others are to have it too.
    New,
    /// It is known, or of no use any more.
    Old,
    /// It is another author's.
    Foreign,
    /// No honest peer passes such a thing on.
    Forged,
}

/// Whoever knows what home says.
pub trait Bulletin: Send + Sync {
    /// Whose word is followed: home's, or this gateway's own.
    fn author(&self) -> PeerId;
    /// What was last said, whenever that changes; `None`: nothing yet.
    fn last(&self) -> watch::Receiver<Option<Arc<str>>>;
    /// Somebody says that this is what home says.
    fn offer(&self, text: &str) -> Worth;
}

/// By gossip, as members of a mesh pass it on: each only what it has looked at.
pub(super) type Gossip = Behaviour<IdentityTransform, WhitelistSubscriptionFilter>;

/// The topic of one author's lists of peers; others of the same author have names of their own.
pub(super) fn topic(author: PeerId) -> IdentTopic {
    IdentTopic::new(format!("open-registry/directory/1/{author}"))
}

/// A member of that topic, and of no other: what else is announced to it is forgotten.
///
/// # Errors
/// When these settings contradict each other, which a test sees.
pub(super) fn gossip(author: PeerId) -> Result<Gossip, String> {
    let topic = topic(author);
    let config = ConfigBuilder::default()
        .protocol_id_prefix("/open-registry/meshsub")
        .heartbeat_interval(HEARTBEAT)
        .max_transmit_size(LONGEST + AROUND)
        // The text is signed by its author, and whoever passes it on adds nothing: so it is the same message, whoever says it first.
        .validation_mode(ValidationMode::Anonymous)
        .message_id_fn(|message| MessageId::new(&Sha256::digest(&message.data)))
        .validate_messages()
        .build()
        .map_err(|error| error.to_string())?;
    let only = WhitelistSubscriptionFilter([topic.hash()].into());
    let mut gossip = Behaviour::new_with_subscription_filter(MessageAuthenticity::Anonymous, config, only)?;
    gossip.subscribe(&topic).map_err(|error| error.to_string())?;
    Ok(gossip)
}

/// What is said to gossip of a message that was looked at.
pub(super) fn acceptance(worth: Worth) -> MessageAcceptance {
    match worth {
        Worth::New => MessageAcceptance::Accept,
        Worth::Old => MessageAcceptance::Ignore,
        Worth::Foreign | Worth::Forged => MessageAcceptance::Reject,
    }
}

/// Whether it is worth a word that a text was not published: it was already, or nobody is there yet.
pub(super) fn is_usual(error: &gossipsub::PublishError) -> bool {
    matches!(error, gossipsub::PublishError::Duplicate | gossipsub::PublishError::NoPeersSubscribedToTopic)
}

/// Answers who asks: the text, or nothing.
pub(super) async fn tell(mut line: impl AsyncWrite + Unpin, text: Option<Arc<str>>) {
    let text = text.as_deref().unwrap_or_default().as_bytes();
    let telling = async {
        line.write_u32(u32::try_from(text.len()).unwrap_or(0)).await?;
        line.write_all(text).await?;
        line.shutdown().await
    };
    // Who does not take it asks again.
    let _: Result<std::io::Result<()>, _> = timeout(ASKING, telling).await;
}

/// Hears an answer; `None`: there is none, or none that could be.
pub(super) async fn hear(mut line: impl AsyncRead + Unpin) -> Option<String> {
    let hearing = async {
        let length = usize::try_from(line.read_u32().await.ok()?).ok()?;
        if length == 0 || length > LONGEST {
            return None;
        }
        let mut text = vec![0; length];
        line.read_exact(&mut text).await.ok()?;
        String::from_utf8(text).ok()
    };
    timeout(ASKING, hearing).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_of_gossip_agree_with_each_other() {
        assert_eq!(gossip(PeerId::of_key([7; 32])).err(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_text_is_heard_as_it_was_said() {
        for (said, heard) in
            [(Some("x".repeat(LONGEST)), true), (Some("x".repeat(LONGEST + 1)), false), (None, false)]
        {
            let (ours, theirs) = tokio::io::duplex(1024);
            let text = said.clone().map(Arc::from);
            tokio::spawn(tell(ours, text));
            assert_eq!(hear(theirs).await, said.filter(|_| heard));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_half_is_not_waited_for_for_ever() {
        let (mut ours, theirs) = tokio::io::duplex(64);
        ours.write_all(b"\x00\x00\x00\x09half").await.unwrap();
        assert_eq!(hear(theirs).await, None);
    }
}
