//! Whether the process lives and whether it wants new clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hyper::header::{HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::json;
use tokio::sync::watch;

use crate::http::{self, Body};

/// What readiness depends on.
#[derive(Debug, Default)]
pub struct Health {
    has_started: AtomicBool,
    is_draining: AtomicBool,
    /// Open connections of clients.
    connections: Arc<AtomicUsize>,
    connections_max: usize,
    /// Whether Redis is there, on a node that has one.
    redis: Option<watch::Receiver<bool>>,
    needs_redis: bool,
}

impl Health {
    /// The health of a node that has not started and takes this many connections.
    pub fn new(connections_max: usize) -> Self {
        Self {
            connections_max,
            ..Self::default()
        }
    }

    /// The node listens.
    pub fn started(&self) {
        self.has_started.store(true, Ordering::Relaxed);
    }

    /// Whether the node is about to leave.
    pub fn set_draining(&self, is_draining: bool) {
        self.is_draining.store(is_draining, Ordering::Relaxed);
    }

    /// Whether it is.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// The count of open connections.
    pub fn connections(&self) -> &Arc<AtomicUsize> {
        &self.connections
    }

    /// How many there may be.
    pub fn connections_max(&self) -> usize {
        self.connections_max
    }

    /// Readiness follows Redis: it is degraded while that is away, or gone where the node `needs` it.
    #[must_use]
    pub fn with_redis(mut self, up: Option<watch::Receiver<bool>>, needs: bool) -> Self {
        self.redis = up;
        self.needs_redis = needs;
        self
    }

    fn is_without_redis(&self) -> bool {
        self.redis.as_ref().is_some_and(|up| !*up.borrow())
    }

    fn reasons(&self) -> Vec<&'static str> {
        let reasons = [
            (!self.has_started.load(Ordering::Relaxed), "starting"),
            (self.is_draining.load(Ordering::Relaxed), "draining"),
            (self.connections.load(Ordering::Relaxed) >= self.connections_max, "full"),
            (self.needs_redis && self.is_without_redis(), "redis"),
        ];
        reasons
            .iter()
            .filter(|(applies, _)| *applies)
            .map(|(_, reason)| *reason)
            .collect()
    }

    /// Answers `/livez` and `/readyz`, with reasons on the admin listener alone; `None` for other paths.
    pub fn respond(&self, path: &str, with_reasons: bool) -> Option<Response<Body>> {
        match path {
            "/livez" => Some(http::json(StatusCode::OK, &json!({"live": true}))),
            "/readyz" => Some(self.readiness(with_reasons)),
            _ => None,
        }
    }

    fn readiness(&self, with_reasons: bool) -> Response<Body> {
        let reasons = self.reasons();
        if reasons.is_empty() {
            let body = if with_reasons && self.is_without_redis() {
                json!({"ready": true, "degraded": ["redis"]})
            } else {
                json!({"ready": true})
            };
            return http::json(StatusCode::OK, &body);
        }
        let body = if with_reasons {
            json!({"ready": false, "reasons": reasons})
        } else {
            json!({"ready": false})
        };
        let mut response = http::json(StatusCode::SERVICE_UNAVAILABLE, &body);
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from_static("2"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_ready_between_start_and_drain() {
        let health = Health::new(1);
        assert_eq!(health.reasons(), ["starting"]);
        health.started();
        assert!(health.reasons().is_empty());
        let lease = http::Lease::take(health.connections(), 1).unwrap();
        assert!(http::Lease::take(health.connections(), 1).is_none());
        assert_eq!(health.reasons(), ["full"]);
        drop(lease);
        health.set_draining(true);
        assert_eq!(health.reasons(), ["draining"]);
    }

    #[test]
    fn reasons_are_for_operators_alone() {
        let health = Health::new(1);
        assert_eq!(health.respond("/livez", false).unwrap().status(), StatusCode::OK);
        assert_eq!(
            health.respond("/readyz", true).unwrap().status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
        assert!(health.respond("/", true).is_none());
    }
}
