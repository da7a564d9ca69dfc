//! SIGHUP: the certificate is read again. The configuration is not: a restart, in which nothing is lost, does that.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::terminal::Terminal;
use crate::tls::Tls;

/// Hears SIGHUP from its beginning.
pub struct Reloads {
    /// `None` at a terminal: there the signal says that the terminal has gone, and ends the program as ever.
    hangups: Option<Signal>,
}

impl Reloads {
    /// From now on the signal ends nothing any more.
    ///
    /// # Errors
    /// When the signal cannot be listened for.
    pub fn listen() -> anyhow::Result<Self> {
        let at_terminal = Terminal::stdout().is_some();
        let hangups = (!at_terminal).then(|| signal(SignalKind::hangup())).transpose();
        Ok(Self { hangups: hangups.context("cannot listen for SIGHUP")? })
    }

    /// Reads the certificate again whenever it is asked for.
    pub async fn serve(self, tls: Option<Tls>) {
        let Some(mut hangups) = self.hangups else {
            return;
        };
        while hangups.recv().await.is_some() {
            reload(tls.clone()).await;
        }
    }
}

async fn reload(tls: Option<Tls>) {
    let Some(tls) = tls else {
        tracing::info!("there is no certificate to read again; a new configuration takes a restart");
        return;
    };
    // What was taken, or a panic, has been logged.
    if let Ok(Err(error)) = tokio::task::spawn_blocking(move || tls.reload()).await {
        tracing::warn!(%error, "the certificate is not taken; the one before stays");
    }
}
