//! The head of home's that is followed, if there is a home.

use std::sync::Arc;

use resolver::head::polls::Way;
use resolver::peer::PeerId;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::config::{self, Config};
use crate::follow::{Asker, Following, Kept, New, OwnHead, Task};
use crate::metrics::Metrics;
use crate::swarm::{Bulletin, Contact, Swarm};
use crate::terminal::say;

/// This gateway's head, and home's, and what is needed to follow that.
pub(super) struct Heads {
    /// Home's, for whoever goes by it; `None`: this gateway follows nobody.
    pub(super) following: Option<Following>,
    /// Its own, for whoever says it.
    pub(super) own: OwnHead,
    kept: Option<(Kept, New)>,
}

impl Heads {
    /// Home's head as it was kept, and nothing of its own yet.
    ///
    /// # Errors
    /// When there is no data directory.
    pub(super) fn of(config: &Config, own: PeerId, metrics: &Arc<Metrics>) -> anyhow::Result<Self> {
        let own = OwnHead::new(own);
        let Some(home) = &config.federation.home else {
            return Ok(Self { following: None, own, kept: None });
        };
        let dir = config::data_dir(config)?;
        let (following, kept, new) = Following::of(home.id, &dir, Arc::clone(metrics));
        if let Some(words) = following.words() {
            say(&format!("Last known: {words}"));
        }
        Ok(Self { following: Some(following), own, kept: Some((kept, new)) })
    }

    /// Heads that are passed on by gossip: this gateway's own, and home's where it is heard so.
    pub(super) fn said(&self, config: &Config) -> Vec<Arc<dyn Bulletin>> {
        let own: Arc<dyn Bulletin> = Arc::new(self.own.clone());
        let is_heard = config.federation.update_type.contains(&Way::Pubsub);
        let heard = self.following.as_ref().filter(|_| is_heard);
        let home = heard.map(|following| Arc::new(following.clone()) as Arc<dyn Bulletin>);
        std::iter::once(own).chain(home).collect()
    }

    /// Follows home until `stop`; offline what was kept is all there is.
    ///
    /// # Errors
    /// When the system's trust store cannot be read.
    pub(super) fn run(
        &mut self,
        config: &Config,
        own: PeerId,
        swarm: Swarm,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let home = config.federation.home.as_ref().filter(|_| !config.offline);
        let (Some(home), Some(following), Some((kept, new))) = (home, &self.following, self.kept.take())
        else {
            return Ok(());
        };
        let ways = &config.federation.update_type;
        let zone = home.host().unwrap_or_else(|| config.zone.name.to_string());
        let asker = Asker::new(following, own, swarm, urls(config, home), zone)?;
        say(&format!("Getting home's latest hash via {}", words(ways)));
        tokio::spawn(Task::new(following, kept, new, asker, ways).run(stop));
        Ok(())
    }
}

/// Where home serves clients: as its `[[peer]]` says, and by the name that it is followed by.
fn urls(config: &Config, home: &Contact) -> Vec<Url> {
    let said = config.peer.iter().filter(|entry| entry.id == home.id).flat_map(|entry| entry.urls.clone());
    let named = home.host().and_then(|host| format!("https://{host}").parse().ok());
    said.chain(named).collect()
}

fn words(ways: &[Way]) -> String {
    let all: Vec<&str> = ways.iter().map(|way| way.name()).collect();
    all.join(", ")
}
