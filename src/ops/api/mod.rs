//! The HTTP API: what the application and operators want to be done, and to know.
//!
//! Whoever may not use it learns nothing, not even which paths there are. A key is never written down, only its number.

mod access;
mod answer;
mod body;
mod commands;
mod drain;
mod lists;
mod parameters;
mod routes;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use tracing::{debug, info};

use answer::{Answer, Failure};
use parameters::Parameters;
use routes::Route;

use crate::cluster::Cluster;
use crate::http::{self, Body, Secret};
use crate::metrics::{ApiRoute, Metrics};
use crate::socketio::SocketIo;
use crate::wish::Stopper;

/// The description of all this, for programs.
const DESCRIPTION: &str = include_str!("openapi.json");

/// What the API works with.
#[derive(Debug)]
pub struct Api {
    /// Keys, one of which must be shown; none where programs of this machine alone can ask.
    pub keys: Vec<Secret>,
    /// All nodes.
    pub cluster: Arc<Cluster>,
    /// By which commands are carried out.
    pub socketio: Arc<SocketIo>,
    /// What operators see.
    pub metrics: Arc<Metrics>,
    /// By which this node drains.
    pub stopper: Stopper,
    /// Bytes of one message of a client, `engine.max_payload`.
    pub payload_bytes_max: usize,
}

impl Api {
    /// Answers a request of `peer`; `None` for a Unix socket.
    pub async fn respond(&self, request: Request<Incoming>, peer: Option<IpAddr>) -> Response<Body> {
        let started = Instant::now();
        let found = Route::find(request.uri().path());
        let label = found.as_ref().map_or(ApiRoute::Unknown, |(route, _)| route.label);
        let is_change = is_change(label);
        let judged = access::judge(&self.keys, request.headers(), peer);
        let key = judged.as_ref().ok().copied().flatten();
        let answer = match judged {
            Ok(_) => self.answer(request).await,
            Err(failure) => Err(failure),
        };
        let (status, error) = match &answer {
            Ok(_) => (StatusCode::OK, None),
            Err(failure) => (failure.status, Some(&*failure.code)),
        };
        let (status, route) = (status.as_u16(), label.as_str());
        let peer = peer.as_ref().map(tracing::field::display);
        if is_change {
            info!(route, status, error, peer, key, "API request");
        } else {
            debug!(route, status, error, peer, key, "API request");
        }
        self.metrics.api.answered(label, status, started.elapsed());
        match answer {
            Ok(json) => http::response(StatusCode::OK, "application/json", json),
            Err(failure) => failure.into_response(),
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let uri = request.uri().clone();
        let Some((route, segment)) = Route::find(uri.path()) else {
            return Err(Failure::not_found("there is no such path: /openapi.json lists all"));
        };
        route.allows(request.method())?;
        let parameters = Parameters::read(uri.query(), route.parameters)?;
        match route.label {
            ApiRoute::Sockets => self.sockets(&parameters).await,
            ApiRoute::Socket => self.socket(segment, &parameters).await,
            ApiRoute::Rooms => self.rooms(&parameters).await,
            ApiRoute::Room => self.room(segment, &parameters).await,
            ApiRoute::Nodes => self.nodes().await,
            ApiRoute::Drain => self.drain(request, &parameters).await,
            ApiRoute::OpenApi => Ok(DESCRIPTION.into()),
            ApiRoute::Batch => self.batch(request).await,
            command => self.command(command, request).await,
        }
    }
}

/// Whether a request of this route changes something, and is logged.
fn is_change(route: ApiRoute) -> bool {
    matches!(
        route,
        ApiRoute::Join | ApiRoute::Leave | ApiRoute::Disconnect | ApiRoute::Batch | ApiRoute::Drain
    )
}
