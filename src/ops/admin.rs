//! The admin listener: health, metrics and the API, apart from the clients' port.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::api::Api;
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
    /// Readiness.
    pub health: Arc<Health>,
    /// The numbers.
    pub metrics: Arc<Metrics>,
    /// Where rooms are counted.
    pub hub: Arc<Hub>,
    /// Where sessions are counted.
    pub engine: Arc<Engine>,
    /// Everything that needs a key.
    pub api: Api,
}

impl Admin {
    /// Answers a request of `peer`; `None` for a Unix socket.
    pub async fn respond(&self, request: Request<Incoming>, peer: Option<IpAddr>) -> Response<Body> {
        let path = request.uri().path();
        if !matches!(path, "/livez" | "/readyz" | "/metrics") {
            return Box::pin(self.api.respond(request, peer)).await; // its room would be in every client's connection
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = error(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "only GET and HEAD are answered",
            );
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
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
}

fn error(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    http::json(status, &json!({"error": code, "message": message}))
}
