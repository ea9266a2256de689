//! Logs to stderr, for people or for machines.
//!
//! The only module that names tracing-subscriber and tracing-appender. A thread writes: who logs never waits for whoever
//! reads the log. Secrets have no text to log (`http::Secret`). What clients call things
//! must never become a line or a colour of its own, in whatever reads the log.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write, stderr};

use serde::{Deserialize, Serialize};
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

/// `[log]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `trace`, `debug`, `info`, `warn` or `error`.
    pub level: Level,
    /// `text` or `json`.
    pub format: Format,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Every packet.
    Trace,
    /// What misbehaving clients do.
    Debug,
    /// One line a life event.
    Info,
    /// We coped.
    Warn,
    /// A person should act.
    Error,
}

/// What a log line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Lines that wait to be written; more are dropped.
const LINES_MAX: usize = 16_384;

/// The process's log. What waits is written when it is dropped, as far as somebody reads it.
#[derive(Debug)]
#[must_use]
pub struct Log {
    /// Writes what waits.
    writing: Option<WorkerGuard>,
    dropped: ErrorCounter,
}

impl Drop for Log {
    fn drop(&mut self) {
        drop(self.writing.take());
        let dropped = self.dropped.dropped_lines();
        if dropped > 0 {
            let _ = writeln!(stderr(), "{dropped} lines of the log were dropped, as nobody read it"); // perhaps still nobody
        }
    }
}

impl Config {
    /// Starts logging for the whole process. Only the command line does this, once.
    pub fn init(&self) -> Log {
        let (writer, writing) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(LINES_MAX)
            .finish(stderr());
        let dropped = writer.error_counter();
        let lines: Box<dyn Layer<Registry> + Send + Sync> = match self.format {
            Format::Text => Box::new(
                fmt::layer()
                    .compact()
                    .with_ansi(wants_colours())
                    .with_target(self.level.shows_places())
                    .with_writer(move || Lines(writer.clone())),
            ),
            Format::Json => Box::new(
                fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_span_list(false)
                    .with_writer(move || Lines(writer.clone())),
            ),
        };
        let started = tracing_subscriber::registry()
            .with(lines.with_filter(self.level.filter()))
            .try_init();
        debug_assert!(started.is_ok(), "logging was started twice");
        Log {
            writing: Some(writing),
            dropped,
        }
    }
}

impl Level {
    /// What is let through: ours down to this level, of the libraries below us only what matters.
    fn filter(self) -> Targets {
        let own = match self {
            Self::Trace => LevelFilter::TRACE,
            Self::Debug => LevelFilter::DEBUG,
            Self::Info => LevelFilter::INFO,
            Self::Warn => LevelFilter::WARN,
            Self::Error => LevelFilter::ERROR,
        };
        Targets::new()
            .with_default(own.min(LevelFilter::WARN))
            // It warns of each lost connection, of which `cluster::redis` tells in our words.
            .with_target("fred", LevelFilter::ERROR)
            .with_target("roomcast", own)
    }

    /// Whether lines name the module they come from: only for those who look into the works.
    fn shows_places(self) -> bool {
        matches!(self, Self::Trace | Self::Debug)
    }
}

/// Writes what it is given in one call as one line.
struct Lines<W>(W);

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0
            .write_all(on_one_line(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A line with all that moves a cursor or ends a line escaped, as JSON has it too; what colours it was made safe before.
fn on_one_line(line: &str) -> Cow<'_, str> {
    let moves = |it: char| (it.is_control() && !matches!(it, '\t' | '\u{1b}')) || matches!(it, '\u{2028}' | '\u{2029}');
    let (text, end) = line.strip_suffix('\n').map_or((line, ""), |text| (text, "\n"));
    if !text.contains(moves) {
        return Cow::Borrowed(line);
    }
    let mut escaped = String::with_capacity(line.len() + 16);
    for it in text.chars() {
        if moves(it) {
            write!(escaped, "\\u{:04x}", u32::from(it)).expect("a String takes everything");
        } else {
            escaped.push(it);
        }
    }
    escaped.push_str(end);
    Cow::Owned(escaped)
}

/// Colours are for terminals, and not for people who ask for none (<https://no-color.org>).
fn wants_colours() -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stderr().is_terminal() && !no_color
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level as Severity;

    #[test]
    fn what_moves_a_cursor_or_ends_a_line_is_escaped() {
        for (line, expected) in [
            ("plain é😀\tline\n", "plain é😀\tline\n"),
            ("no end", "no end"),
            ("a\r\nb\n", "a\\u000d\\u000ab\n"),
            ("a\u{9b}31m\u{85}\u{7f}\n", "a\\u009b31m\\u0085\\u007f\n"),
            ("a\u{2028}b\u{2029}", "a\\u2028b\\u2029"),
            ("\u{1b}[2mcoloured\u{1b}[0m\n", "\u{1b}[2mcoloured\u{1b}[0m\n"),
        ] {
            assert_eq!(on_one_line(line), expected);
            let mut written = Vec::new();
            Lines(&mut written).write_all(line.as_bytes()).unwrap();
            assert_eq!(written, expected.as_bytes());
        }
    }

    #[test]
    fn libraries_are_heard_from_warnings_on_and_we_from_the_level_on() {
        for (level, target, severity, expected) in [
            (Level::Info, "roomcast::server", Severity::INFO, true),
            (Level::Info, "roomcast::server", Severity::DEBUG, false),
            (Level::Trace, "roomcast::engine", Severity::TRACE, true),
            (Level::Trace, "hyper::proto", Severity::INFO, false),
            (Level::Trace, "hyper::proto", Severity::WARN, true),
            (Level::Error, "hyper::proto", Severity::WARN, false),
            (Level::Info, "fred::router", Severity::WARN, false),
        ] {
            let enabled = level.filter().would_enable(target, &severity);
            assert_eq!(enabled, expected, "{level:?} {target} {severity}");
        }
    }
}
