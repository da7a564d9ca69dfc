//! SIGHUP: the certificate is read again. The configuration is not: a restart, in which nothing is lost, does that.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::manager;
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

    /// Says that the gateway is ready, then reads the certificate again whenever it is asked for, and says how that
    /// went.
    pub async fn serve(self, tls: Option<Tls>) {
        manager::ready(&tls.as_ref().map_or("Serving".to_owned(), serving));
        let Some(mut hangups) = self.hangups else {
            return;
        };
        while hangups.recv().await.is_some() {
            manager::reloading();
            let status = reload(tls.clone()).await;
            manager::ready(&status);
        }
    }
}

/// How it went, in one sentence.
async fn reload(tls: Option<Tls>) -> String {
    let Some(tls) = tls else {
        tracing::info!("there is no certificate to read again; a new configuration takes a restart");
        return "Serving, without a certificate to read again".to_owned();
    };
    let reading = tls.clone();
    match tokio::task::spawn_blocking(move || reading.reload()).await {
        Ok(Ok(())) => serving(&tls),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the certificate is not taken; the one before stays");
            format!("Serving with the certificate before; the new one was not taken: {error}")
        }
        // A panic, which has been logged.
        Err(error) => format!("Serving with the certificate before; reading the new one failed: {error}"),
    }
}

fn serving(tls: &Tls) -> String {
    format!("Serving with a {}", tls.describe())
}
