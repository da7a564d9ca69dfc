//! Plain sentences and one live line, for a person at a terminal.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

mod pipe;
mod transfer;

pub use pipe::UntilClosed;
pub use transfer::{Transfer, run_transfer_line};

static STDOUT: LazyLock<Option<Terminal>> =
    LazyLock::new(|| io::stdout().is_terminal().then(|| Terminal::new(io::stdout())));

/// The one place that writes to a terminal, so that its live line and its sentences never mix.
pub struct Terminal {
    screen: Mutex<Screen>,
}

struct Screen {
    out: Box<dyn Write + Send>,
    /// What stands on the last line, without a line break.
    live: String,
}

/// Says one sentence: on the terminal if there is one, else as an event in the log.
pub fn say(sentence: &str) {
    match Terminal::stdout() {
        Some(terminal) => terminal.say(sentence),
        None => tracing::info!("{sentence}"),
    }
}

impl Terminal {
    /// Standard output, if it is a terminal.
    #[must_use]
    pub fn stdout() -> Option<&'static Self> {
        STDOUT.as_ref()
    }

    pub(crate) fn new(out: impl Write + Send + 'static) -> Self {
        Self { screen: Mutex::new(Screen { out: Box::new(out), live: String::new() }) }
    }

    /// Prints one line above the live line.
    pub fn say(&self, sentence: &str) {
        self.screen().say(&escape(sentence));
    }

    /// Draws the live line anew; an empty one wipes it.
    pub fn redraw(&self, line: &str) {
        self.screen().redraw(&escape(line));
    }

    fn screen(&self) -> MutexGuard<'_, Screen> {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A terminal that has gone away is no reason to stop: what cannot be written is let go.
impl Screen {
    fn say(&mut self, sentence: &str) {
        let live = std::mem::take(&mut self.live);
        let _ = writeln!(self.out, "{}{sentence}", wiping(&live));
        self.redraw(&live);
    }

    fn redraw(&mut self, line: &str) {
        if self.live != line {
            let _ = write!(self.out, "{}{line}", wiping(&self.live));
            line.clone_into(&mut self.live);
        }
        let _ = self.out.flush();
    }
}

/// Blanks over the old line, for not every terminal knows an escape sequence that does it.
fn wiping(live: &str) -> String {
    match live.chars().count() {
        0 => String::new(),
        width => format!("\r{:width$}\r", ""),
    }
}

/// Text with nothing in it that a terminal obeys: control characters and changes of direction are spelled out.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        // Writing to a string cannot fail.
        let _ = match is_obeyed(letter) {
            true => write!(escaped, "{}", letter.escape_default()),
            false => escaped.write_char(letter),
        };
    }
    Cow::Owned(escaped)
}

fn is_obeyed(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;

    /// What was written, to be looked at afterwards.
    #[derive(Clone, Default)]
    pub(crate) struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Paper {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_sentence_wipes_the_live_line_and_puts_it_back_below() {
        let paper = Paper::default();
        let terminal = Terminal::new(paper.clone());
        terminal.redraw("12kbps");
        terminal.say("Stopped");
        assert_eq!(paper.text(), "12kbps\r      \rStopped\n12kbps");
    }

    #[test]
    fn a_shorter_live_line_leaves_nothing_of_the_longer_one() {
        let paper = Paper::default();
        let terminal = Terminal::new(paper.clone());
        terminal.redraw("12kbps");
        terminal.redraw("1kbps");
        terminal.redraw("");
        assert_eq!(paper.text(), "12kbps\r      \r1kbps\r     \r");
    }

    #[test]
    fn text_from_elsewhere_cannot_command_the_terminal() {
        assert_eq!(escape("\u{1b}]0;owned\u{7}"), "\\u{1b}]0;owned\\u{7}");
        assert_eq!(escape("a\r\nb\u{9b}2Jc\u{7f}"), "a\\r\\nb\\u{9b}2Jc\\u{7f}");
        assert_eq!(escape("\u{202e}txt.exe"), "\\u{202e}txt.exe");
        assert_eq!(escape("größer 🦀"), "größer 🦀");
    }

    #[test]
    fn a_sentence_is_one_line_whatever_is_in_it() {
        let paper = Paper::default();
        Terminal::new(paper.clone()).say("a\nb");
        assert_eq!(paper.text(), "a\\nb\n");
    }
}
