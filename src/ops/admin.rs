//! The admin listener: health and metrics, apart from the clients' port.

use serde::{Deserialize, Serialize};

use crate::http::Secret;

/// `[admin]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address of health, metrics and the API.
    pub listen: String,
    /// Bearer keys; without any the listener must be on a loopback address.
    pub keys: Vec<Secret>,
}
