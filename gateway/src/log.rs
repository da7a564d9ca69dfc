//! What happened, for those who want to know: short lines on a terminal, JSON objects anywhere else.

use std::fmt::{self, Write};
use std::io;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::terminal::Terminal;

/// What these say of their connections is for those who debug them: shown from `-vv`. A name stands for every
/// target that begins with it, as `hyper` does for `hyper_util`.
const NOISY: [&str; 12] = [
    "h2",
    "hickory",
    "hyper",
    "if_watch",
    "libp2p",
    "mdns_sd",
    "multistream_select",
    "netlink",
    "quinn",
    "rustls",
    "rtnetlink",
    "yamux",
];

/// Starts logging to standard output; `verbose` counts the `-v` on the command line.
///
/// # Errors
/// When logging was started before.
pub fn start(verbose: u8) -> Result<(), TryInitError> {
    let registry = tracing_subscriber::registry();
    match Terminal::stdout() {
        Some(terminal) => {
            registry.with(Lines(terminal).with_filter(targets(terminal_level(verbose), verbose))).try_init()
        }
        None => registry.with(json(io::stdout).with_filter(targets(json_level(verbose), verbose))).try_init(),
    }
}

fn terminal_level(verbose: u8) -> LevelFilter {
    match verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    }
}

fn json_level(verbose: u8) -> LevelFilter {
    match verbose {
        0 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    }
}

fn targets(level: LevelFilter, verbose: u8) -> Targets {
    let noise = if verbose < 2 { LevelFilter::OFF } else { level };
    Targets::new().with_default(level).with_targets(NOISY.map(|target| (target, noise)))
}

/// One object per line: `timestamp` (RFC 3339, UTC), `level`, `target`, `message`, and the event's fields beside them.
fn json<S, W>(writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    let layer = tracing_subscriber::fmt::layer().json().flatten_event(true);
    layer.with_current_span(false).with_span_list(false).with_writer(writer)
}

/// `warning: a tarball was refused (package=lodash, status=502)`
struct Lines<'a>(&'a Terminal);

impl<S: Subscriber> Layer<S> for Lines<'static> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut words = Words::default();
        event.record(&mut words);
        self.0.say(&format!("{}{words}", prefix(*event.metadata().level())));
    }
}

fn prefix(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error: ",
        Level::WARN => "warning: ",
        Level::INFO => "",
        Level::DEBUG => "debug: ",
        Level::TRACE => "trace: ",
    }
}

/// An event's message, and its fields as `name=value, name=value`.
#[derive(Default)]
struct Words {
    message: String,
    fields: String,
}

impl Words {
    fn add(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = if field.name() == "message" {
            self.message.write_fmt(value)
        } else {
            let comma = if self.fields.is_empty() { "" } else { ", " };
            write!(self.fields, "{comma}{}={value}", field.name())
        };
    }
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"));
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fields.as_str() {
            "" => f.write_str(&self.message),
            fields => write!(f, "{} ({fields})", self.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::terminal::tests::Paper;

    fn on_a_terminal(verbose: u8, events: impl FnOnce()) -> String {
        let paper = Paper::default();
        let terminal = Box::leak(Box::new(Terminal::new(paper.clone())));
        let lines = Lines(terminal).with_filter(targets(terminal_level(verbose), verbose));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), events);
        paper.text()
    }

    fn as_json(events: impl FnOnce()) -> Vec<Value> {
        let paper = Paper::default();
        let writer = paper.clone();
        let layer = json(move || writer.clone()).with_filter(targets(json_level(0), 0));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), events);
        paper.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_warning_on_a_terminal_is_one_short_line() {
        let refused = || tracing::warn!(package = "lodash", status = 502, "a tarball was refused");
        assert_eq!(
            on_a_terminal(0, refused),
            "warning: a tarball was refused (package=lodash, status=502)\n"
        );
    }

    #[test]
    fn a_terminal_shows_more_the_more_it_is_asked_to() {
        let events = || {
            tracing::info!("told with -v");
            tracing::debug!("told with -vv");
            tracing::warn!(target: "hyper_util::client", "noise");
        };
        assert_eq!(on_a_terminal(0, events), "");
        assert_eq!(on_a_terminal(1, events), "told with -v\n");
        assert_eq!(on_a_terminal(2, events), "told with -v\ndebug: told with -vv\nwarning: noise\n");
    }

    #[test]
    fn text_from_upstream_is_never_printed_raw() {
        let shown = on_a_terminal(0, || tracing::warn!(reason = "\u{1b}[2J\nok", "refused"));
        assert_eq!(shown, "warning: refused (reason=\\u{1b}[2J\\nok)\n");
    }

    #[test]
    fn the_log_is_one_flat_json_object_per_event() {
        let lines = as_json(|| {
            tracing::info!(package = "lodash", "stored");
            tracing::debug!("too much");
            tracing::error!(target: "rustls::conn", "noise");
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["level"], "INFO");
        assert_eq!(lines[0]["message"], "stored");
        assert_eq!(lines[0]["package"], "lodash");
        let timestamp = lines[0]["timestamp"].as_str().unwrap();
        assert!(humantime::parse_rfc3339(timestamp).is_ok(), "{timestamp}");
    }
}
