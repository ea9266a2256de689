//! The composition root: builds the parts, binds, accepts, routes by path.

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
    /// Networks whose forwarding headers are believed.
    pub trusted_proxies: Vec<String>,
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

/// How a gateway ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every connection was closed in time.
    Clean,
    /// The drain's deadline cut connections.
    Cut,
}

/// Why a gateway could not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Something that it needs is not there, in a sentence.
    #[error("{0}")]
    Unavailable(String),
}

/// Runs the gateway (a placeholder).
pub async fn serve(config: crate::config::Config) -> Result<Ended, ServeError> {
    for address in &config.server.listen {
        tokio::net::TcpListener::bind(address)
            .await
            .map_err(|error| {
                ServeError::Unavailable(format!("cannot listen on {address}: {error}"))
            })?;
    }
    Ok(Ended::Clean)
}
