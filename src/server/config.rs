//! `[server]`: where clients connect.

use serde::{Deserialize, Serialize};

/// `[server]`: where clients connect.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Addresses for clients.
    #[serde(with = "crate::config::one_or_many")]
    pub listen: Vec<String>,
    /// Path that Socket.IO clients use, with slashes on both ends.
    pub path: String,
    /// Origins that may connect beside our own host.
    pub origins: Vec<String>,
    /// Networks whose forwarding headers are believed; `unix` stands for Unix sockets.
    pub trusted_proxies: Vec<String>,
    /// Every connection of a client begins with a PROXY header.
    pub proxy_protocol: bool,
    /// The script of the client to serve; `""` = none.
    pub client_bundle: String,
    /// Whether the demo page is served at `/`.
    pub demo: Demo,
}

/// Whether the demo page is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged, expecting = "must be true, false or \"auto\"")]
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
