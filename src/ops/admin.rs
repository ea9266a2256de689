//! The admin listener: health and metrics, apart from the clients' port.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::health::Health;
use crate::engine::Engine;
use crate::http::{self, Body, Secret};
use crate::hub::Hub;
use crate::metrics::{Metrics, Snapshot};
use crate::protocol::ids::IdGenerator;

/// `[admin]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address of health, metrics and the API.
    pub listen: String,
    /// Bearer keys; without any the listener must be on a loopback address.
    pub keys: Vec<Secret>,
}

/// What the admin listener shows.
#[derive(Debug)]
pub struct Admin {
    /// The node's ids, whose tag is its name.
    pub ids: Arc<IdGenerator>,
    /// Keys for everything but health and metrics.
    pub keys: Vec<Secret>,
    /// Readiness.
    pub health: Arc<Health>,
    /// The numbers.
    pub metrics: Arc<Metrics>,
    /// Where rooms are counted.
    pub hub: Arc<Hub>,
    /// Where sessions are counted.
    pub engine: Arc<Engine>,
}

impl Admin {
    /// Answers a request.
    pub fn respond(&self, request: &Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        let is_public = matches!(path, "/livez" | "/readyz" | "/metrics");
        if !is_public && !self.has_key(request) {
            let mut response = error(StatusCode::UNAUTHORIZED, "unauthorized", "a bearer key is needed");
            response
                .headers_mut()
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return response;
        }
        if !is_public {
            return error(
                StatusCode::NOT_FOUND,
                "not_found",
                "there are /livez, /readyz and /metrics",
            );
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return error(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "only GET and HEAD are answered",
            );
        }
        self.health.respond(path, true).unwrap_or_else(|| self.exposition())
    }

    /// All numbers in Prometheus' text format.
    fn exposition(&self) -> Response<Body> {
        let outboxes = self.engine.directory().outboxes();
        let snapshot = Snapshot {
            rooms: self.hub.rooms(),
            outbox_bytes: outboxes.iter().map(|outbox| outbox.bytes()).sum(),
        };
        match self.metrics.render(&snapshot) {
            Ok(text) => http::response(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text),
            Err(problem) => {
                tracing::error!("cannot write metrics: {problem}");
                error(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal",
                    "the metrics cannot be written",
                )
            }
        }
    }

    fn has_key(&self, request: &Request<Incoming>) -> bool {
        let shown = request
            .headers()
            .get(AUTHORIZATION)
            .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        self.keys.is_empty() || shown.is_some_and(|shown| self.keys.iter().any(|key| key.matches(shown)))
    }
}

fn error(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    http::json(status, &json!({"error": code, "message": message}))
}
