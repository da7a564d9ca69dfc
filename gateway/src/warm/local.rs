//! A warm-up without a gateway: the command opens the data directory itself.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use resolver::plan::Windows;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::engine::WarmUp;
use super::order::Order;
use super::report::Event;
use crate::config::Config;
use crate::fetch::{Fetch, Settings};
use crate::metrics::Metrics;
use crate::store::{OpenError, Store};
use crate::takedown::Takedowns;
use crate::upstream::Upstream;

/// Between two looks at how far it is.
const SHOWN_EVERY: Duration = Duration::from_millis(200);

/// A warm-up in this process.
pub(super) struct Local {
    store: Store,
    warm_up: Arc<WarmUp>,
    run: BoxFuture<'static, ()>,
    ticks: Interval,
}

impl Local {
    /// Opens the data directory and begins.
    ///
    /// # Errors
    /// When the directory cannot be used: another process has it, or the disk refuses.
    pub(super) async fn begin(config: &Config, dir: &Path, order: Order) -> anyhow::Result<Self> {
        let store = open(config, dir).await?;
        let metrics = Arc::new(Metrics::new());
        let upstream = Upstream::new(&config.upstream, config.offline, Arc::clone(&metrics))?;
        let settings = Settings {
            windows: Windows {
                fresh: config.upstream.fresh.duration(),
                stale: config.upstream.stale.duration(),
            },
            verify_first_max: config.http.verify_first_max.bytes(),
        };
        tokio::spawn(upstream.clone().probe_forever());
        let home = config.federation.home.as_ref().map(|home| home.id);
        let takedowns = Takedowns::open(dir, &config.block, home)?;
        let fetch = Fetch::with_peers(store.clone(), upstream, (None, takedowns), settings, metrics);
        tokio::spawn(fetch.clone().repair_forever());
        let warm_up = Arc::new(WarmUp::new(fetch, order, &config.private.scopes));
        let run = Arc::clone(&warm_up);
        let mut ticks = interval(SHOWN_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { store, warm_up, run: async move { run.run().await }.boxed(), ticks })
    }

    /// What there is to say next.
    pub(super) async fn next(&mut self) -> Event {
        tokio::select! {
            () = &mut self.run => Event::Report(self.warm_up.report(true)),
            _ = self.ticks.tick() => Event::Progress(self.warm_up.snapshot()),
        }
    }

    /// How far it has come, for whoever stops it here.
    pub(super) fn stopped(&self) -> Event {
        Event::Report(self.warm_up.report(false))
    }

    /// Closes the data directory: the next start has nothing to go over.
    pub(super) async fn close(self) {
        let Self { store, run, .. } = self;
        drop(run);
        store.close().await;
    }
}

/// Opens the data directory.
///
/// # Errors
/// When it cannot be used: another process has it, or the disk refuses.
pub(super) async fn open(config: &Config, dir: &Path) -> anyhow::Result<Store> {
    let (opening, store) = (dir.to_owned(), config.store.clone());
    match tokio::task::spawn_blocking(move || Store::open(&opening, &store)).await? {
        Err(OpenError::InUse(dir)) => Err(in_use(config, &dir)),
        opened => opened.context("cannot open the data directory"),
    }
}

fn in_use(config: &Config, dir: &Path) -> anyhow::Error {
    let dir = dir.display();
    match config.operator.listen {
        Some(listen) => anyhow!(
            "{dir} is in use by a gateway, and none that has it answers at {listen} ([operator] listen): \
             give this command the gateway's configuration, or stop the gateway"
        ),
        None => anyhow!(
            "{dir} is in use by a gateway that cannot be asked, for it has no operator's listener: \
             set listen in [operator], or stop the gateway"
        ),
    }
}
