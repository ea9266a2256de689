//! `[cluster]`: other nodes, by way of Redis.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use super::redis::Settings;
use crate::http::Secret;
use crate::units::Span;
use crate::url::Masked;

/// `[cluster]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// URL of the Redis that all nodes share; empty = one node, in memory.
    pub redis: RedisUrl,
    /// PEM file with the authorities that sign Redis' certificate; empty = those that the system trusts.
    pub tls_ca: String,
    /// What all channels begin with: the `key` of @socket.io/redis-adapter.
    pub prefix: String,
    /// The wire between nodes.
    pub mode: Mode,
    /// Where other nodes pass requests on to this one.
    pub listen: String,
    /// How they reach that; empty = `listen` if it is one address, else our address towards Redis.
    pub advertise: String,
    /// By what they are believed; empty = one that the first node made and Redis keeps.
    pub secret: Secret,
    /// How long answers of other servers are waited for.
    pub request_timeout: Span,
    /// How often a node says that it is there; it is gone after five that are missed.
    pub heartbeat: Span,
    /// Who agrees on the order of broadcasts.
    pub order: Order,
    /// Whether clients are served while Redis is away.
    pub serve_without_redis: bool,
}

/// A URL that may hold a password, which is never shown.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct RedisUrl(String);

/// The wire between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// That of @socket.io/redis-adapter.
    Pubsub,
    /// That of its sharded adapter: not spoken yet.
    Sharded,
    /// That of @socket.io/redis-streams-adapter: not spoken yet.
    Streams,
}

/// Who agrees on the order of broadcasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// The members on all gateways: a broadcast is delivered when it comes back from Redis.
    Total,
    /// The members on one node: its own broadcasts are delivered there first, as Node's servers do.
    Local,
}

impl Config {
    /// Whether there is no Redis to share.
    pub fn is_alone(&self) -> bool {
        self.redis.0.is_empty()
    }

    /// Where Redis is.
    pub fn settings(&self) -> Settings {
        Settings {
            url: self.redis.0.clone(),
            tls_ca: (!self.tls_ca.is_empty()).then(|| self.tls_ca.clone().into()),
        }
    }
}

impl RedisUrl {
    /// The URL with its password.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RedisUrl {
    /// The URL, `***` in the place of its password and of what its query says, where Sentinel's own password is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let masked = Masked {
            url: &self.0,
            hides_user: false,
            hides: |name| name.to_ascii_lowercase().contains("password"),
        };
        masked.fmt(f)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for RedisUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_not_shown() {
        for (url, shown) in [
            ("", ""),
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
            ("redis://:p@ss:w0rd@host:1/2", "redis://:***@host:1/2"),
            ("rediss://user:secret@host", "rediss://user:***@host"),
            (
                "redis-sentinel://a:b@h:1/mymaster?sentinelPassword=c&sentinelUsername=d",
                "redis-sentinel://a:***@h:1/mymaster?sentinelPassword=***&sentinelUsername=d",
            ),
        ] {
            assert_eq!(RedisUrl(url.into()).to_string(), shown);
        }
    }
}
