//! The composition root: builds the parts, binds, accepts, routes by path.

use serde::{Deserialize, Serialize};

/// `[server]`: where clients connect.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Addresses for clients.
    #[serde(deserialize_with = "crate::config::one_or_many")]
    pub listen: Vec<String>,
    /// Path that Socket.IO clients use, with slashes on both ends.
    pub path: String,
    /// Origins that may connect beside our own host.
    pub origins: Vec<String>,
    /// Networks whose forwarding headers are believed.
    pub trusted_proxies: Vec<String>,
    /// Whether the demo page is served at `/`.
    pub demo: Demo,
}

/// Whether the demo page is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Demo {
    /// Always or never.
    Fixed(bool),
    /// `"auto"`: while no namespace is configured.
    Auto(Auto),
}

/// The word `"auto"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Auto {
    /// While no namespace is configured.
    Auto,
}
