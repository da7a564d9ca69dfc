//! Home's word on its way: said to those who follow the same home, and asked of those who are there.

use std::sync::Arc;
use std::time::Duration;

use libp2p::gossipsub;
use resolver::peer::PeerId;
use tokio::sync::oneshot;

use super::address;
use super::bulletin::{self, Worth};
use super::streams::{DIRECTORY, Line};
use super::task::{Found, Task};

/// Who passes on what nobody has signed is kept out for so long: others look at it first, so it was made for the purpose.
const FORGERY: Duration = Duration::from_secs(600);

impl Task {
    pub(super) fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                let from = address::id_of(&propagation_source);
                let is_flooding = from.is_none_or(|id| !self.connected.may_say(&id));
                let worth = match std::str::from_utf8(&message.data) {
                    Ok(text) if !is_flooding => self.bulletin.offer(text),
                    _ => Worth::Forged,
                };
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
            gossipsub::Event::Subscribed { .. } => self.say_word(),
            _ => {}
        }
    }

    /// Says what was last said, to those who have not heard it yet.
    pub(super) fn say_word(&mut self) {
        let Some(text) = self.bulletin.last().borrow().clone() else { return };
        let topic = bulletin::topic(self.bulletin.author());
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        match gossip.publish(topic, text.as_bytes().to_vec()) {
            Err(error) if !bulletin::is_usual(&error) => {
                tracing::debug!(%error, "home's list of peers was not passed on");
            }
            _ => {}
        }
    }

    /// Asks a peer that has just come for what it knows: home itself, and anybody while nothing is known.
    pub(super) fn ask_for_word(&mut self, id: PeerId) {
        let author = self.bulletin.author();
        let knows = self.bulletin.last().borrow().is_some();
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

    pub(super) fn on_word(&mut self, id: PeerId, text: &str) {
        match self.bulletin.offer(text) {
            Worth::New => self.say_word(),
            // Who is asked says what he knows, and he may follow somebody else.
            Worth::Old | Worth::Foreign => {}
            Worth::Forged => self.on_forgery(id),
        }
    }

    pub(super) fn tell_word(&self, line: Line) {
        let text: Option<Arc<str>> = self.bulletin.last().borrow().clone();
        tokio::spawn(bulletin::tell(line, text));
    }

    fn on_forgery(&mut self, id: PeerId) {
        if self.speech.may_speak() {
            tracing::warn!(peer = %id, "a peer passed on lists of peers that home has not signed, or too many; it is kept out for ten minutes");
        }
        self.metrics.peer_refused("directory");
        self.block(id, FORGERY);
    }
}
