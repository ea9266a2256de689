//! What requests are answered from: all parts of a gateway, and the ways to them.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::{Method, Request, Response, StatusCode};
use tracing::{Instrument as _, info_span};

use super::bundle::Bundle;
use super::compose::Task;
use super::connection::{Complaints, Port};
use crate::backend::webhook::Webhooks;
use crate::cluster::{Client, Cluster, Owner, Unreachable, Way};
use crate::engine::{self, Engine, Peer, Query};
use crate::http::{self, Body, Lease};
use crate::metrics::{Forwarded, Limit};
use crate::ops::admin::Admin;
use crate::ops::demo;
use crate::ops::health::Health;
use crate::protocol::ids::Sid;
use crate::proxies::{Hop, Proxies};
use crate::socketio::{self, SocketIo};
use crate::stream::Stream;
use crate::wish::Stopper;

/// What a client over the limit gets before its connection is closed.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// What requests are answered from.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) path: String,
    pub(super) demo: Option<String>,
    pub(super) bundle: Bundle,
    pub(super) proxies: Proxies,
    pub(super) proxy_protocol: bool,
    /// Connections without a PROXY header.
    pub(super) strangers: Complaints,
    /// Requests on the cluster's port that come from no gateway.
    pub(super) suspicions: Complaints,
    /// How many links of other gateways are open.
    pub(super) links: Arc<AtomicUsize>,
    pub(super) health: Arc<Health>,
    pub(super) engine: Arc<Engine>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) socketio: Arc<SocketIo>,
    pub(super) webhooks: Option<Arc<Webhooks>>,
    /// Tells the application of rooms and gateways, where it wants to know.
    pub(super) _teller: Option<Task>,
    pub(super) admin: Admin,
    pub(super) stopper: Stopper,
}

impl Parts {
    /// Counts one more connection of a client; where there are too many, says so by it.
    pub(super) fn lease(&self, stream: &Stream) -> Option<Lease> {
        let lease = Lease::take(self.health.connections(), self.health.connections_max());
        if lease.is_none() {
            self.admin.metrics.limited(Limit::Connections);
            drop(stream.try_write(FULL));
        }
        lease
    }

    /// Answers a request of a client or an operator.
    pub(super) async fn respond(
        self: &Arc<Self>,
        request: Request<Incoming>,
        peer: Hop,
        port: Port,
        lease: Arc<Lease>,
    ) -> Response<Body> {
        let asks_for_websocket = http::asks_for_websocket(request.headers());
        let mut response = match http::refuse(&request) {
            Some(refusal) => refusal,
            None => match port {
                Port::Clients => self.route(request, peer, lease).await,
                // In boxes, as each connection of a client keeps room for the largest of these while its poll waits.
                Port::Peers => Box::pin(self.respond_to_gateway(request, peer, lease)).await,
                Port::Admin => Box::pin(self.admin.respond(request, peer.ip())).await,
            },
        };
        // Behind a WebSocket that was refused comes what has not passed the gate.
        let is_refused = asks_for_websocket && response.status() != StatusCode::SWITCHING_PROTOCOLS;
        if is_refused || (port == Port::Clients && self.health.is_draining() && !asks_for_websocket) {
            http::close(&mut response);
        }
        response
    }

    /// Answers a client by the path that it asks for.
    async fn route(&self, mut request: Request<Incoming>, hop: Hop, lease: Arc<Lease>) -> Response<Body> {
        let path = request.uri().path();
        if let Some(rest) = path.strip_prefix(&*self.path) {
            if Bundle::is_at(rest) {
                return self.bundle.respond(&request);
            }
            let peer = Peer {
                address: self.proxies.client(hop, request.headers()),
                is_secure: self.proxies.is_secure(hop, request.headers()),
                lease,
            };
            self.proxies.name_host(hop, request.headers_mut());
            let query = Query::of(&request);
            return match self.elsewhere(&request, &query).await {
                Ok(Some((way, sid))) => Box::pin(forward(way, sid, request, peer)).await,
                Ok(None) => self.engage(request, &query, peer).await,
                Err(Unreachable) => engine::unavailable(http::asks_for_websocket(request.headers())),
            };
        }
        match (path, &self.demo) {
            ("/", Some(page)) => demo::response(page),
            _ => self
                .health
                .respond(path, false)
                .unwrap_or_else(|| http::response(StatusCode::NOT_FOUND, "text/plain", "not found\n")),
        }
    }

    /// The way to the node that a request is for, where that is another one.
    async fn elsewhere(
        &self,
        request: &Request<Incoming>,
        query: &Query,
    ) -> Result<Option<(Way, Option<Sid>)>, Unreachable> {
        let is_passable = match *request.method() {
            Method::GET => true,
            Method::POST => !engine::is_upgrade(request), // which nobody grants
            _ => false,
        };
        if !is_passable || !self.cluster.is_shared() {
            return Ok(None);
        }
        if let Some(sid) = query.session() {
            return match self.cluster.owner(&sid) {
                Owner::Here => Ok(None),
                Owner::Nobody => {
                    self.admin.metrics.forwarded(Forwarded::UnknownOwner);
                    Ok(None)
                }
                Owner::Peer(node) => {
                    let way = Box::pin(self.cluster.reach(&node)).await;
                    way.map(|way| Some((way, Some(sid)))).ok_or_else(|| {
                        self.admin.metrics.forwarded(Forwarded::Unreachable);
                        Unreachable
                    })
                }
            };
        }
        // A node that leaves lets others have whom balancers still send.
        if self.engine.refuses_handshakes() && query.is_handshake() {
            for heir in self.cluster.heirs() {
                if let Some(way) = self.cluster.reach(&heir).await {
                    return Ok(Some((way, None)));
                }
            }
        }
        Ok(None)
    }

    /// Gives the engine a request, and serves the session that comes of it.
    pub(super) async fn engage(&self, request: Request<Incoming>, query: &Query, peer: Peer) -> Response<Body> {
        let address = peer.address;
        let handled = self.engine.handle(request, query, peer).await;
        if let Some(opening) = handled.opening {
            let socketio = Arc::clone(&self.socketio);
            tokio::spawn(async move {
                if let Some(session) = opening.finish().await {
                    let span = info_span!("session", sid = session.sid().prefix(), %address);
                    socketio::serve(session, socketio).instrument(span).await;
                }
            });
        }
        handled.response
    }
}

/// Has a request answered by another node.
async fn forward(way: Way, sid: Option<Sid>, request: Request<Incoming>, peer: Peer) -> Response<Body> {
    let is_upgrade = http::asks_for_websocket(request.headers());
    let host = request.headers().get(HOST);
    let client = Client {
        address: peer.address,
        is_secure: peer.is_secure,
        host: host.and_then(|host| host.to_str().ok()).map(str::to_owned),
    };
    let forwarded = way.forward(request, &client, sid, peer.lease).await;
    forwarded.unwrap_or_else(|Unreachable| engine::unavailable(is_upgrade))
}
