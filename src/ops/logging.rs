//! Logs to stderr, for people or for machines.
//!
//! The only module that names tracing-subscriber. Secrets have no text to log (`http::Secret`).

use std::io::{IsTerminal, stderr};

use serde::{Deserialize, Serialize};
use tracing::level_filters::LevelFilter;
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

impl Config {
    /// Starts logging for the whole process. Only the command line does this, once.
    pub fn init(&self) {
        let lines: Box<dyn Layer<Registry> + Send + Sync> = match self.format {
            Format::Text => Box::new(
                fmt::layer()
                    .compact()
                    .with_ansi(wants_colours())
                    .with_target(self.level.shows_places())
                    .with_writer(stderr),
            ),
            Format::Json => Box::new(
                fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_span_list(false)
                    .with_writer(stderr),
            ),
        };
        let started = tracing_subscriber::registry()
            .with(lines.with_filter(self.level.filter()))
            .try_init();
        debug_assert!(started.is_ok(), "logging was started twice");
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
