//! Leaving without being missed: not ready, then connections closed evenly, then whatever is left.

use serde::{Deserialize, Serialize};

use crate::units::Span;

/// `[drain]`: three moments, all counted from the signal.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How long connections are still accepted, so that the balancer looks away.
    pub delay: Span,
    /// The time after `delay` over which connections are closed evenly.
    pub spread: Span,
    /// When whatever is left is cut.
    pub timeout: Span,
}
