//! What a gateway has to say to all who follow it, as the swarm carries it: something that its author has signed. What is in it,
//! and whether it is to be believed, others know.
//!
//! ```text
//! open-registry/directory/1/<author>   the peers that it vouches for, in full
//! open-registry/head/1/<author>        the head of its index: an IPNS record
//! ```

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

/// The longest list of peers, and what stands around it when it is passed on.
pub(super) const LONGEST: usize = resolver::directory::LONGEST;
const AROUND: usize = 1024;
/// The longest that asking for one may take.
const ASKING: Duration = Duration::from_secs(20);
/// How often members see to it that each has as many others to pass on to as is meant.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// What is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Which peers there are.
    Directory,
    /// Which root the index has.
    Head,
}

/// What to do with what somebody says.
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

/// Whoever knows what one author says of one thing.
pub trait Bulletin: Send + Sync {
    /// Whose word it is: home's, or this gateway's own.
    fn author(&self) -> PeerId;
    /// What was last said, whenever that changes; `None`: nothing yet.
    fn last(&self) -> watch::Receiver<Option<Arc<[u8]>>>;
    /// Somebody says that this is what the author says.
    fn offer(&self, said: &[u8]) -> Worth;
}

/// All that this gateway passes on.
pub struct Bulletins {
    /// Home's list of peers, or this gateway's own.
    pub directory: Arc<dyn Bulletin>,
    /// Heads: this gateway's own, and home's.
    pub heads: Vec<Arc<dyn Bulletin>>,
}

/// One of them, and where it is said.
pub(super) struct Post {
    pub(super) kind: Kind,
    pub(super) topic: IdentTopic,
    pub(super) bulletin: Arc<dyn Bulletin>,
}

impl Bulletins {
    pub(super) fn posts(&self) -> Vec<Post> {
        let heads = self.heads.iter().map(|bulletin| (Kind::Head, bulletin));
        let all = std::iter::once((Kind::Directory, &self.directory)).chain(heads);
        all.map(|(kind, bulletin)| {
            let topic = topic(kind, bulletin.author());
            Post { kind, topic, bulletin: Arc::clone(bulletin) }
        })
        .collect()
    }
}

/// By gossip, as members of a mesh pass it on: each only what it has looked at.
pub(super) type Gossip = Behaviour<IdentityTransform, WhitelistSubscriptionFilter>;

fn topic(kind: Kind, author: PeerId) -> IdentTopic {
    let kind = match kind {
        Kind::Directory => "directory",
        Kind::Head => "head",
    };
    IdentTopic::new(format!("open-registry/{kind}/1/{author}"))
}

/// A member of these topics, and of no others: what else is announced to it is forgotten.
///
/// # Errors
/// When these settings contradict each other, which a test sees.
pub(super) fn gossip(posts: &[Post]) -> Result<Gossip, String> {
    let config = ConfigBuilder::default()
        .protocol_id_prefix("/open-registry/meshsub")
        .heartbeat_interval(HEARTBEAT)
        .max_transmit_size(LONGEST + AROUND)
        // It is signed by its author, and whoever passes it on adds nothing: so it is the same message, whoever says it first.
        .validation_mode(ValidationMode::Anonymous)
        .message_id_fn(|message| MessageId::new(&Sha256::digest(&message.data)))
        .validate_messages()
        .build()
        .map_err(|error| error.to_string())?;
    let only = WhitelistSubscriptionFilter(posts.iter().map(|post| post.topic.hash()).collect());
    let mut gossip = Behaviour::new_with_subscription_filter(MessageAuthenticity::Anonymous, config, only)?;
    for post in posts {
        gossip.subscribe(&post.topic).map_err(|error| error.to_string())?;
    }
    Ok(gossip)
}

/// What gossip is told of a message that was looked at.
pub(super) fn acceptance(worth: Worth) -> MessageAcceptance {
    match worth {
        Worth::New => MessageAcceptance::Accept,
        Worth::Old => MessageAcceptance::Ignore,
        Worth::Foreign | Worth::Forged => MessageAcceptance::Reject,
    }
}

/// Whether it is worth a word that something was not published: it was already, or nobody is there yet.
pub(super) fn is_usual(error: &gossipsub::PublishError) -> bool {
    matches!(error, gossipsub::PublishError::Duplicate | gossipsub::PublishError::NoPeersSubscribedToTopic)
}

/// Answers who asks: the text, or nothing.
pub(super) async fn tell(mut line: impl AsyncWrite + Unpin, text: Option<Arc<[u8]>>) {
    let text = text.as_deref().unwrap_or_default();
    let telling = async {
        line.write_u32(u32::try_from(text.len()).unwrap_or(0)).await?;
        line.write_all(text).await?;
        line.shutdown().await
    };
    // Who does not take it asks again.
    let _: Result<std::io::Result<()>, _> = timeout(ASKING, telling).await;
}

/// Hears an answer; `None`: there is none, or none that could be.
pub(super) async fn hear(mut line: impl AsyncRead + Unpin) -> Option<Vec<u8>> {
    let hearing = async {
        let length = usize::try_from(line.read_u32().await.ok()?).ok()?;
        if length == 0 || length > LONGEST {
            return None;
        }
        let mut text = vec![0; length];
        line.read_exact(&mut text).await.ok()?;
        Some(text)
    };
    timeout(ASKING, hearing).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_of_gossip_agree_with_each_other() {
        assert_eq!(gossip(&[]).err(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_text_is_heard_as_it_was_said() {
        for (said, heard) in
            [(Some("x".repeat(LONGEST)), true), (Some("x".repeat(LONGEST + 1)), false), (None, false)]
        {
            let (ours, theirs) = tokio::io::duplex(1024);
            let text = said.as_deref().map(|said| Arc::from(said.as_bytes()));
            tokio::spawn(tell(ours, text));
            assert_eq!(hear(theirs).await, said.filter(|_| heard).map(String::into_bytes));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_half_is_not_waited_for_for_ever() {
        let (mut ours, theirs) = tokio::io::duplex(64);
        ours.write_all(b"\x00\x00\x00\x09half").await.unwrap();
        assert_eq!(hear(theirs).await, None);
    }
}
