//! Logs to stderr, for people or for machines.

use serde::{Deserialize, Serialize};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
