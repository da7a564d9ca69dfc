//! Home's word on its way: said to those who follow the same home, and asked of those who are there.

use std::sync::Arc;
use std::time::Duration;

use libp2p::gossipsub;
use resolver::peer::PeerId;
use tokio::sync::oneshot;

use super::address;
use super::bulletin::{self, Bulletin, Kind, Post, Worth};
use super::streams::{DIRECTORY, Line};
use super::task::{Found, Task};

/// Who passes on what nobody has signed is kept out for so long: others look at it first, so it was made for the purpose.
const FORGERY: Duration = Duration::from_secs(600);

impl Task {
    /// From now on whatever its author says newly is passed on.
    pub(super) fn watch_bulletins(&self) {
        for (nth, post) in self.posts.iter().enumerate() {
            let (mut last, found) = (post.bulletin.last(), self.found_sender());
            tokio::spawn(async move {
                while last.changed().await.is_ok() {
                    if found.send(Found::Said(nth)).await.is_err() {
                        return;
                    }
                }
            });
        }
    }

    pub(super) fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                let from = address::id_of(&propagation_source);
                let worth = self.worth(from, &message);
                let gossip = &mut self.swarm.behaviour_mut().gossip;
                gossip.report_message_validation_result(
                    &message_id,
                    &propagation_source,
                    bulletin::acceptance(worth),
                );
                // Under the name of this author nobody passes another one's on.
                if let (Worth::Forged | Worth::Foreign, Some(id)) = (worth, from) {
                    self.on_forgery(id);
                }
            }
            // Somebody more who wants to know.
            gossipsub::Event::Subscribed { topic, .. } => {
                if let Some(nth) = self.post_of(&topic) {
                    self.say(nth);
                }
            }
            _ => {}
        }
    }

    fn worth(&mut self, from: Option<PeerId>, message: &gossipsub::Message) -> Worth {
        let Some(post) = self.post_of(&message.topic).and_then(|nth| self.posts.get(nth)) else {
            return Worth::Forged;
        };
        let is_flooding = from.is_none_or(|id| !self.connected.may_say(&id, post.kind));
        if is_flooding { Worth::Forged } else { post.bulletin.offer(&message.data) }
    }

    fn post_of(&self, topic: &gossipsub::TopicHash) -> Option<usize> {
        self.posts.iter().position(|post| post.topic.hash() == *topic)
    }

    /// Says what was last said, to those who have not heard it yet.
    pub(super) fn say(&mut self, nth: usize) {
        let Some(Post { topic, bulletin, .. }) = self.posts.get(nth) else { return };
        let Some(said) = bulletin.last().borrow().clone() else { return };
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        match gossip.publish(topic.clone(), said.to_vec()) {
            Err(error) if !bulletin::is_usual(&error) => {
                tracing::debug!(%error, %topic, "something was not passed on");
            }
            _ => {}
        }
    }

    /// Whoever says which peers there are.
    fn directory(&self) -> Option<&dyn Bulletin> {
        let post = self.posts.iter().find(|post| post.kind == Kind::Directory)?;
        Some(post.bulletin.as_ref())
    }

    /// Asks a peer that has just come for what it knows: home itself, and anybody while nothing is known.
    pub(super) fn ask_for_word(&mut self, id: PeerId) {
        let Some(directory) = self.directory() else { return };
        let (author, knows) = (directory.author(), directory.last().borrow().is_some());
        let Some(peer) = address::peer_of(id).filter(|_| author != self.own && (id == author || !knows))
        else {
            return;
        };
        let (opened, opening) = oneshot::channel();
        self.swarm.behaviour_mut().streams.open(peer, DIRECTORY, opened);
        let found = self.found_sender();
        tokio::spawn(async move {
            let Ok(Ok(line)) = opening.await else { return };
            if let Some(text) = bulletin::hear(line).await {
                // The swarm has ended when this fails.
                let _ = found.send(Found::Word(id, text)).await;
            }
        });
    }

    pub(super) fn on_word(&mut self, id: PeerId, text: &[u8]) {
        let Some(directory) = self.directory() else { return };
        // What is new is passed on by itself. Who is asked says what he knows, and he may follow somebody else.
        if directory.offer(text) == Worth::Forged {
            self.on_forgery(id);
        }
    }

    pub(super) fn tell_word(&self, line: Line) {
        let text: Option<Arc<[u8]>> =
            self.directory().and_then(|directory| directory.last().borrow().clone());
        tokio::spawn(bulletin::tell(line, text));
    }

    fn on_forgery(&mut self, id: PeerId) {
        if self.speech.may_speak() {
            tracing::warn!(peer = %id, "a peer passed on what home has not signed, or too much; it is kept out for ten minutes");
        }
        self.metrics.peer_refused("directory");
        self.block(id, FORGERY);
    }
}
